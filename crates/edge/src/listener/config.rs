//! Every bound of a listener.

use std::{net::SocketAddr, time::Duration};

/// Where to listen, and every bound on what a client can make the listener hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Address and port; port 0 takes a free one. An unspecified IPv6 address (`[::]`) also
    /// accepts IPv4.
    pub address: SocketAddr,
    /// Open connections of all clients together; those above it are reset at once.
    pub max_connections: usize,
    /// Open connections of one client address: one IPv4 address, or one IPv6 /64, which is what a
    /// single host can usually choose its addresses from.
    pub max_connections_per_client: usize,
    /// Header fields of one request; more are answered 431. Above 100, HTTP/1.1 requests cost an
    /// allocation more.
    pub max_headers: usize,
    /// Bytes of request line and header fields of one request; more are answered 431. In HTTP/2
    /// the size of the header list as RFC 9113 section 6.5.2 counts it.
    pub max_header_bytes: u32,
    /// The time for one whole request header, from its first byte (on a new connection: from
    /// accept) to its last, no matter how the bytes trickle in.
    pub header_timeout: Duration,
    /// How long a connection may stay open without a request.
    pub idle_timeout: Duration,
    /// How long a client may take none of the bytes that wait for it; the kernel gives up on bytes
    /// that a vanished client does not acknowledge after twice this time.
    pub write_timeout: Duration,
    /// HTTP/2: streams open at a time on one connection.
    pub http2_max_streams: u32,
    /// HTTP/2: how often a connection is probed with a ping.
    pub http2_keep_alive_interval: Duration,
    /// HTTP/2: how long the answer to a ping may take before the connection is closed.
    pub http2_keep_alive_timeout: Duration,
}

impl ListenerConfig {
    /// The defaults, listening on `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            max_connections: 16_384,
            max_connections_per_client: 4_096,
            max_headers: 100,
            max_header_bytes: 32 * 1024,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            http2_max_streams: 256,
            http2_keep_alive_interval: Duration::from_secs(30),
            http2_keep_alive_timeout: Duration::from_secs(20),
        }
    }
}
