//! Every setting of the client towards upstreams.

use std::{path::PathBuf, time::Duration};

use mcp_ultra_config::Network;

/// How upstreams are connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundConfig {
    /// The time to resolve, connect and finish the TLS handshake, all together.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept for the next request.
    pub pool_idle_timeout: Duration,
    /// Unused HTTP/1.1 connections kept per upstream (scheme, host and port) and worker.
    pub pool_max_idle_per_host: usize,
    /// A PEM file of certificate authorities to trust besides Mozilla's roots, which are compiled
    /// in: a container without any files of its own has no others.
    pub extra_ca_file: Option<PathBuf>,
    /// Addresses that may be connected to although they are internal and come from data, or are
    /// link-local, of a metadata service or otherwise for nobody.
    pub allowed_addresses: Vec<Network>,
    /// Hosts that data may lead to, besides the one that the data is from:
    /// [`Outbound::request_found`](super::Outbound::request_found).
    pub allowed_hosts: Vec<String>,
    /// How many [`workers`](crate::workers) send requests, each over connections of its own.
    pub workers: usize,
}

/// TLS towards one upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// A PEM file of the authorities to trust instead of all others.
    pub authorities: Option<PathBuf>,
    /// PEM files of the certificate to show and of its key.
    pub own: Option<(PathBuf, PathBuf)>,
}

impl Default for OutboundConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            // Shorter than the 60 to 75 seconds that servers usually keep a connection for.
            pool_idle_timeout: Duration::from_secs(50),
            pool_max_idle_per_host: 128,
            extra_ca_file: None,
            allowed_addresses: Vec::new(),
            allowed_hosts: Vec::new(),
            workers: 0,
        }
    }
}
