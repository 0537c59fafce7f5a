//! Only for tests: fixture upstreams, raw MCP clients, private processes, load.
//!
//! Nothing of the product may depend on this crate, except as a `dev-dependency`. The ways in:
//! [`fixture`] is an MCP server that behaves, [`hostile`] one that does not, [`raw`] a client that
//! sends what it is told, [`schema`] the judge of messages, [`process`] runs a real binary,
//! [`gateway`] the real gateway with a configuration of a test's own, [`fleet`] several behind a balancer, [`stores`] the databases and
//! brokers of a test's own, [`scripted`] is an upstream that keeps the bytes it gets, [`identity`] an
//! identity provider, [`authorization`] an authorization server with the [`browser`] that logs in
//! there, and [`driver`] is the client that the public conformance suite drives the gateway with.

pub mod authorization;
pub mod browser;
pub mod driver;
pub mod fixture;
pub mod fleet;
pub mod gateway;
pub mod hostile;
pub mod identity;
pub mod process;
pub mod raw;
pub mod schema;
pub mod scripted;
pub mod stores;
pub mod tls;
