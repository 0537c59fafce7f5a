//! What both planes stand on: bounded listeners and the outbound connector.
//!
//! - [`listener`] accepts connections, bounds everything a client can make us hold (connections,
//!   headers, time, streams) and hands requests to a service.
//! - [`tls`] is what a listener speaks TLS with, and what it knows of clients by their certificates.
//! - [`shutdown`] ends the listeners in two phases: drain, then abort what is left.
//! - [`workers`] are the threads that connections are served on.
//! - [`identity`] knows principals by their access tokens.
//! - [`credentials`] are the access tokens that upstreams are spoken to with.
//! - [`body`] reads whole bodies within a bound; [`within`] bounds the time of anything.
//! - [`outbound`] is the HTTP client towards upstreams. Guards on where it may connect belong into
//!   its connector.
//!
//! What does not live here: routes, MCP, policy. This crate knows HTTP and sockets only.
//!
//! The way in is [`listener::Listener::bind`], [`identity::Identity::identify`] and
//! [`outbound::Outbound::new`].

pub mod body;
pub mod credentials;
pub mod identity;
mod issuer;
pub mod listener;
pub mod outbound;
mod recent;
pub mod shutdown;
pub mod tls;
mod within;
pub mod workers;

pub use within::within;

/// Any error, as hyper and tower pass them around.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
