use axum::{extract::State, response::Response};
use mcp_ultra_domain::policy::Action;

use super::shown;
use crate::{
    api::{Api, caller::Caller, input::ToolName, problem::Problem, revision::IfNoneMatch},
    pins::PinView,
};

/// One tool, with what differs from what was agreed to.
#[utoipa::path(
    get,
    path = "/{server}/{tool}",
    operation_id = "getTool",
    tag = "tools",
    params(ToolName),
    responses(
        (status = 200, description = "The tool", body = PinView, headers(("ETag" = String, description = "The fingerprint that was agreed to, and the one that waits"))),
        (status = 304, description = "It is the one that If-None-Match names"),
        Problem,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    ToolName { server, tool }: ToolName,
    known: IfNoneMatch,
) -> Result<Response, Problem> {
    caller.may_for_all(&api, Action::AdminToolsRead)?;
    let found = api.pins.get(&server, &tool).await?;
    Ok(shown(&found).unless(&known))
}
