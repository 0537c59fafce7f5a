use axum::extract::State;
use mcp_ultra_domain::policy::Action;

use super::{find, shown, tag, unknown};
use crate::{
    api::{
        Api,
        caller::Caller,
        input::{Change, Identifier, Parameters},
        problem::Problem,
        revision::{IfMatch, Shown},
    },
    sessions::SessionView,
};

/// Ends a session for good, with its calls, streams and sessions with servers; or a stream. Its caller
/// may open another one with a credential that is still good.
#[utoipa::path(
    delete,
    path = "/{id}",
    operation_id = "endSession",
    tag = "sessions",
    params(Identifier, Change, IfMatch),
    responses(
        (status = 200, description = "It as it was, or as it is for a dry run", body = SessionView, headers(("ETag" = String, description = "Its revision"))),
        Problem,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn end(
    State(api): State<Api>,
    caller: Caller,
    Parameters(query): Parameters<Change>,
    Identifier(id): Identifier,
    meant: IfMatch,
) -> Result<Shown<SessionView>, Problem> {
    let tenant = caller.may(&api, Action::AdminSessionsEnd, query.tenant)?;
    let found = find(&api, &tenant, &id)?;
    meant.check(&tag())?;
    if !query.dry_run {
        if !api.sessions.end(&tenant, &id).await {
            return Err(unknown());
        }
        tracing::info!(session = id, "an administrator ended a session of a caller");
    }
    Ok(shown(found))
}
