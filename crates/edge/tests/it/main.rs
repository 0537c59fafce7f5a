//! The edge over real sockets on the loopback interface.

mod deadlines;
mod draining;
mod headers;
mod http2;
mod outbound;
mod resources;
mod server;
