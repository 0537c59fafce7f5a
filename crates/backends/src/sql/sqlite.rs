//! SQLite: one file, for one gateway and the command line beside it.

use std::{fs, io, os::unix::fs::OpenOptionsExt, path::Path, time::Duration};

use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{error::OpenError, migrations};

/// How long a statement waits for another process that is writing.
const BUSY: Duration = Duration::from_secs(5);
/// Between two attempts to open a file that another process is opening.
const PAUSE: Duration = Duration::from_millis(10);
/// Readers beside the one writer that SQLite allows.
const CONNECTIONS: u32 = 4;

/// The database in this file, with the tables of this version.
pub(super) async fn open(path: &Path) -> Result<SqlitePool, OpenError> {
    let file = |source| OpenError::File {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        fs::create_dir_all(folder).map_err(file)?;
    }
    let opened = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(file)?;
    // SQLite's own locks do not keep two processes from making the same tables.
    let _alone = alone(opened).await.map_err(file)?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        // An answer that something was kept is true also after a power cut.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY);
    let pool = SqlitePoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(BUSY)
        .connect_with(options)
        .await
        .map_err(|source| OpenError::Database {
            path: path.to_owned(),
            source,
        })?;
    migrations::sqlite::run(&pool)
        .await
        .map_err(|source| OpenError::Tables {
            path: path.to_owned(),
            source,
        })?;
    Ok(pool)
}

/// The file, with nobody else in this place.
async fn alone(file: fs::File) -> io::Result<fs::File> {
    for _ in 0..BUSY.as_millis() / PAUSE.as_millis() {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) => tokio::time::sleep(PAUSE).await,
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        "another process has been opening it for too long",
    ))
}
