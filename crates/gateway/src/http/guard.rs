//! Whose request it is, as far as the network can tell, and whether its address asks too often:
//! before anything else of the request is looked at.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
};

use http::{HeaderMap, Request};
use hyper::body::Incoming;
use mcp_ultra_config::Network;
use mcp_ultra_domain::limits::{Key, Scope};

use super::peer_of;
use crate::{Gateway, limits::Exceeded};

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address of the client, or the limit that its request is refused by.
pub(super) fn request(
    gateway: &Gateway,
    request: &Request<Incoming>,
) -> Result<Option<IpAddr>, Exceeded> {
    // A listener that knows no addresses, as in tests, has none to limit.
    let Some(peer) = peer_of(request) else {
        return Ok(None);
    };
    let settings = gateway.settings();
    let client = client(peer, request.headers(), &settings.trusted_proxies);
    let Some(rule) = &settings.limits.address else {
        return Ok(Some(client));
    };
    if !rule.loopback && client.is_loopback() {
        return Ok(Some(client));
    }
    let key = Key::of_address(client);
    let now = gateway.clock.now();
    match gateway.limits.rate(&key, &rule.rate, now) {
        Ok(()) => Ok(Some(client)),
        Err(wait) => {
            if client == peer && request.headers().contains_key(FORWARDED_FOR) {
                hint();
            }
            let exceeded = Exceeded::rate(Scope::Address, &rule.rate, wait);
            gateway.count_limited(&exceeded);
            Err(exceeded)
        }
    }
}

/// Behind a proxy that is not named, all clients have the address of the proxy: whoever runs the
/// gateway is told so, once.
fn hint() {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if !TOLD.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            "requests with X-Forwarded-For are refused by limits.rates.address: if they come from a reverse proxy of yours, name it in server.trusted_proxies"
        );
    }
}

/// The address that a request comes from: that of the connection, unless that is a proxy which is
/// trusted. Then the last address of `X-Forwarded-For` that is none of the trusted ones: what
/// stands before it anyone can have written.
fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(peer) {
        return peer;
    }
    let mut client = peer;
    for value in headers.get_all(FORWARDED_FOR).iter().rev() {
        let Ok(value) = value.to_str() else {
            return client;
        };
        for hop in value.rsplit(',') {
            let Some(address) = address(hop.trim()) else {
                return client;
            };
            let address = address.to_canonical();
            client = address;
            if !is_trusted(address) {
                return client;
            }
        }
    }
    client
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || Some(text.parse::<SocketAddr>().ok()?.ip());
    text.parse().ok().or_else(bare).or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_of(peer: &str, forwarded: &[&str]) -> String {
        let trusted: Vec<Network> = ["10.0.0.0/8", "::1"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        client(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        for (peer, forwarded, expected) in [
            ("203.0.113.1", &["198.51.100.7"][..], "203.0.113.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            // What the client itself has written stands before what the proxies have.
            ("10.0.0.1", &["192.0.2.9, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["192.0.2.9", "198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["198.51.100.7, 10.0.0.2"], "198.51.100.7"),
            ("::1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["198.51.100.7:4711"], "198.51.100.7"),
            ("10.0.0.1", &["[2001:db8::1]:80"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1", &["::ffff:198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["unknown"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7, _hidden, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &[""], "10.0.0.1"),
        ] {
            assert_eq!(client_of(peer, forwarded), expected, "{peer} {forwarded:?}");
        }
    }
}
