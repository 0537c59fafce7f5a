//! The first version of the admin API.

mod blocks;
mod breakers;
mod cache;
mod grants;
mod keys;
mod openapi;
mod registry;
mod sessions;
mod tools;

use utoipa_axum::{router::OpenApiRouter, routes};

use super::Api;

/// All endpoints, below `/api/v1`.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(openapi::show))
        .nest("/grants", grants::routes())
        .nest("/keys", keys::routes())
        .nest("/blocks", blocks::routes())
        .nest("/breakers", breakers::routes())
        .nest("/cache", cache::routes())
        .nest("/servers", registry::servers::routes())
        .nest("/policies", registry::policies::routes())
        .nest("/flags", registry::flags::routes())
        .nest("/sessions", sessions::routes())
        .nest("/tools", tools::routes())
}
