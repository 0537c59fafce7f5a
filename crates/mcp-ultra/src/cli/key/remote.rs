//! API keys through the admin API of a running gateway.

use http::Method;
use mcp_ultra_control::keys::KeyView;
use mcp_ultra_edge::identity::new_key_id;
use serde::Deserialize;
use serde_json::Value;

use super::{KeysError, Made};
use crate::cli::{
    admin::{AdminApi, AdminError, encoded, read},
    exit::Failure,
};

const PATH: &str = "/api/v1/keys";

/// The keys there.
pub(super) struct Remote(pub(super) AdminApi);

#[derive(Deserialize)]
struct WithToken {
    #[serde(flatten)]
    key: KeyView,
    token: Option<String>,
}

impl Remote {
    pub(super) fn tenant(&self) -> &str {
        self.0.tenant()
    }

    pub(super) async fn create(&self, body: &Value) -> Result<Made, Failure> {
        // Sent once: whoever runs the command again wants another key.
        let once = new_key_id().map_err(|error| KeysError::Key(error.into()))?;
        let headers = [("idempotency-key", &*once)];
        let made = self
            .0
            .send(Method::POST, PATH, &headers, Some(body))
            .await?;
        made_of(read(made).await?)
    }

    pub(super) async fn all(&self) -> Result<Vec<KeyView>, Failure> {
        self.0.all(PATH).await
    }

    pub(super) async fn rotate(&self, id: &str, body: &Value) -> Result<Made, Failure> {
        let tag = self.0.tag(&path(id)).await?;
        let rotate = format!("{}/rotate", path(id));
        let headers = [("if-match", &*tag)];
        let rotated = self.0.send(Method::POST, &rotate, &headers, Some(body));
        made_of(read(rotated.await?).await?)
    }

    pub(super) async fn revoke(&self, id: &str) -> Result<KeyView, Failure> {
        let path = path(id);
        let tag = self.0.tag(&path).await?;
        let headers = [("if-match", &*tag)];
        let revoked = self.0.send(Method::DELETE, &path, &headers, None);
        read(revoked.await?).await
    }
}

fn path(id: &str) -> String {
    format!("{PATH}/{}", encoded(id))
}

fn made_of(made: WithToken) -> Result<Made, Failure> {
    let WithToken { key, token } = made;
    let token = token.ok_or(AdminError::NotTheApi)?;
    Ok(Made {
        key,
        token: token.into(),
    })
}
