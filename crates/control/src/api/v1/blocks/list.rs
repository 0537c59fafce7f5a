use axum::{Json, extract::State};
use mcp_ultra_domain::policy::Action;

use crate::{
    api::{
        Api,
        caller::Caller,
        input::Parameters,
        page::{Limit, List, Page},
        problem::Problem,
    },
    blocks::BlockView,
};

/// A page of them.
type Blocks = List<BlockView>;

/// The callers of a tenant who are blocked now.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "listBlocks",
    tag = "blocks",
    params(Page),
    responses(
        (status = 200, description = "A page", body = Blocks),
        Problem,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Parameters(page): Parameters<Page>,
) -> Result<Json<Blocks>, Problem> {
    let limit = Limit::of(page.limit)?;
    let tenant = caller.may(&api, Action::AdminBlocksRead, page.tenant)?;
    let after = page.after.unwrap_or_default();
    let blocks = api.blocks.list(&tenant).await?;
    let rest = blocks.iter().filter(|block| block.id > after);
    let views = rest.map(BlockView::from);
    Ok(Json(List::cut(limit, views, |block| block.id.clone())))
}
