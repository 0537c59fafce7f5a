//! Where the gateway may connect to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{network::Network, validate::Findings};

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
}

impl OutboundSection {
    pub(super) fn check(&self, findings: &mut Findings) {
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
