//! The data plane: carries an MCP call from a client to an upstream and back.
//!
//! The way in is [`pipeline`]: the order in which a call is treated, a line a stage. Around it:
//!
//! - [`http`]: the endpoint `/mcp`, health and metrics; what HTTP demands before and after a call.
//! - `stages`: one file a stage of the pipeline.
//! - `era`: the conversation with an upstream, and the translation where the caller's era is
//!   not the upstream's.
//! - `connect`: people connect servers to their accounts there, in a browser.
//! - `session`: what a legacy client has open here.
//! - [`upstream`]: the servers behind the gateway.
//! - `limits`: which limit holds for whom.
//! - `catalog`: keeps the snapshot of what they offer.
//! - `pinning`: what of it nobody has agreed to.
//! - `listen`: the notification streams of modern clients.
//! - `replicas`: what one replica of the gateway does for another.
//! - `aside`: work on long lists, beside the calls.
//! - `vault`: how what gateways keep for each other looks.
//!
//! What does not live here: policy, storage, the configuration file, the command line.

mod access;
mod aside;
mod cache;
mod call;
mod catalog;
mod connect;
mod era;
mod gateway;
pub mod http;
mod limits;
mod listen;
mod metrics;
mod pinning;
pub mod pipeline;
mod random;
mod replicas;
mod reply;
mod room;
mod session;
mod snapshot;
mod stages;
pub mod upstream;
mod vault;

pub use connect::{ConnectLink, ConnectParts, NoLink, Revocation};
pub use gateway::{Forget, Gateway, GatewayError, Parts, Whose};
pub use metrics::{Metrics, RegistryState};
pub use session::ClientSession;

/// The text of the gateway's own name and version, as `serverInfo` and `clientInfo` have it.
pub(crate) fn identity() -> String {
    format!(
        r#"{{"name":"mcp-ultra","title":"MCP Ultra","version":"{}"}}"#,
        env!("CARGO_PKG_VERSION")
    )
}
