//! The admin API, on a listener of its own: `/api/v1/<resource>`.
//!
//! One endpoint a file: `v1/<resource>/<verb>.rs`, with its description for OpenAPI. What all of
//! them share is here:
//!
//! - `caller`: who asks, and whether they may; [`rule`] decides
//! - `problem`: everything that goes wrong (RFC 9457)
//! - `input`: bodies, queries and headers that are read before anything is done
//! - `idempotency`: what makes something does so once
//! - `page`: lists, a page at a time
//! - `revision`: `ETag` and `If-Match` (RFC 9110, 13)
//!
//! What an endpoint takes describes itself: `Identifier`, `Change` or `IfMatch` stand among its
//! arguments and again in its `params`, and `Problem` ends its `responses`. Of a resource only this is
//! its own: who may do it, how one is found, its view and its tag.
//!
//! The way in is [`router`]; [`description`] is what it serves, as OpenAPI 3.1.

mod caller;
mod idempotency;
mod input;
mod page;
mod problem;
mod revision;
pub mod rule;
mod v1;

use std::sync::Arc;

use axum::{Router, extract::DefaultBodyLimit};
use mcp_ultra_domain::{Clock, ports::IdempotencyStore};
use mcp_ultra_edge::identity::Identity;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_axum::router::OpenApiRouter;

use self::rule::Rule;
use crate::{
    answers::KeptAnswers,
    blocks::Blocks,
    breakers::Breakers,
    grants::{Grants, Links},
    keys::Keys,
    pins::Pins,
    registry::Registry,
    sessions::ClientSessions,
};

/// The largest body of a request, in bytes.
const LARGEST_BODY: usize = 64 * 1024;

/// What the endpoints work on.
#[derive(Clone)]
pub struct Api {
    /// Who asks.
    pub identity: Arc<Identity>,
    /// Who may do what.
    pub rule: Rule,
    /// Where callers reach the listener, without a path: what proofs must name.
    pub url: Arc<str>,
    /// API keys.
    pub keys: Keys,
    /// What people have granted at servers.
    pub grants: Grants,
    /// Links by which people connect servers.
    pub links: Arc<dyn Links>,
    /// Definitions of tools.
    pub pins: Pins,
    /// Servers, policies and feature flags that are changed at run time.
    pub registry: Registry,
    /// What callers have open.
    pub sessions: Arc<dyn ClientSessions>,
    /// Answers that are kept.
    pub answers: Arc<dyn KeptAnswers>,
    /// Circuit breakers.
    pub breakers: Arc<dyn Breakers>,
    /// Who is blocked.
    pub blocks: Blocks,
    /// What was asked before.
    pub idempotency: Arc<dyn IdempotencyStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "MCP Ultra admin API",
        description = "Administers a gateway. Every request needs an access token or API key of a principal that the policies permit it. \
            Every change needs `If-Match` with the `ETag` of what was read, and takes `dry_run=true` to see what it would do. \
            Everything that makes something needs an `Idempotency-Key`. Errors are problem details (RFC 9457).",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(problem::Document)),
    modifiers(&Bearer),
    tags(
        (name = "blocks", description = "Callers who are refused for a time, whatever credential they show"),
        (name = "breakers", description = "Circuit breakers of servers, as this gateway has them"),
        (name = "cache", description = "Answers of servers that are kept, to be given again"),
        (name = "flags", description = "Feature flags: those of the files, and those of the registry, which are changed here"),
        (name = "grants", description = "Grants: what people have allowed the gateway to do at servers in their name"),
        (name = "keys", description = "API keys: credentials that the gateway issues itself"),
        (name = "policies", description = "Policies: those of the files, and those of the registry, which are changed here"),
        (name = "servers", description = "MCP servers: those of the file, and those of the registry, which are changed here"),
        (name = "sessions", description = "What callers have open at this gateway: sessions, and streams of callers without"),
        (name = "tools", description = "Definitions of tools, and which of them were agreed to"),
    ),
)]
struct Description;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "An access token of an issuer, or an API key. A token that is bound to a key (RFC 9449) \
                is sent as `Authorization: DPoP` with a proof for this request in the header `DPoP`.",
            ))
            .build();
        description
            .components
            .get_or_insert_default()
            .add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

fn documented() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Description::openapi()).nest("/api/v1", v1::routes())
}

/// All endpoints.
pub fn router(api: Api) -> Router {
    let (router, _) = documented().split_for_parts();
    router
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(api)
}

/// The description of the API (OpenAPI 3.1), as the text of a JSON document.
pub fn description() -> String {
    let (_, description) = documented().split_for_parts();
    // A document of our own types has no keys that are no texts.
    description.to_pretty_json().unwrap_or_default() + "\n"
}
