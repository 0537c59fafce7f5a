//! A Redis: where it is, who the gateway is there, and how long it may take.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::postgres::check_host;
use crate::{period::Period, text::Secret, validate::Findings};

/// The longest prefix of keys: it is sent with every one of them.
const LONGEST_PREFIX: usize = 64;

/// A Redis of version 7 or later: one server, a cluster, or a master that Sentinels watch.
/// Connections are encrypted, and the server's certificate and name are verified; there is no way
/// around it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSettings {
    /// One server.
    pub server: Option<RedisServer>,
    /// A cluster instead: some of its nodes, which name the others.
    pub cluster: Vec<RedisServer>,
    /// Sentinels instead, which say who the master is.
    pub sentinel: Option<RedisSentinel>,
    /// The gateway's user of the access list. It needs the keys that begin with `prefix`, and the
    /// commands that docs/runbooks/redis.md names.
    pub user: String,
    /// Its password; none where a client certificate takes its place.
    pub password: Option<Secret>,
    /// Whom to believe, and who the gateway shows itself as.
    pub tls: RedisTls,
    /// What the names of all keys begin with. Gateways that share it share sessions and proofs.
    pub prefix: String,
    /// How long a connection may take to be made.
    pub connect_timeout: Period,
    /// How long one command may take. A call waits no longer than this for Redis, and not at all
    /// while it is known to be away.
    pub command_timeout: Period,
}

/// A server by its name and port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedisServer {
    /// The name of the server, which its certificate is for, or its address.
    pub host: String,
    /// Its port: 6379, or 26379 of a Sentinel, unless given.
    #[serde(default)]
    pub port: Option<u16>,
}

/// Sentinels, and what they call the master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedisSentinel {
    /// The name of the master.
    pub master: String,
    /// The Sentinels. They are asked in this order.
    pub servers: Vec<RedisServer>,
    /// The gateway's user there, where it is another one than at the master.
    #[serde(default)]
    pub user: Option<String>,
    /// Its password there.
    #[serde(default)]
    pub password: Option<Secret>,
}

/// Certificates for connections to Redis. The files are PEM, and are read with each new connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RedisTls {
    /// The file of certificate authorities to trust, in place of the public ones.
    pub ca_file: Option<String>,
    /// The file of the gateway's certificate, where the server asks for one.
    pub certificate: Option<String>,
    /// The file of its private key.
    pub key: Option<String>,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            server: None,
            cluster: Vec::new(),
            sentinel: None,
            user: "mcp_ultra".to_owned(),
            password: None,
            tls: RedisTls::default(),
            prefix: "mcp-ultra".to_owned(),
            connect_timeout: Period::from_secs(2),
            command_timeout: Period::from_millis(250),
        }
    }
}

impl RedisSettings {
    pub(super) fn check(&self, findings: &mut Findings) {
        let places = [
            self.server.is_some(),
            !self.cluster.is_empty(),
            self.sentinel.is_some(),
        ];
        if places.into_iter().filter(|named| *named).count() != 1 {
            findings.report(
                "storage.redis",
                "it takes one place to be: server, cluster or sentinel",
                "name one of the three, such as server: {host: redis.example.com}",
            );
        }
        if let Some(server) = &self.server {
            check_host("storage.redis.server.host", &server.host, findings);
        }
        check_hosts("storage.redis.cluster", &self.cluster, findings);
        if let Some(sentinel) = &self.sentinel {
            sentinel.check(findings);
        }
        check_word("storage.redis.user", &self.user, findings);
        if self.prefix.len() > LONGEST_PREFIX {
            findings.report(
                "storage.redis.prefix",
                format!("it has {} bytes", self.prefix.len()),
                format!("use at most {LONGEST_PREFIX}, such as mcp-ultra"),
            );
        }
        check_word("storage.redis.prefix", &self.prefix, findings);
        self.tls.check(findings);
        findings.not_zero("storage.redis.connect_timeout", self.connect_timeout);
        findings.not_zero("storage.redis.command_timeout", self.command_timeout);
    }
}

impl RedisSentinel {
    fn check(&self, findings: &mut Findings) {
        check_word("storage.redis.sentinel.master", &self.master, findings);
        if self.servers.is_empty() {
            findings.report(
                "storage.redis.sentinel.servers",
                "there is none, so nobody can be asked who the master is",
                "name the Sentinels, such as [{host: sentinel-1.example.com}]",
            );
        }
        check_hosts("storage.redis.sentinel.servers", &self.servers, findings);
        if let Some(user) = &self.user {
            check_word("storage.redis.sentinel.user", user, findings);
        }
    }
}

impl RedisTls {
    fn check(&self, findings: &mut Findings) {
        for (key, file) in [
            ("ca_file", &self.ca_file),
            ("certificate", &self.certificate),
            ("key", &self.key),
        ] {
            if file.as_ref().is_some_and(String::is_empty) {
                findings.report(
                    format!("storage.redis.tls.{key}"),
                    "the name of the file is empty",
                    "name a PEM file, or leave the key out",
                );
            }
        }
        let missing = match (&self.certificate, &self.key) {
            (Some(_), None) => "key",
            (None, Some(_)) => "certificate",
            _ => return,
        };
        findings.report(
            format!("storage.redis.tls.{missing}"),
            "it is missing, so no certificate can be shown",
            "name the PEM files of both the certificate and its key",
        );
    }
}

fn check_hosts(path: &str, servers: &[RedisServer], findings: &mut Findings) {
    for (at, server) in servers.iter().enumerate() {
        check_host(&format!("{path}[{at}].host"), &server.host, findings);
    }
}

/// A word as Redis has them for users and masters. In a prefix a brace would move all keys of a
/// cluster to one node.
fn check_word(path: &str, word: &str, findings: &mut Findings) {
    let fits = |byte: u8| byte.is_ascii_graphic() && !b"{}\"'*?[]\\".contains(&byte);
    if word.is_empty() || !word.bytes().all(fits) {
        findings.report(
            path,
            format!("{word:?} can't be used"),
            "use letters, digits and -._: alone",
        );
    }
}
