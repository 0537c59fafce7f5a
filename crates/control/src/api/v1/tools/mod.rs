//! `/api/v1/tools`: the definitions of tools beside those that were agreed to. They are the
//! gateway's, of no tenant.

mod approve;
mod forget;
mod list;
mod show;

use mcp_ultra_domain::pinning::Pin;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    api::{
        Api,
        revision::{Shown, Tag},
    },
    pins::PinView,
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list::list))
        .routes(routes!(show::show, forget::forget))
        .routes(routes!(approve::approve))
}

fn tag(tool: &PinView) -> Tag {
    Tag::quoted(tool.tag())
}

fn shown(pin: &Pin) -> Shown<PinView> {
    let view = PinView::of(pin);
    Shown::new(tag(&view), view)
}
