use axum::extract::State;
use mcp_ultra_domain::policy::Action;

use super::shown;
use crate::{
    api::{
        Api,
        caller::Caller,
        input::{Identifier, OfTenant, Parameters},
        problem::Problem,
        revision::Shown,
    },
    keys::KeyView,
};

/// One API key. It is always sent whole: whether it has ended and when it was used last change without a
/// revision.
#[utoipa::path(
    get,
    path = "/{id}",
    operation_id = "getKey",
    tag = "keys",
    params(Identifier, OfTenant),
    responses(
        (status = 200, description = "The key", body = KeyView, headers(("ETag" = String, description = "Its revision"))),
        Problem,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    Parameters(query): Parameters<OfTenant>,
    Identifier(id): Identifier,
) -> Result<Shown<KeyView>, Problem> {
    let tenant = caller.may(&api, Action::AdminKeysRead, query.tenant)?;
    let found = api.keys.get(&tenant, &id).await?;
    Ok(shown(&api, &found))
}
