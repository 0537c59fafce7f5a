//! `/api/v1/grants`: what people have allowed the gateway to do at servers in their name.

mod link;
mod list;
mod show;
mod withdraw;

use axum::{
    Json,
    http::header,
    response::{IntoResponse, Response},
};
use mcp_ultra_domain::Grant;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    api::{Api, revision::etag},
    grants::GrantView,
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list::list))
        .routes(routes!(link::link))
        .routes(routes!(show::show, withdraw::withdraw))
}

fn grant(grant: &Grant) -> Response {
    let view = GrantView::from(grant);
    ([(header::ETAG, etag(grant.revision))], Json(view)).into_response()
}
