//! NATS: where it is, who the gateway is there, and under which names it speaks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{text::Secret, validate::Findings};

/// The longest prefix.
const LONGEST_PREFIX: usize = 64;
/// How long the seed of a user is.
const SEED: usize = 58;
const PATH: &str = "messaging.nats";

/// A NATS server of version 2.9 or later with JetStream, or the servers of one cluster. Connections
/// are encrypted, and the server's certificate and name are verified; there is no way around it.
/// The gateway starts without it, and goes on without it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NatsSettings {
    /// The servers, as `host:port` or `host` (port 4222). No others are connected to, whatever
    /// these say of their cluster.
    pub servers: Vec<String>,
    /// Whom to believe, and who the gateway shows itself as.
    #[serde(default)]
    pub tls: NatsTls,
    /// The gateway's user, with `password`.
    #[serde(default)]
    pub user: Option<String>,
    /// Its password.
    #[serde(default)]
    pub password: Option<Secret>,
    /// The seed of the gateway's key (`SU…`), in the place of user and password.
    #[serde(default)]
    pub nkey: Option<Secret>,
    /// What the names of its stream (`PREFIX-announcements`) and subjects (`PREFIX.…`) begin with.
    /// Gateways with the same prefix are told of each other's changes.
    #[serde(default = "prefix")]
    pub prefix: String,
}

/// Certificates for connections to NATS. The files are PEM, and are read with each new connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NatsTls {
    /// The file of certificate authorities to trust, instead of those of the system.
    pub ca_file: Option<String>,
    /// The file of the gateway's certificate, where the server asks for one.
    pub certificate: Option<String>,
    /// The file of its private key.
    pub key: Option<String>,
}

fn prefix() -> String {
    "mcp-ultra".to_owned()
}

impl NatsSettings {
    /// Servers by their names, and all else as it is when left out.
    pub fn new(servers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            servers: servers.into_iter().map(Into::into).collect(),
            tls: NatsTls::default(),
            user: None,
            password: None,
            nkey: None,
            prefix: prefix(),
        }
    }

    pub(super) fn check(&self, findings: &mut Findings) {
        if self.servers.is_empty() {
            findings.report(
                format!("{PATH}.servers"),
                "no server is named",
                "name one or more, such as [nats.example.com:4222]",
            );
        }
        for (index, server) in self.servers.iter().enumerate() {
            if !is_server(server) {
                findings.report(
                    format!("{PATH}.servers[{index}]"),
                    format!("`{server}` is no server"),
                    "use a name that its certificate is for, and a port where it is not 4222, such as nats.example.com:4222; user and password have keys of their own",
                );
            }
        }
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let length = self.prefix.len();
        if length == 0 || length > LONGEST_PREFIX || !self.prefix.bytes().all(fits) {
            findings.report(
                format!("{PATH}.prefix"),
                format!("{:?} can't begin the name of a stream", self.prefix),
                format!("use 1 to {LONGEST_PREFIX} letters, digits, - and _, such as mcp-ultra"),
            );
        }
        self.check_login(findings);
        self.tls.check(findings);
    }

    fn check_login(&self, findings: &mut Findings) {
        if self.user.is_some() != self.password.is_some() {
            let missing = if self.user.is_some() {
                "password"
            } else {
                "user"
            };
            findings.report(
                format!("{PATH}.{missing}"),
                "it is missing, and the other half is there",
                "set both user and password, or nkey alone",
            );
        }
        if self.nkey.is_some() && (self.user.is_some() || self.password.is_some()) {
            findings.report(
                format!("{PATH}.nkey"),
                "the gateway is one user there, by a key or by a password",
                "leave out either nkey, or user and password",
            );
        }
        let is_somebody = self.nkey.is_some() || self.user.is_some() || self.password.is_some();
        if !is_somebody && self.tls.certificate.is_none() {
            findings.report(
                PATH,
                "the gateway would be nobody there, and so could be anyone who tells gateways of changes",
                "set nkey: ${secret:NAME}, or user and password, or tls.certificate and tls.key where the server knows users by those",
            );
        }
        let seed = self.nkey.as_ref().map(Secret::expose);
        let is_seed = |seed: &str| seed.len() == SEED && seed.starts_with("SU");
        if !findings.placeholders() && seed.is_some_and(|seed| !is_seed(seed)) {
            findings.report(
                format!("{PATH}.nkey"),
                "this is not the seed of a user's key",
                "use what `nk -gen user` prints: 58 characters that begin with SU",
            );
        }
    }
}

impl NatsTls {
    fn check(&self, findings: &mut Findings) {
        for (key, file) in [
            ("ca_file", &self.ca_file),
            ("certificate", &self.certificate),
            ("key", &self.key),
        ] {
            findings.file(&format!("{PATH}.tls.{key}"), file.as_deref());
        }
        let missing = match (&self.certificate, &self.key) {
            (Some(_), None) => "key",
            (None, Some(_)) => "certificate",
            _ => return,
        };
        findings.report(
            format!("{PATH}.tls.{missing}"),
            "it is missing, so no certificate can be shown",
            "name the PEM files of both the certificate and its key",
        );
    }
}

/// `host`, `host:port`, or an address of version 6 in brackets with or without a port.
fn is_server(server: &str) -> bool {
    let (host, port) = match server.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, rest)) => match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None => return false,
            },
            None => return false,
        },
        None => match server.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (server, None),
        },
    };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let is_host = if server.starts_with('[') {
        host.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        !host.is_empty() && host.bytes().all(fits)
    };
    is_host && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0))
}

#[cfg(test)]
mod tests {
    use super::is_server;

    #[test]
    fn servers_have_a_host_and_perhaps_a_port() {
        for good in [
            "nats",
            "nats.example.com:4222",
            "10.0.0.1",
            "[::1]",
            "[::1]:4222",
        ] {
            assert!(is_server(good), "{good}");
        }
        for bad in [
            "",
            ":4222",
            "nats:",
            "nats:0",
            "nats:70000",
            "tls://nats",
            "u:p@nats",
            "::1",
            "[::1",
            "[x]:1",
            "[::1]4222",
            "a b",
        ] {
            assert!(!is_server(bad), "{bad}");
        }
    }
}
