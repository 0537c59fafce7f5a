//! The admin API.

use std::net::{IpAddr, Ipv4Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::validate::Findings;

/// The admin API listens on an address of its own, and only where it has a port. Who may use it say
/// the policies of `policy.files` with the actions of the group `admin`; where there are none, the two
/// roles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdminSection {
    /// The IP address it listens on. On any but a loopback address it speaks TLS as `server.tls`
    /// says, or something in front of it does.
    pub host: IpAddr,
    /// Its port, 0 for any free one. Without it there is no admin API.
    pub port: Option<u16>,
    /// The URL that callers reach it by, without a path, such as `https://admin.example.com`: what
    /// the proofs of tokens must name that are bound to a key. Without it: host and port.
    pub url: Option<String>,
    /// Without `policy.files`, who has this role may administer everything, of all tenants.
    pub operator_role: String,
    /// Without `policy.files`, who has this role may administer what is of their own tenant.
    pub tenant_admin_role: String,
}

impl Default for AdminSection {
    fn default() -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST.into(),
            port: None,
            url: None,
            operator_role: "operator".to_owned(),
            tenant_admin_role: "tenant-admin".to_owned(),
        }
    }
}

impl AdminSection {
    pub(super) fn check(&self, findings: &mut Findings) {
        for (path, role) in [
            ("admin.operator_role", &self.operator_role),
            ("admin.tenant_admin_role", &self.tenant_admin_role),
        ] {
            if role.is_empty() || role.contains(char::is_whitespace) {
                findings.report(
                    path,
                    format!("`{role}` is not a role"),
                    "write one word, such as operator",
                );
            }
        }
        if let Some(url) = &self.url
            && !is_origin(url)
        {
            findings.report(
                "admin.url",
                format!("`{url}` is not the URL of a host alone"),
                "write scheme and host, and a port where there is one: https://admin.example.com",
            );
        }
        if self.operator_role == self.tenant_admin_role {
            findings.report(
                "admin.tenant_admin_role",
                "it is the role of operators too, so every administrator could do everything",
                "give it another name, such as tenant-admin",
            );
        }
    }
}

/// Scheme and authority, and nothing after them.
fn is_origin(url: &str) -> bool {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|host| {
        let fine = |c: char| c.is_ascii_alphanumeric() || "-.:[]_".contains(c);
        !host.is_empty() && host.chars().all(fine)
    })
}
