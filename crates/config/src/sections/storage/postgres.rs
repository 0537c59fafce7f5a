//! A PostgreSQL server: where it is, who the gateway is there, and how long it may take.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::nonzero;
use crate::{period::Period, text::Secret, validate::Findings};

/// The longest name of a user or a database.
const LONGEST_NAME: usize = 63;

/// A PostgreSQL server of version 15 or later, or a PgBouncer in front of it in transaction mode.
/// Connections are encrypted, and the server's certificate and name are verified; there is no way
/// around it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresSettings {
    /// The name of the server, which its certificate is for, or its address.
    pub host: String,
    /// Its port.
    #[serde(default = "port")]
    pub port: u16,
    /// The database.
    #[serde(default = "name")]
    pub database: String,
    /// The gateway's user. It needs to be its own, without privileges: row-level security keeps
    /// tenants apart, and holds for those alone who own nothing.
    #[serde(default = "name")]
    pub user: String,
    /// Its password; none where a client certificate takes its place.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Whom to believe, and who the gateway shows itself as.
    #[serde(default)]
    pub tls: PostgresTls,
    /// The connections that are kept open.
    #[serde(default)]
    pub pool: PostgresPool,
    /// How long one statement may take, waiting for others included.
    #[serde(default = "statement")]
    pub statement_timeout: Period,
    /// A replica that may be a little behind, for the lists that administrators read. User,
    /// database and certificates are the same. While it is away the server itself is asked.
    #[serde(default)]
    pub replica: Option<PostgresServer>,
    /// Whom `mcp-ultra migrate` connects as. The gateway itself does not need it.
    #[serde(default)]
    pub migrate: Option<PostgresOwner>,
}

/// A server by its name and port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresServer {
    /// The name of the server, which its certificate is for, or its address.
    pub host: String,
    /// Its port.
    #[serde(default = "port")]
    pub port: u16,
}

/// Certificates for connections to the database. The files are PEM, and are read with each new
/// connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PostgresTls {
    /// The file of certificate authorities to trust, besides the public ones.
    pub ca_file: Option<String>,
    /// The file of the gateway's certificate, where the server asks for one.
    pub certificate: Option<String>,
    /// The file of its private key.
    pub key: Option<String>,
}

/// How many connections there are. Each costs the server a process, unless a PgBouncer is in
/// between; more than twice its cores, for all gateways together, make it slower.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PostgresPool {
    /// At most.
    pub max: NonZeroU32,
    /// At least, also when nothing is asked.
    pub min: u32,
    /// How long is waited for one.
    pub acquire_timeout: Period,
}

impl Default for PostgresPool {
    fn default() -> Self {
        Self {
            max: nonzero(5),
            min: 1,
            acquire_timeout: Period::from_secs(5),
        }
    }
}

/// The owner of the tables. It connects to the server itself, not through a PgBouncer: what keeps
/// two migrations apart is held by a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresOwner {
    /// The name of the server, where it is another one than the gateway connects to.
    #[serde(default)]
    pub host: Option<String>,
    /// Its port.
    #[serde(default)]
    pub port: Option<u16>,
    /// The user that owns the database.
    pub user: String,
    /// Its password; none where the client certificate takes its place.
    #[serde(default)]
    pub password: Option<Secret>,
}

const fn port() -> u16 {
    5432
}

fn name() -> String {
    "mcp_ultra".to_owned()
}

const fn statement() -> Period {
    Period::from_secs(5)
}

impl PostgresSettings {
    /// A server by its name, and all else as it is when left out.
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port: port(),
            database: name(),
            user: name(),
            password: None,
            tls: PostgresTls::default(),
            pool: PostgresPool::default(),
            statement_timeout: statement(),
            replica: None,
            migrate: None,
        }
    }

    pub(super) fn check(&self, findings: &mut Findings) {
        check_host("storage.postgres.host", &self.host, findings);
        check_name("storage.postgres.database", &self.database, findings);
        check_name("storage.postgres.user", &self.user, findings);
        if let Some(replica) = &self.replica {
            check_host("storage.postgres.replica.host", &replica.host, findings);
        }
        if let Some(migrate) = &self.migrate {
            migrate.check(&self.user, findings);
        }
        self.tls.check(findings);
        findings.not_zero("storage.postgres.statement_timeout", self.statement_timeout);
        findings.not_zero(
            "storage.postgres.pool.acquire_timeout",
            self.pool.acquire_timeout,
        );
        if self.pool.min > self.pool.max.get() {
            findings.report(
                "storage.postgres.pool.min",
                format!(
                    "{} is more than max, which is {}",
                    self.pool.min, self.pool.max
                ),
                "raise storage.postgres.pool.max, or lower this",
            );
        }
    }
}

impl PostgresOwner {
    fn check(&self, gateway: &str, findings: &mut Findings) {
        check_name("storage.postgres.migrate.user", &self.user, findings);
        if self.user == gateway {
            findings.report(
                "storage.postgres.migrate.user",
                "the gateway's own user would own the tables, and nothing be kept from it",
                "make two users: one that owns the database, and one without privileges for the gateway",
            );
        }
        if let Some(host) = &self.host {
            check_host("storage.postgres.migrate.host", host, findings);
        }
    }
}

impl PostgresTls {
    fn check(&self, findings: &mut Findings) {
        for (key, file) in [
            ("ca_file", &self.ca_file),
            ("certificate", &self.certificate),
            ("key", &self.key),
        ] {
            findings.file(&format!("storage.postgres.tls.{key}"), file.as_deref());
        }
        let missing = match (&self.certificate, &self.key) {
            (Some(_), None) => "key",
            (None, Some(_)) => "certificate",
            _ => return,
        };
        findings.report(
            format!("storage.postgres.tls.{missing}"),
            "it is missing, so no certificate can be shown",
            "name the PEM files of both the certificate and its key",
        );
    }
}

/// A name or an address. A folder, which stands for a Unix socket, has no certificate.
pub(super) fn check_host(path: &str, host: &str, findings: &mut Findings) {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let is_name = !host.is_empty() && host.bytes().all(fits);
    if !is_name && host.parse::<std::net::Ipv6Addr>().is_err() {
        findings.report(
            path,
            format!("`{host}` is no name of a server and no address"),
            "use what its certificate is for, such as db.example.com; the port, the user and the database have keys of their own",
        );
    }
}

fn check_name(path: &str, name: &str, findings: &mut Findings) {
    if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
        findings.report(
            path,
            format!("{name:?} can't be a name in PostgreSQL"),
            format!("use 1 to {LONGEST_NAME} bytes, such as mcp_ultra"),
        );
    }
}
