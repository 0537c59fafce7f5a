//! `/api/v1/grants`: what people have allowed the gateway to do at servers in their name.

mod link;
mod list;
mod show;
mod withdraw;

use mcp_ultra_domain::Grant;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    api::{
        Api,
        revision::{Shown, Tag},
    },
    grants::GrantView,
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list::list))
        .routes(routes!(link::link))
        .routes(routes!(show::show, withdraw::withdraw))
}

fn shown(grant: &Grant) -> Shown<GrantView> {
    Shown::new(Tag::of(grant.revision), GrantView::from(grant))
}
