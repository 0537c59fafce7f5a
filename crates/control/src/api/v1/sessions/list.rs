use axum::{Json, extract::State};
use mcp_ultra_domain::policy::Action;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    api::{
        Api,
        caller::Caller,
        input::Parameters,
        page::{Limit, List},
        problem::Problem,
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

/// A page of them.
type Sessions = List<SessionView>;

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
        (status = 200, description = "A page", body = Sessions),
        Problem,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Parameters(which): Parameters<Which>,
) -> Result<Json<Sessions>, Problem> {
    let limit = Limit::of(which.limit)?;
    let tenant = caller.may(&api, Action::AdminSessionsRead, which.tenant)?;
    let whose = Whose {
        issuer: which.issuer,
        subject: which.subject,
    };
    let after = which.after.unwrap_or_default();
    let all = api.sessions.list(&tenant).into_iter();
    let rest = all.filter(|session| session.id > after && whose.has(session));
    Ok(Json(List::cut(limit, rest, |session| session.id.clone())))
}
