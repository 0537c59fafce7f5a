//! What all callers of one demo server share.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mcp_ultra_protocol::seal::Sealer;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{DemoError, data::Store, events::Events};

/// What the server tells a model about itself.
pub(super) const INSTRUCTIONS: &str = "Customer service of an invented Brazilian shop. Find a \
    person with find_customer, read them with get_customer, their orders with list_orders and \
    get_order. update_address asks the user before it changes anything. Amounts are in cents of \
    BRL. All people and data are synthetic.";

/// The state behind all tools, resources and prompts.
#[derive(Debug)]
pub(super) struct Server {
    /// The records.
    pub(super) store: Store,
    /// Seals cursors and the state of open questions; its key ends with the process.
    pub(super) sealer: Sealer,
    /// Who hears of changes.
    pub(super) events: Events,
    /// Fires when the server goes away: open streams end in order.
    pub(super) stopping: CancellationToken,
    started: Instant,
}

impl Server {
    pub(super) fn new() -> Result<Arc<Self>, DemoError> {
        Ok(Arc::new(Self {
            store: Store::load()?,
            sealer: Sealer::random()?,
            events: Events::new(),
            stopping: CancellationToken::new(),
            started: Instant::now(),
        }))
    }

    /// How long the server has been up: the clock for what expires here.
    pub(super) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Name and version of the server.
pub(super) fn info() -> Value {
    json!({
        "name": "mcp-ultra-demo",
        "title": "MCP Ultra demo: customer service",
        "version": env!("CARGO_PKG_VERSION"),
    })
}

/// What the server can do. The tools and prompts never change, so there is nothing to tell of
/// them.
pub(super) fn capabilities() -> Value {
    json!({
        "tools": {},
        "resources": {"subscribe": true, "listChanged": true},
        "prompts": {},
        "completions": {},
        "logging": {},
    })
}
