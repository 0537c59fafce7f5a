//! `/api/v1/keys`: API keys.

mod create;
mod list;
mod revoke;
mod rotate;
mod show;
mod update;

use std::time::Duration;

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use mcp_ultra_domain::{ApiKey, policy::Action};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    api::{
        Api,
        caller::Caller,
        problem::Problem,
        revision::{IfMatch, Shown, Tag},
    },
    keys::KeyView,
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list::list, create::create))
        .routes(routes!(show::show, update::update, revoke::revoke))
        .routes(routes!(rotate::rotate))
}

/// The key that a change is meant for, if the caller may manage it and has seen it as it is.
async fn to_change(
    api: &Api,
    caller: &Caller,
    tenant: Option<String>,
    id: &str,
    meant: &IfMatch,
) -> Result<ApiKey, Problem> {
    let tenant = caller.may(api, Action::AdminKeysManage, tenant)?;
    let found = api.keys.get(&tenant, id).await?;
    meant.check(&Tag::of(found.revision))?;
    Ok(found)
}

/// An API key with a secret that is shown this once.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NewApiKey)]
struct KeyWithToken {
    #[serde(flatten)]
    key: KeyView,
    /// The secret; null where it was shown before, or nothing was done.
    token: Option<String>,
}

fn shown(api: &Api, key: &ApiKey) -> Shown<KeyView> {
    Shown::new(Tag::of(key.revision), KeyView::of(key, api.clock.now()))
}

fn with_token(
    api: &Api,
    status: StatusCode,
    key: &ApiKey,
    token: Option<&SecretString>,
) -> Response {
    let body = KeyWithToken {
        key: KeyView::of(key, api.clock.now()),
        token: token.map(|token| token.expose_secret().to_owned()),
    };
    let uncached = [(header::CACHE_CONTROL, "no-store")];
    let shown = Shown::new(Tag::of(key.revision), body);
    (status, uncached, shown).into_response()
}

/// Says that a request has been answered before.
fn replayed(mut response: Response) -> Response {
    response.headers_mut().insert(
        HeaderName::from_static("idempotent-replayed"),
        HeaderValue::from_static("true"),
    );
    response
}

fn since_epoch(time: Timestamp) -> Result<Duration, Problem> {
    Duration::try_from(time.as_duration())
        .map_err(|_| Problem::invalid("expires", "it lies before 1970"))
}
