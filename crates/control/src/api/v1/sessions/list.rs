use axum::{Json, extract::State};
use mcp_ultra_domain::policy::Action;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    api::{
        Api,
        caller::Caller,
        input::{self, Parameters},
        problem::{Document, Problem},
    },
    sessions::{SessionView, Whose},
};

/// Whose, and which part of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// The tenant, where it is not the caller's own.
    tenant: Option<String>,
    /// Whose alone: who somebody is for their issuer (`sub`).
    subject: Option<String>,
    /// Only of callers that this issuer vouches for.
    issuer: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    /// The most entries of a page: 1 to 200, usually 50.
    limit: Option<u32>,
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClientSessionList)]
pub(super) struct List {
    items: Vec<SessionView>,
    /// Ask with `after` set to this for the next page; null at the end.
    next: Option<String>,
}

/// What the callers of a tenant, or one of them, have open at this gateway: sessions, and streams of
/// callers of a revision without sessions. An idle session that was taken out of memory is not in the
/// list until its caller comes back.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "listSessions",
    tag = "sessions",
    params(Which),
    responses(
        (status = 200, description = "A page", body = List),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Parameters(which): Parameters<Which>,
) -> Result<Json<List>, Problem> {
    let limit = usize::try_from(input::page_limit(which.limit)?).unwrap_or(usize::MAX);
    let tenant = caller.may(&api, Action::AdminSessionsRead, which.tenant)?;
    let whose = Whose {
        issuer: which.issuer,
        subject: which.subject,
    };
    let after = which.after.unwrap_or_default();
    let mut items = api.sessions.list(&tenant);
    items.retain(|session| session.id > after && whose.has(session));
    let more = items.len() > limit;
    items.truncate(limit);
    let last = items.last().filter(|_| more);
    Ok(Json(List {
        next: last.map(|session| session.id.clone()),
        items,
    }))
}
