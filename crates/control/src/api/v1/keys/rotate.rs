use std::time::Duration;

use axum::{extract::State, http::StatusCode, response::Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{KeyWithToken, to_change, with_token};
use crate::{
    api::{
        Api,
        caller::Caller,
        input::{Change, Identifier, Input, Parameters},
        problem::Problem,
        revision::IfMatch,
    },
    keys::USUAL_OVERLAP,
};

/// How an API key is to be rotated.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RotateApiKey)]
pub(super) struct Body {
    /// How many seconds the secret that is replaced stays valid: a day without it, at most 30
    /// days.
    overlap_seconds: Option<u64>,
}

/// Gives an API key a new secret and shows it, this once. Whoever rotates a key can use it, so this
/// needs all that the key has.
#[utoipa::path(
    post,
    path = "/{id}/rotate",
    operation_id = "rotateKey",
    tag = "keys",
    params(Identifier, Change, IfMatch),
    request_body = Body,
    responses(
        (status = 200, description = "The key and its new secret", body = KeyWithToken, headers(("ETag" = String, description = "Its revision"))),
        Problem,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn rotate(
    State(api): State<Api>,
    caller: Caller,
    Parameters(query): Parameters<Change>,
    Identifier(id): Identifier,
    meant: IfMatch,
    Input(body): Input<Body>,
) -> Result<Response, Problem> {
    let found = to_change(&api, &caller, query.tenant, &id, &meant).await?;
    caller.may_grant(&api, &found.tenant, &found.roles, &found.scopes)?;
    let overlap = body
        .overlap_seconds
        .map_or(USUAL_OVERLAP, Duration::from_secs);
    if query.dry_run {
        api.keys.check_rotation(&found, overlap)?;
        return Ok(with_token(&api, StatusCode::OK, &found, None));
    }
    let rotated = api.keys.rotate(found, overlap).await?;
    tracing::info!(key = id, "an API key was rotated");
    Ok(with_token(
        &api,
        StatusCode::OK,
        &rotated.key,
        Some(&rotated.token),
    ))
}
