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
    grants::GrantView,
};

/// Which grants, and which part of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// The tenant, where it is not the caller's own.
    tenant: Option<String>,
    /// Whose alone: who somebody is for their issuer (`sub`).
    subject: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    /// The most entries of a page: 1 to 200, usually 50.
    limit: Option<u32>,
}

/// A page of them.
type Grants = List<GrantView>;

/// The grants of a tenant, or of one person in it.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "listGrants",
    tag = "grants",
    params(Which),
    responses(
        (status = 200, description = "A page", body = Grants),
        Problem,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Parameters(which): Parameters<Which>,
) -> Result<Json<Grants>, Problem> {
    let limit = Limit::of(which.limit)?;
    let tenant = caller.may(&api, Action::AdminGrantsRead, which.tenant)?;
    let (subject, after) = (which.subject.as_deref(), which.after.as_deref());
    let grants = api.grants.list(&tenant, subject, after, limit.and_one());
    let grants = grants.await?;
    let views = grants.iter().map(GrantView::from);
    Ok(Json(List::cut(limit, views, |grant| grant.id.clone())))
}
