use axum::extract::State;
use mcp_ultra_domain::{policy::Action, scan::printable};

use super::{shown, tag};
use crate::{
    api::{
        Api,
        caller::Caller,
        input::{DryRun, Parameters, ToolName},
        problem::Problem,
        revision::{IfMatch, Shown},
    },
    pins::{PinView, Pins},
};

/// Forgets a tool that its server offers no more. Where it comes back it is seen for the first time,
/// so who may not approve may not do this. While the server offers it, it is refused (409).
#[utoipa::path(
    delete,
    path = "/{server}/{tool}",
    operation_id = "forgetTool",
    tag = "tools",
    params(ToolName, DryRun, IfMatch),
    responses(
        (status = 200, description = "The tool as it was, or as it is for a dry run", body = PinView, headers(("ETag" = String, description = "The fingerprint that was agreed to, and the one that waited"))),
        Problem,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn forget(
    State(api): State<Api>,
    caller: Caller,
    Parameters(query): Parameters<DryRun>,
    ToolName { server, tool }: ToolName,
    meant: IfMatch,
) -> Result<Shown<PinView>, Problem> {
    caller.may_for_all(&api, Action::AdminToolsApprove)?;
    let found = api.pins.get(&server, &tool).await?;
    meant.check(&tag(&PinView::of(&found)))?;
    if query.dry_run {
        Pins::check_gone(&found)?;
        return Ok(shown(&found));
    }
    api.pins.forget(&found).await?;
    let (server, tool) = (printable(&server), printable(&tool));
    tracing::info!(upstream = server, tool, "a tool that is gone was forgotten");
    Ok(shown(&found))
}
