use axum::{Json, extract::State};
use mcp_ultra_domain::policy::Action;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    answers::{Forget, Whose},
    api::{Api, caller::Caller, input::Parameters, problem::Problem, revision::IfMatch},
};

/// Which answers, and whether to do it.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// The tenant that they were answered to, where it is not the caller's own.
    tenant: Option<String>,
    /// The server that they are of, by its name in the configuration; all where it is left out.
    server: Option<String>,
    /// Whose alone they are: who somebody is for their issuer (`sub`). Everybody's where it is left out,
    /// and those that are the same for everyone of the tenant.
    subject: Option<String>,
    /// Who vouches for them. Must be there with `subject`.
    issuer: Option<String>,
    /// Answers as if it were done, and does nothing.
    #[serde(default)]
    dry_run: bool,
}

/// What was forgotten, or would be.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ForgottenAnswers)]
pub(super) struct Forgotten {
    /// Whose answers.
    tenant: String,
    /// How many were in the memory of this gateway.
    answers: usize,
}

/// Forgets answers that are kept: all of a tenant, those of one server, or those of one caller. None of
/// them is given any more by this gateway when the request is answered, and by others that share its
/// NATS a moment later; without it they have what is in their memory until its time is over.
#[utoipa::path(
    delete,
    path = "/",
    operation_id = "purgeCache",
    tag = "cache",
    params(
        Which,
        ("If-Match" = String, Header, description = "`*`: whatever is kept"),
    ),
    responses(
        (status = 200, description = "What was forgotten, or would be by a dry run", body = Forgotten),
        Problem,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn purge(
    State(api): State<Api>,
    caller: Caller,
    Parameters(which): Parameters<Which>,
    meant: IfMatch,
) -> Result<Json<Forgotten>, Problem> {
    let Which {
        tenant,
        server,
        subject,
        issuer,
        dry_run,
    } = which;
    let tenant = caller.may(&api, Action::AdminCachePurge, tenant)?;
    meant.check_any()?;
    let what = Forget {
        tenant,
        server,
        whose: whose(issuer, subject)?,
    };
    let answers = if dry_run {
        api.answers.count(&what)
    } else {
        api.answers.forget(&what)
    };
    let answers = answers
        .ok_or_else(|| Problem::invalid("server", "no server of that name is configured"))?;
    if !dry_run {
        let of_one_caller = what.whose.is_some();
        tracing::info!(
            server = what.server,
            of_one_caller,
            answers,
            "an administrator has had kept answers forgotten"
        );
    }
    Ok(Json(Forgotten {
        tenant: what.tenant,
        answers,
    }))
}

/// Of whom alone: namesakes of two issuers are two callers.
fn whose(issuer: Option<String>, subject: Option<String>) -> Result<Option<Whose>, Problem> {
    match (issuer, subject) {
        (None, None) => Ok(None),
        (Some(issuer), Some(subject)) => Ok(Some(Whose { issuer, subject })),
        (None, Some(_)) => Err(Problem::invalid(
            "issuer",
            "say who vouches for the caller, as the list of sessions does",
        )),
        (Some(_), None) => Err(Problem::invalid(
            "subject",
            "say who the caller is for the issuer",
        )),
    }
}
