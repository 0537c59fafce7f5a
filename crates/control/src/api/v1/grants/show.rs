use axum::{extract::State, response::Response};
use mcp_ultra_domain::policy::Action;

use super::shown;
use crate::{
    api::{
        Api,
        caller::Caller,
        input::{Identifier, OfTenant, Parameters},
        problem::Problem,
        revision::IfNoneMatch,
    },
    grants::GrantView,
};

/// One grant, without its tokens.
#[utoipa::path(
    get,
    path = "/{id}",
    operation_id = "getGrant",
    tag = "grants",
    params(Identifier, OfTenant),
    responses(
        (status = 200, description = "The grant", body = GrantView, headers(("ETag" = String, description = "Its revision"))),
        (status = 304, description = "It is the one that If-None-Match names"),
        Problem,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    Parameters(query): Parameters<OfTenant>,
    Identifier(id): Identifier,
    known: IfNoneMatch,
) -> Result<Response, Problem> {
    let tenant = caller.may(&api, Action::AdminGrantsRead, query.tenant)?;
    let found = api.grants.get(&tenant, &id).await?;
    Ok(shown(&found).unless(&known))
}
