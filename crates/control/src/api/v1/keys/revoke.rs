use axum::extract::State;
use mcp_ultra_domain::API_KEY_ISSUER;

use super::{shown, to_change};
use crate::{
    answers::Forget,
    api::{
        Api,
        caller::Caller,
        input::{Change, Identifier, Parameters},
        problem::Problem,
        revision::{IfMatch, Shown},
    },
    keys::KeyView,
};

/// Ends an API key at once and for good, with the open streams of its principal, and what is kept of
/// answers to it. It stays in the list.
#[utoipa::path(
    delete,
    path = "/{id}",
    operation_id = "revokeKey",
    tag = "keys",
    params(Identifier, Change, IfMatch),
    responses(
        (status = 200, description = "The key, revoked, or as it is for a dry run", body = KeyView, headers(("ETag" = String, description = "Its revision"))),
        Problem,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn revoke(
    State(api): State<Api>,
    caller: Caller,
    Parameters(query): Parameters<Change>,
    Identifier(id): Identifier,
    meant: IfMatch,
) -> Result<Shown<KeyView>, Problem> {
    let found = to_change(&api, &caller, query.tenant, &id, &meant).await?;
    if query.dry_run {
        return Ok(shown(&api, &found));
    }
    let ended = api.keys.revoke(found).await?;
    api.answers
        .forget(&Forget::all_of(&ended.tenant, API_KEY_ISSUER, &ended.id));
    tracing::info!(key = id, "an API key was revoked");
    Ok(shown(&api, &ended))
}
