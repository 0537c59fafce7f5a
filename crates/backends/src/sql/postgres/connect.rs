//! How a connection is made: where to, as whom, and that it is encrypted to the right one.

use std::{fmt, time::Duration};

use mcp_ultra_config::{PostgresSettings, PostgresTls, Secret};
use sqlx::{
    PgConnection, Row,
    postgres::{PgConnectOptions, PgSslMode},
};

use crate::{sql::error::OpenError, tls_files};

/// The oldest version that is supported, as the server numbers them.
const OLDEST: i32 = 150_000;
const VERSION: &str = "SELECT current_setting('server_version_num')::int4 AS number, \
    current_setting('server_version') AS name";

/// A database, for messages: `host:port/database`, and how long it may take to answer.
pub(in crate::sql) struct At {
    host: String,
    port: u16,
    database: String,
    patience: Duration,
}

impl At {
    /// Where the gateway connects to.
    pub(super) fn primary(settings: &PostgresSettings) -> Self {
        Self::new(settings, &settings.host, settings.port)
    }

    /// Where the owner of the tables connects to.
    pub(in crate::sql) fn owner(settings: &PostgresSettings) -> Self {
        let (host, port) = owner_address(settings);
        Self::new(settings, host, port)
    }

    fn new(settings: &PostgresSettings, host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            database: settings.database.clone(),
            patience: settings.pool.acquire_timeout.get(),
        }
    }

    /// What `work` makes, unless the server is silent for too long.
    pub(in crate::sql) async fn within<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, OpenError>
    where
        OpenError: FromFailure<E>,
    {
        match tokio::time::timeout(self.patience, work).await {
            Ok(done) => done.map_err(|error| OpenError::from_failure(self, error)),
            Err(_) => Err(OpenError::Silent {
                at: self.to_string(),
                within: self.patience,
            }),
        }
    }

    /// For `map_err`.
    pub(in crate::sql) fn failed(&self) -> impl FnOnce(sqlx::Error) -> OpenError {
        |source| OpenError::from_failure(self, source)
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.host, self.port, self.database)
    }
}

/// What becomes an [`OpenError`] with the place where it happened.
pub(in crate::sql) trait FromFailure<E> {
    fn from_failure(at: &At, error: E) -> Self;
}

impl FromFailure<sqlx::Error> for OpenError {
    fn from_failure(at: &At, source: sqlx::Error) -> Self {
        Self::Server {
            at: at.to_string(),
            source,
        }
    }
}

impl FromFailure<Self> for OpenError {
    fn from_failure(_: &At, error: Self) -> Self {
        error
    }
}

/// As the gateway's user.
pub(super) fn options(settings: &PostgresSettings, host: &str, port: u16) -> PgConnectOptions {
    let user = (&*settings.user, settings.password.as_ref());
    options_as(settings, host, port, user)
}

/// As the owner of the tables. Where none is configured, whoever asks is told by the server what the
/// gateway's user may not.
pub(in crate::sql) fn owner_options(settings: &PostgresSettings) -> PgConnectOptions {
    let (host, port) = owner_address(settings);
    let user = settings
        .migrate
        .as_ref()
        .map_or((&*settings.user, settings.password.as_ref()), |owner| {
            (&*owner.user, owner.password.as_ref())
        });
    options_as(settings, host, port, user)
}

fn owner_address(settings: &PostgresSettings) -> (&str, u16) {
    let owner = settings.migrate.as_ref();
    let host = owner.and_then(|owner| owner.host.as_deref());
    let port = owner.and_then(|owner| owner.port);
    (
        host.unwrap_or(&settings.host),
        port.unwrap_or(settings.port),
    )
}

fn options_as(
    settings: &PostgresSettings,
    host: &str,
    port: u16,
    (user, password): (&str, Option<&Secret>),
) -> PgConnectOptions {
    let options = PgConnectOptions::new_without_pgpass()
        .host(host)
        .port(port)
        .database(&settings.database)
        .username(user)
        // What is in the environment for `psql` is not meant for this program.
        .password(password.map_or("", Secret::expose))
        .ssl_mode(PgSslMode::VerifyFull)
        .application_name("mcp-ultra")
        // PgBouncer refuses parameters that it does not know, and before 1.21 knows no prepared
        // statements in transaction mode.
        .extra_float_digits(None)
        .statement_cache_capacity(0);
    let tls = &settings.tls;
    let options = match &tls.ca_file {
        Some(file) => options.ssl_root_cert(file),
        None => options,
    };
    match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => options.ssl_client_cert(certificate).ssl_client_key(key),
        _ => options,
    }
}

/// Whether all files can be read.
pub(in crate::sql) fn check_files(tls: &PostgresTls) -> Result<(), OpenError> {
    Ok(tls_files::check(
        tls.ca_file.as_ref(),
        tls.certificate.as_ref(),
        tls.key.as_ref(),
    )?)
}

/// Refuses a server that is too old.
pub(in crate::sql) async fn check_version(
    connection: &mut PgConnection,
    at: &At,
) -> Result<(), OpenError> {
    let row = sqlx::query(VERSION).persistent(false).fetch_one(connection);
    let row = row.await.map_err(at.failed())?;
    let number: i32 = row.try_get("number").map_err(at.failed())?;
    if number >= OLDEST {
        return Ok(());
    }
    Err(OpenError::TooOld {
        at: at.to_string(),
        found: row.try_get("name").map_err(at.failed())?,
    })
}
