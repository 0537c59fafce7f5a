//! The edge over real sockets on the loopback interface.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the helpers of tests are tests"
)]

mod api_keys;
mod credentials;
mod deadlines;
mod dpop;
mod draining;
mod headers;
mod http2;
mod identity;
mod outbound;
mod resources;
mod server;
