//! The address the gateway listens on, who may reach it there, and how it stops.

mod cors;
mod names;
mod tls;

use std::net::{IpAddr, Ipv4Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

pub use self::{
    cors::CorsSection,
    names::{host_matches, split_port},
    tls::{ClientAuth, Terminator, TlsSection, TlsVersion},
};
use crate::{network::Network, period::Period, validate::Findings};

/// The MCP endpoint is always `/mcp` on this address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSection {
    /// The IP address to listen on: 127.0.0.1 for this machine only, 0.0.0.0 or :: for all.
    pub host: IpAddr,
    /// The TCP port to listen on; 0 takes any free one.
    pub port: u16,
    /// The `Host` headers that are answered on `/mcp`, each `name` (any port) or `name:port`; `*`
    /// for all. Without it: only loopback names when listening on a loopback address (against DNS
    /// rebinding), else all.
    pub allowed_hosts: Option<Vec<String>>,
    /// The `Origin` headers that are answered on `/mcp`, each `scheme://name`,
    /// `scheme://name:port` or `scheme://name:*` (any port); `*` for all. A request without
    /// `Origin`, which is any but a browser's, always passes. Without it: only loopback origins
    /// when listening on a loopback address, else none.
    pub allowed_origins: Option<Vec<String>>,
    /// Which pages in browsers may call (CORS).
    pub cors: CorsSection,
    /// TLS on this port.
    pub tls: TlsSection,
    /// Who ends TLS in front of the gateway where it speaks none itself: `proxy` or `mesh`.
    pub tls_terminated_by: Option<Terminator>,
    /// The reverse proxies whose `X-Forwarded-For` is believed, as addresses and ranges. Without
    /// them every request is from the address at the other end of its connection.
    pub trusted_proxies: Vec<Network>,
    /// Whether `/metrics` is served.
    pub metrics: bool,
    /// How the gateway stops after SIGTERM.
    pub shutdown: Shutdown,
}

/// How the gateway stops: not ready at once, work still accepted for the delay, calls in flight
/// finished within the deadline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// How long new work is still accepted. Without it: 0s in development, 5s elsewhere.
    pub drain_delay: Option<Period>,
    /// How long calls in flight may take to finish after that.
    pub drain_deadline: Period,
}

/// Names that are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// Every name.
    Any,
    /// Only these, in the form that the field documents.
    Only(Vec<String>),
}

impl Default for ServerSection {
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 8080,
            allowed_hosts: None,
            allowed_origins: None,
            cors: CorsSection::default(),
            tls: TlsSection::default(),
            tls_terminated_by: None,
            trusted_proxies: Vec::new(),
            metrics: true,
            shutdown: Shutdown::default(),
        }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self {
            drain_delay: None,
            drain_deadline: Period::from_secs(30),
        }
    }
}

impl ServerSection {
    /// The path of the MCP endpoint.
    pub const PATH: &'static str = "/mcp";

    /// The `Host` headers that are answered; see [`Self::allowed_hosts`] for the form.
    pub fn hosts(&self) -> Names {
        match &self.allowed_hosts {
            Some(list) => names(list),
            None if self.host.is_loopback() => {
                let mut list = vec!["localhost".into(), "127.0.0.1".into(), "[::1]".into()];
                let own = match self.host {
                    IpAddr::V4(address) => address.to_string(),
                    IpAddr::V6(address) => format!("[{address}]"),
                };
                if !list.contains(&own) {
                    list.push(own);
                }
                Names::Only(list)
            }
            None => Names::Any,
        }
    }

    /// Whether a request with this `Host` is answered.
    pub(super) fn answers(&self, host: &str) -> bool {
        match self.hosts() {
            Names::Any => true,
            Names::Only(list) => list.iter().any(|entry| host_matches(entry, host)),
        }
    }

    /// The `Origin` headers that are answered; see [`Self::allowed_origins`] for the form. Those of
    /// `cors.origins` are among them.
    pub fn origins(&self) -> Names {
        match self.origins_without_cors() {
            Names::Any => Names::Any,
            Names::Only(list) => Names::Only([&list[..], &self.cors.origins].concat()),
        }
    }

    fn origins_without_cors(&self) -> Names {
        match &self.allowed_origins {
            Some(list) => names(list),
            None if self.host.is_loopback() => {
                let hosts = ["localhost", "127.0.0.1", "[::1]"];
                let origins = |scheme| hosts.map(|host| format!("{scheme}://{host}:*"));
                Names::Only([origins("http"), origins("https")].concat())
            }
            None => Names::Only(Vec::new()),
        }
    }

    pub(super) fn check(&self, findings: &mut Findings) {
        for (index, host) in self.allowed_hosts.iter().flatten().enumerate() {
            if host != "*" && !is_host(host) {
                findings.report(
                    format!("server.allowed_hosts[{index}]"),
                    format!("`{host}` is not a host name"),
                    "write a name such as mcp.example.com, with :port for one port only, or `*`",
                );
            }
        }
        for (index, origin) in self.allowed_origins.iter().flatten().enumerate() {
            if origin != "*" && !is_origin(origin) {
                findings.report(
                    format!("server.allowed_origins[{index}]"),
                    format!("`{origin}` is not an origin"),
                    "write scheme and name without a path, such as https://app.example.com, or `*`",
                );
            }
        }
        self.cors.check(findings);
        self.tls.check(findings);
        if self.tls.is_on() && self.tls_terminated_by.is_some() {
            findings.report(
                "server.tls_terminated_by",
                "the gateway ends TLS itself (server.tls)",
                "remove one of the two",
            );
        }
        findings.not_zero(
            "server.shutdown.drain_deadline",
            self.shutdown.drain_deadline,
        );
    }
}

fn names(list: &[String]) -> Names {
    if list.iter().any(|name| name == "*") {
        Names::Any
    } else {
        Names::Only(list.to_vec())
    }
}

/// Whether the text is a host with or without a port: an address made of it must give it back.
fn is_host(text: &str) -> bool {
    let plain = !text.is_empty() && !text.contains(['/', '?', '#', '@', '\\', '*', ' ']);
    plain && Url::parse(&format!("http://{text}/")).is_ok_and(|url| url.host().is_some())
}

fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else {
        return false;
    };
    let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b));
    scheme_ok && is_host(host.strip_suffix(":*").unwrap_or(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_guarded_and_the_rest_is_open_to_hosts_but_not_to_origins() {
        let local = ServerSection::default();
        assert!(matches!(local.hosts(), Names::Only(list) if list.contains(&"localhost".into())));
        assert!(
            matches!(local.origins(), Names::Only(list) if list.contains(&"http://localhost:*".into()))
        );
        let public = ServerSection {
            host: Ipv4Addr::UNSPECIFIED.into(),
            ..local
        };
        assert_eq!(public.hosts(), Names::Any);
        assert_eq!(public.origins(), Names::Only(Vec::new()));
    }

    #[test]
    fn a_star_opens_all() {
        let open = ServerSection {
            allowed_hosts: Some(vec!["a.example".into(), "*".into()]),
            ..ServerSection::default()
        };
        assert_eq!(open.hosts(), Names::Any);
    }

    #[test]
    fn tells_hosts_and_origins_from_anything_else() {
        for good in [
            "localhost",
            "a.example:8080",
            "[::1]",
            "[::1]:80",
            "10.0.0.1",
        ] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", "http://a", "a/b", "a b", "a:b", "*.a", "user@a"] {
            assert!(!is_host(bad), "{bad}");
        }
        for good in [
            "https://a.example",
            "http://localhost:*",
            "vscode-webview://x",
            "http://[::1]:1",
        ] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "a.example",
            "https://a.example/",
            "https://",
            "://a",
            "HTTP://a",
            "null",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
