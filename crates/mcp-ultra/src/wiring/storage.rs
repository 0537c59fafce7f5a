//! The database that a configuration names, for the gateway and for the commands that work without
//! one.

use std::path::Path;

use mcp_ultra_backends::sql::{Database, OpenError};
use mcp_ultra_config::StorageSection;

/// The database can't be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum StorageError {
    /// The file.
    #[error(transparent)]
    #[diagnostic(help(
        "check storage.sqlite, and whether this user may write to that file and its folder"
    ))]
    File(OpenError),
    /// The server.
    #[error(transparent)]
    #[diagnostic(help(
        "check storage.postgres: host and port, tls.ca_file (the certificate must be for that host), user and password"
    ))]
    Server(OpenError),
    /// What the server has is not what the gateway needs.
    #[error(transparent)]
    #[diagnostic(help("docs/runbooks/postgres.md says how the database is set up and upgraded"))]
    Unfit(OpenError),
}

impl StorageError {
    /// Whether it may be otherwise in a while, with nothing done here.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::File(error) | Self::Server(error) | Self::Unfit(error) => error.may_pass(),
        }
    }

    /// Of a server.
    pub(crate) fn of_server(error: OpenError) -> Self {
        match error {
            error @ (OpenError::Server { .. }
            | OpenError::Silent { .. }
            | OpenError::Certificates { .. }) => Self::Server(error),
            error => Self::Unfit(error),
        }
    }
}

/// Opens it; `None` where none is named.
pub(crate) async fn open(section: &StorageSection) -> Result<Option<Database>, StorageError> {
    if let Some(settings) = &section.postgres {
        let database = Database::connect_postgres(settings).await;
        return database.map(Some).map_err(StorageError::of_server);
    }
    let Some(path) = &section.sqlite else {
        return Ok(None);
    };
    let database = Database::open_sqlite(Path::new(path)).await;
    database.map(Some).map_err(StorageError::File)
}
