//! Where the gateway may connect to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Config, Environment, auth::is_safe};
use crate::{network::Network, text::UpstreamUrl, validate::Findings};

/// Servers and issuers of this file may be anywhere but at link-local addresses and the metadata
/// services of clouds. Hosts that a document names (such as the `jwks_uri` of an issuer) must be
/// the host of the issuer itself, or one of `allow_hosts` with public addresses. Redirects are
/// never followed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OutboundSection {
    /// Addresses (`10.1.2.3`) and networks (`10.0.0.0/8`) that may be connected to although they
    /// are link-local or otherwise refused, or are internal and a document has named their host.
    pub allow_addresses: Vec<Network>,
    /// Host names that documents may lead to, besides the host they come from.
    pub allow_hosts: Vec<String>,
    /// A PEM file of certificate authorities to trust for servers, besides the usual ones.
    pub ca_file: Option<String>,
    /// Whether `servers[].url` may be `http:` at other hosts than this one, because the network in
    /// between encrypts, such as a service mesh. Without it: not in production, elsewhere yes.
    pub plain_http: Option<bool>,
}

impl OutboundSection {
    pub(super) fn check(config: &Config, findings: &mut Findings) {
        config.outbound.check_own(findings);
        let by_default = config.environment != Environment::Production;
        if !config.outbound.plain_http.unwrap_or(by_default) && !findings.placeholders() {
            check_servers(config, findings);
        }
    }

    fn check_own(&self, findings: &mut Findings) {
        findings.file("outbound.ca_file", self.ca_file.as_deref());
        for (index, host) in self.allow_hosts.iter().enumerate() {
            if !is_host_name(host) {
                findings.report(
                    format!("outbound.allow_hosts[{index}]"),
                    format!("`{host}` is not the name of a host"),
                    "write a whole name without scheme and port, such as keys.example.com",
                );
            }
        }
    }
}

/// What callers send to servers, and what those answer, crosses no network in the clear unless the
/// operator says that something else encrypts it (ASVS 5.0, 12.3.1).
fn check_servers(config: &Config, findings: &mut Findings) {
    for (index, server) in config.servers.iter().enumerate() {
        let url = server.url.as_ref().map(UpstreamUrl::url);
        if server.enabled && url.is_some_and(|url| !is_safe(url)) {
            findings.report(
                format!("servers[{index}].url"),
                "calls would cross the network in the clear",
                "write https; where something else encrypts, such as a service mesh, say so by outbound.plain_http: true",
            );
        }
    }
}

fn is_host_name(text: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    !text.is_empty() && text.bytes().all(fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_anything_else() {
        assert!(is_host_name("keys.example.com"));
        for bad in ["", "https://a", "a:1", "*.a", "a/b"] {
            assert!(!is_host_name(bad), "{bad}");
        }
    }
}
