use axum::extract::State;
use mcp_ultra_domain::policy::Action;

use super::{find, shown};
use crate::{
    api::{
        Api,
        caller::Caller,
        input::{Identifier, OfTenant, Parameters},
        problem::Problem,
        revision::Shown,
    },
    sessions::SessionView,
};

/// One session or stream.
#[utoipa::path(
    get,
    path = "/{id}",
    operation_id = "getSession",
    tag = "sessions",
    params(Identifier, OfTenant),
    responses(
        (status = 200, description = "It", body = SessionView, headers(("ETag" = String, description = "Its revision"))),
        Problem,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    Parameters(query): Parameters<OfTenant>,
    Identifier(id): Identifier,
) -> Result<Shown<SessionView>, Problem> {
    let tenant = caller.may(&api, Action::AdminSessionsRead, query.tenant)?;
    Ok(shown(find(&api, &tenant, &id)?))
}
