//! API keys through the admin API of a running gateway.

use http::{Method, header};
use mcp_ultra_control::keys::KeyView;
use mcp_ultra_edge::identity::new_key_id;
use serde::Deserialize;
use serde_json::Value;

use super::{KeysError, Made};
use crate::{
    cli::{
        admin::{AdminApi, AdminError, encoded, read},
        exit::Failure,
    },
    client::{Reply, Transport},
};

const PATH: &str = "/api/v1/keys";

/// The admin API, and whose keys it is asked for.
pub(super) struct Remote {
    api: AdminApi,
    tenant: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<KeyView>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct WithToken {
    #[serde(flatten)]
    key: KeyView,
    token: Option<String>,
}

impl Remote {
    pub(super) fn new(transport: Transport, tenant: Option<String>) -> Self {
        let api = AdminApi::new(transport);
        Self { api, tenant }
    }

    pub(super) fn tenant(&self) -> &str {
        self.tenant.as_deref().unwrap_or("of the caller")
    }

    pub(super) async fn create(&self, body: &Value) -> Result<Made, Failure> {
        // Sent once: whoever runs the command again wants another key.
        let once = new_key_id().map_err(|error| KeysError::Key(error.into()))?;
        let headers = [("idempotency-key", &*once)];
        let made = self.send(Method::POST, PATH, &headers, Some(body)).await?;
        made_of(read(made).await?)
    }

    pub(super) async fn all(&self) -> Result<Vec<KeyView>, Failure> {
        let (mut all, mut path) = (Vec::new(), format!("{PATH}?limit=200"));
        loop {
            let page: Page = read(self.send(Method::GET, &path, &[], None).await?).await?;
            all.extend(page.items);
            let Some(next) = page.next else {
                return Ok(all);
            };
            path = format!("{PATH}?limit=200&after={}", encoded(&next));
        }
    }

    pub(super) async fn rotate(&self, id: &str, body: &Value) -> Result<Made, Failure> {
        let tag = self.tag(id).await?;
        let path = format!("{PATH}/{}/rotate", encoded(id));
        let headers = [("if-match", &*tag)];
        let rotated = self.send(Method::POST, &path, &headers, Some(body)).await?;
        made_of(read(rotated).await?)
    }

    pub(super) async fn revoke(&self, id: &str) -> Result<KeyView, Failure> {
        let tag = self.tag(id).await?;
        let path = format!("{PATH}/{}", encoded(id));
        let headers = [("if-match", &*tag)];
        read(self.send(Method::DELETE, &path, &headers, None).await?).await
    }

    /// The `ETag` of a key, which a change needs.
    async fn tag(&self, id: &str) -> Result<String, Failure> {
        let path = format!("{PATH}/{}", encoded(id));
        let reply = self.send(Method::GET, &path, &[], None).await?;
        let tag = reply.headers.get(header::ETAG);
        let tag = tag.and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        tag.ok_or_else(|| AdminError::NotTheApi.into())
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Option<&Value>,
    ) -> Result<Reply, Failure> {
        let mut path = path.to_owned();
        if let Some(tenant) = &self.tenant {
            path.push(if path.contains('?') { '&' } else { '?' });
            path += "tenant=";
            path += &encoded(tenant);
        }
        self.api.send(method, &path, headers, body).await
    }
}

fn made_of(made: WithToken) -> Result<Made, Failure> {
    let WithToken { key, token } = made;
    let token = token.ok_or(AdminError::NotTheApi)?;
    Ok(Made {
        key,
        token: token.into(),
    })
}
