use axum::{Json, extract::State};
use mcp_ultra_domain::policy::Action;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    api::{
        Api,
        caller::Caller,
        input::{Page, Parameters},
        problem::{Document, Problem},
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

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GrantList)]
pub(super) struct List {
    items: Vec<GrantView>,
    /// Ask with `after` set to this for the next page; null at the end.
    next: Option<String>,
}

/// The grants of a tenant, or of one person in it.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "listGrants",
    tag = "grants",
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
    let Which {
        tenant,
        subject,
        after,
        limit,
    } = which;
    let page = Page {
        tenant,
        after,
        limit,
    };
    let limit = page.limit()?;
    let tenant = caller.may(&api, Action::AdminGrantsRead, page.tenant)?;
    let (subject, after) = (subject.as_deref(), page.after.as_deref());
    // One more than asked for tells whether there is another page.
    let mut grants = api.grants.list(&tenant, subject, after, limit + 1).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = grants.len() > limit;
    grants.truncate(limit);
    Ok(Json(List {
        next: grants.last().filter(|_| more).map(|grant| grant.id.clone()),
        items: grants.iter().map(GrantView::from).collect(),
    }))
}
