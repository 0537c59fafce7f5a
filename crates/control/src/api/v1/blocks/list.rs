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
    blocks::BlockView,
};

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BlockList)]
pub(super) struct List {
    items: Vec<BlockView>,
    /// Ask with `after` set to this for the next page; null at the end.
    next: Option<String>,
}

/// The callers of a tenant who are blocked now.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "listBlocks",
    tag = "blocks",
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
    let limit = usize::try_from(page.limit()?).unwrap_or(usize::MAX);
    let tenant = caller.may(&api, Action::AdminBlocksRead, page.tenant)?;
    let after = page.after.unwrap_or_default();
    let mut blocks = api.blocks.list(&tenant).await?;
    blocks.retain(|block| block.id > after);
    let more = blocks.len() > limit;
    blocks.truncate(limit);
    Ok(Json(List {
        next: blocks.last().filter(|_| more).map(|block| block.id.clone()),
        items: blocks.iter().map(BlockView::from).collect(),
    }))
}
