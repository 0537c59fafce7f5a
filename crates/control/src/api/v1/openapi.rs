use axum::{
    http::header,
    response::{IntoResponse, Response},
};

/// This description. Needs no credential: it is the same for everyone, and public.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "getDescription",
    tag = "description",
    responses((status = 200, description = "An OpenAPI 3.1 document", content_type = "application/json", body = Object)),
)]
pub(super) async fn show() -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, crate::api::description()).into_response()
}
