use axum::{Json, extract::State};
use mcp_ultra_domain::policy::Action;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::{
        Api,
        caller::Caller,
        input::{Page, Parameters},
        problem::{Document, Problem},
    },
    keys::KeyView,
};

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKeyList)]
pub(super) struct List {
    items: Vec<KeyView>,
    /// Ask with `after` set to this for the next page; null at the end.
    next: Option<String>,
}

/// The API keys of a tenant, ended ones too.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "listKeys",
    tag = "keys",
    params(Page),
    responses(
        (status = 200, description = "A page", body = List),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Parameters(page): Parameters<Page>,
) -> Result<Json<List>, Problem> {
    let limit = page.limit()?;
    let tenant = caller.may(&api, Action::AdminKeysRead, page.tenant)?;
    // One more than asked for tells whether there is another page.
    let mut keys = api
        .keys
        .list(&tenant, page.after.as_deref(), limit + 1)
        .await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = keys.len() > limit;
    keys.truncate(limit);
    let now = api.clock.now();
    Ok(Json(List {
        next: keys.last().filter(|_| more).map(|key| key.id.clone()),
        items: keys.iter().map(|key| KeyView::of(key, now)).collect(),
    }))
}
