//! `/api/v1/blocks`: callers who are refused for a time. One is blocked by ending all their sessions
//! with `block_until`.

mod list;
mod remove;
mod show;

use mcp_ultra_domain::Block;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    api::{
        Api,
        problem::{Kind, Problem},
        revision::{Shown, Tag},
    },
    blocks::BlockView,
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list::list))
        .routes(routes!(show::show, remove::remove))
}

async fn find(api: &Api, tenant: &str, id: &str) -> Result<Block, Problem> {
    let found = api.blocks.get(tenant, id).await?;
    found.ok_or_else(|| Problem::new(Kind::NOT_FOUND, "the tenant has no such block in force"))
}

/// Another one of the same caller has begun later.
fn tag(block: &Block) -> Tag {
    Tag::of(u64::try_from(block.since.as_millis()).unwrap_or(u64::MAX))
}

fn shown(block: &Block) -> Shown<BlockView> {
    Shown::new(tag(block), BlockView::from(block))
}
