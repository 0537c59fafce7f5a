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
    pins::PinView,
};

/// Agrees to the definition that waits, which is the one that `If-Match` names: it is offered at
/// once. Sent again, it is answered the same.
#[utoipa::path(
    post,
    path = "/{server}/{tool}/approve",
    operation_id = "approveTool",
    tag = "tools",
    params(ToolName, DryRun, IfMatch),
    responses(
        (status = 200, description = "The tool as it is then, or as it is for a dry run", body = PinView, headers(("ETag" = String, description = "The fingerprint that was agreed to, and the one that waits"))),
        Problem,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn approve(
    State(api): State<Api>,
    caller: Caller,
    Parameters(query): Parameters<DryRun>,
    ToolName { server, tool }: ToolName,
    meant: IfMatch,
) -> Result<Shown<PinView>, Problem> {
    caller.may_for_all(&api, Action::AdminToolsApprove)?;
    api.pins.check()?;
    let found = api.pins.get(&server, &tool).await?;
    let view = PinView::of(&found);
    let current = found.current().map(|one| one.fingerprint);
    // Sent again after it was done: what waited then is what is approved now.
    let again = !view.waits() && meant.has_waited(view.approved.as_deref());
    if !again {
        meant.check(&tag(&view))?;
    }
    let (Some(current), false) = (current, query.dry_run) else {
        return Ok(shown(&found));
    };
    let by = caller.principal().id();
    let approved = api.pins.approve(&server, &tool, current, by).await?;
    if found.waiting.is_some() {
        let (server, tool) = (printable(&server), printable(&tool));
        tracing::info!(
            upstream = server,
            tool,
            fingerprint = current.short(),
            "the definition of a tool was approved"
        );
    }
    Ok(shown(&approved))
}
