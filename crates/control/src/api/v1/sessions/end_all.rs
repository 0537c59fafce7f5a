use axum::{Json, extract::State};
use jiff::Timestamp;
use mcp_ultra_domain::{Block, policy::Action};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    answers::Forget,
    api::{Api, caller::Caller, input::Parameters, problem::Problem, revision::IfMatch},
    blocks::BlockView,
    sessions::{SessionView, Whose},
};

/// Whose, and whether to do it.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// The tenant, where it is not the caller's own.
    tenant: Option<String>,
    /// Whose: who somebody is for their issuer (`sub`).
    subject: String,
    /// Who vouches for them, where several do for somebody of that name. Must be there with
    /// `block_until`.
    issuer: Option<String>,
    /// Until when the caller is refused, whatever credential they show (RFC 3339); at most 30 days
    /// from now. Another block of the caller ends with it. Needs `admin/blocks/manage` as well.
    #[param(value_type = Option<String>, format = DateTime)]
    block_until: Option<Timestamp>,
    /// Answers as if it were done, and does nothing.
    #[serde(default)]
    dry_run: bool,
}

/// What was ended, or would be.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EndedSessions)]
pub(super) struct Ended {
    items: Vec<SessionView>,
    /// How the caller is blocked; null without `block_until`.
    block: Option<BlockView>,
}

/// Ends all that one caller has open, as one by one, and blocks the caller where that is asked for:
/// then they also come back to no idle session, and other gateways with the same store refuse them and
/// end what they have open within seconds. What is kept of answers to them alone is forgotten.
#[utoipa::path(
    delete,
    path = "/",
    operation_id = "endSessionsOfCaller",
    tag = "sessions",
    params(
        Which,
        ("If-Match" = String, Header, description = "`*`: whatever is open"),
    ),
    responses(
        (status = 200, description = "What was ended, or would be by a dry run", body = Ended),
        Problem,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn end_all(
    State(api): State<Api>,
    caller: Caller,
    Parameters(which): Parameters<Which>,
    meant: IfMatch,
) -> Result<Json<Ended>, Problem> {
    let tenant = which.tenant.clone();
    let tenant = caller.may(&api, Action::AdminSessionsEnd, tenant)?;
    meant.check_any()?;
    let block = block(&api, &caller, &tenant, &which)?;
    let whose = Whose {
        issuer: which.issuer,
        subject: Some(which.subject),
    };
    let mut items = api.sessions.list(&tenant);
    items.retain(|session| whose.has(session));
    if !which.dry_run {
        // First, so that they do not open others meanwhile.
        if let Some(block) = &block {
            api.blocks.put(block).await?;
            api.sessions.blocks_changed().await;
            // Nobody is given what was answered to them.
            api.answers
                .forget(&Forget::all_of(&tenant, &block.issuer, &block.subject));
            tracing::info!(block = block.id, "an administrator blocked a caller");
        }
        for session in &items {
            // One that has ended meanwhile is what was wanted.
            api.sessions.end(&tenant, &session.id).await;
        }
        let sessions = items.len();
        tracing::info!(sessions, "an administrator ended the sessions of a caller");
    }
    let block = block.as_ref().map(BlockView::from);
    Ok(Json(Ended { items, block }))
}

/// The block that is asked for.
fn block(
    api: &Api,
    caller: &Caller,
    tenant: &str,
    which: &Which,
) -> Result<Option<Block>, Problem> {
    let Some(until) = which.block_until else {
        return Ok(None);
    };
    caller.may(api, Action::AdminBlocksManage, Some(tenant.to_owned()))?;
    let Some(issuer) = &which.issuer else {
        let why =
            "say who vouches for the caller that is to be blocked, as the list of sessions does";
        return Err(Problem::invalid("issuer", why));
    };
    let block = api.blocks.of(tenant, issuer, &which.subject, until);
    let block = block.map_err(|why| Problem::invalid("block_until", why.to_string()))?;
    if block.holds(caller.principal(), block.since) {
        let why = "this is you; ask somebody else to block you";
        return Err(Problem::invalid("subject", why));
    }
    Ok(Some(block))
}
