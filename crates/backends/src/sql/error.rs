//! Why a database can't be used, and why a statement failed: the one place that looks into the
//! errors of the engines.

use std::{io, path::PathBuf, time::Duration};

use mcp_ultra_domain::ports::{
    BlockStoreError, GrantStoreError, IdempotencyError, KeyStoreError, PinStoreError,
    RegistryStoreError,
};
use sqlx::error::{BoxDynError, ErrorKind};

use crate::tls_files::Unreadable;

/// Why a database can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file can't be made or read.
    #[error("the database {} can't be opened: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no database, or is damaged, or locked.
    #[error("the database {} can't be used: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: sqlx::Error,
    },
    /// Its tables are not what this version of the program makes: most likely of a newer one.
    #[error("the tables of the database {} can't be brought to this version: {source}", path.display())]
    Tables {
        /// The file.
        path: PathBuf,
        /// Which migration, and why.
        source: sqlx::migrate::MigrateError,
    },
    /// The server can't be reached, is not the one that it should be, or refuses the user.
    #[error("the database {at} can't be used: {source}")]
    Server {
        /// `host:port/database`.
        at: String,
        /// What went wrong.
        source: sqlx::Error,
    },
    /// A file of `storage.postgres.tls`.
    #[error("storage.postgres.tls.{key}: {} can't be read: {source}", path.display())]
    Certificates {
        /// Its key in the section.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The server did not answer.
    #[error("the database {at} did not answer within {} ms", within.as_millis())]
    Silent {
        /// `host:port/database`.
        at: String,
        /// How long was waited.
        within: Duration,
    },
    /// The server is older than what is supported.
    #[error("the database {at} is PostgreSQL {found}; 15 or later is needed")]
    TooOld {
        /// `host:port/database`.
        at: String,
        /// What the server says that it is.
        found: String,
    },
    /// Migrations are missing.
    #[error(
        "the tables of the database {at} lack the migrations {missing}, which this version needs: run `mcp-ultra migrate` first"
    )]
    Behind {
        /// `host:port/database`.
        at: String,
        /// Their numbers.
        missing: String,
    },
    /// The tables have gone on, and no longer serve this version.
    #[error(
        "the tables of the database {at} are for versions that know migration {needs}, and this one does not: run a newer version"
    )]
    Ahead {
        /// `host:port/database`.
        at: String,
        /// The migration that must be known.
        needs: i64,
    },
    /// Row-level security does not hold for the gateway's user.
    #[error(
        "the database {at} keeps nothing from the user `{user}`, who {why}: the gateway needs a user of its own, which row-level security holds for"
    )]
    Privileged {
        /// `host:port/database`.
        at: String,
        /// The user that was logged in as.
        user: String,
        /// Why nothing is kept from it.
        why: &'static str,
    },
    /// Migrations can't run.
    #[error("the tables of the database {at} can't be brought to this version: {source}")]
    Migration {
        /// `host:port/database`.
        at: String,
        /// Which migration, and why.
        source: sqlx::migrate::MigrateError,
    },
    /// There is nobody whom the tables could be opened to.
    #[error(
        "the database {at} has no role `{role}` for the gateway: make it with CREATE ROLE {role} LOGIN PASSWORD '…'"
    )]
    NoRole {
        /// `host:port/database`.
        at: String,
        /// The role that is configured.
        role: String,
    },
}

impl From<Unreadable> for OpenError {
    fn from(Unreadable { key, path, source }: Unreadable) -> Self {
        Self::Certificates { key, path, source }
    }
}

impl OpenError {
    /// Whether it may be otherwise in a while, with nothing done here: the server can't be reached, is
    /// starting or stopping, or has no connection left.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Silent { .. } => true,
            Self::Server { source, .. } => match source {
                // What TLS refuses, a certificate above all, comes as invalid data.
                sqlx::Error::Io(error) => error.kind() != io::ErrorKind::InvalidData,
                sqlx::Error::PoolTimedOut => true,
                // Classes 08 (connection exception), 53 (no connection is left, for example) and 57P
                // (the server is not open to anybody).
                sqlx::Error::Database(of) => of
                    .code()
                    .is_some_and(|code| ["08", "53", "57P"].iter().any(|of| code.starts_with(of))),
                _ => false,
            },
            _ => false,
        }
    }
}

/// Why a statement failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SqlError {
    /// Something with this key is there already.
    #[error("something of that name is there already")]
    Taken,
    /// A column holds what this version has not written.
    #[error("the column {0} holds a value that this version does not know")]
    Column(&'static str),
    /// No connection could be had.
    #[error(
        "no connection to the database could be had in time: it can't be reached, or all connections are in use"
    )]
    NoConnection,
    /// Most transactions before this one could not be begun.
    #[error("the database has failed again and again, and is not asked for a moment")]
    LeftAlone,
    /// The server went silent in the middle.
    #[error("the database did not answer within {} ms", .0.as_millis())]
    Silent(Duration),
    /// The transaction has ended with an error before.
    #[error("the transaction has failed already")]
    Over,
    /// Anything else. Values of parameters are not in it.
    #[error("{0}")]
    Failed(String),
}

impl SqlError {
    /// A parameter can't be sent.
    #[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
    pub(super) fn unbound(error: BoxDynError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<sqlx::Error> for SqlError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(of) if matches!(of.kind(), ErrorKind::UniqueViolation) => {
                Self::Taken
            }
            sqlx::Error::PoolTimedOut => Self::NoConnection,
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<SqlError> for KeyStoreError {
    fn from(error: SqlError) -> Self {
        match error {
            SqlError::Taken => Self::Exists,
            error => Self::Failed(error.to_string()),
        }
    }
}

impl From<SqlError> for GrantStoreError {
    fn from(error: SqlError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<SqlError> for PinStoreError {
    fn from(error: SqlError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<SqlError> for RegistryStoreError {
    fn from(error: SqlError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<SqlError> for BlockStoreError {
    fn from(error: SqlError) -> Self {
        Self(error.to_string())
    }
}

impl From<SqlError> for IdempotencyError {
    fn from(error: SqlError) -> Self {
        Self(error.to_string())
    }
}
