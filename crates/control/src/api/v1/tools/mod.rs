//! `/api/v1/tools`: the definitions of tools beside those that were agreed to. They are the
//! gateway's, of no tenant.

mod approve;
mod forget;
mod list;
mod show;

use axum::{
    Json,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use mcp_ultra_domain::pinning::Pin;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{api::Api, pins::PinView};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list::list))
        .routes(routes!(show::show, forget::forget))
        .routes(routes!(approve::approve))
}

fn shown(pin: &Pin) -> Response {
    let view = PinView::of(pin);
    ([(header::ETAG, etag(&view))], Json(view)).into_response()
}

fn etag(view: &PinView) -> HeaderValue {
    HeaderValue::try_from(view.tag()).unwrap_or(HeaderValue::from_static("\"\""))
}
