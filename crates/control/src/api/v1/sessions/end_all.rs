use axum::{Json, extract::State};
use mcp_ultra_domain::policy::Action;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    api::{
        Api,
        caller::Caller,
        input::Parameters,
        problem::{Document, Problem},
        revision::IfMatch,
    },
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
    /// Who vouches for them, where several do for somebody of that name.
    issuer: Option<String>,
    /// Answers as if it were done, and does nothing.
    #[serde(default)]
    dry_run: bool,
}

/// What was ended, or would be.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EndedSessions)]
pub(super) struct Ended {
    items: Vec<SessionView>,
}

/// Ends all that one caller has open, as one by one.
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
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(super) async fn end_all(
    State(api): State<Api>,
    caller: Caller,
    Parameters(which): Parameters<Which>,
    meant: IfMatch,
) -> Result<Json<Ended>, Problem> {
    let tenant = caller.may(&api, Action::AdminSessionsEnd, which.tenant)?;
    meant.check_any()?;
    let whose = Whose {
        issuer: which.issuer,
        subject: Some(which.subject),
    };
    let mut items = api.sessions.list(&tenant);
    items.retain(|session| whose.has(session));
    if !which.dry_run {
        for session in &items {
            // One that has ended meanwhile is what was wanted.
            api.sessions.end(&tenant, &session.id).await;
        }
        let sessions = items.len();
        tracing::info!(sessions, "an administrator ended the sessions of a caller");
    }
    Ok(Json(Ended { items }))
}
