//! `/api/v1/cache`: answers that are kept. They are forgotten here, and nobody is shown them.

mod purge;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::api::Api;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(purge::purge))
}
