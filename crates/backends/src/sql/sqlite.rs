//! SQLite: one file, for one gateway and the command line beside it.

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

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
    // SQLite's own locks do not keep two processes from making the same tables.
    let _alone = alone(path).await?;
    make(path).map_err(file)?;
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

/// Makes the file where there is none. One that is there is not opened, since it would be closed again:
/// that ends the locks that SQLite has on it in this process, and others would remove its log under it.
fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !path.try_exists()? {
        let options = &mut fs::OpenOptions::new();
        let owners = options.append(true).create(true).mode(0o600);
        owners.open(path)?;
    }
    Ok(())
}

/// Nobody else is in this place until what is returned is dropped. It is a file beside the other one.
async fn alone(path: &Path) -> Result<fs::File, OpenError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push("-lock");
    let path = PathBuf::from(beside);
    let options = &mut fs::OpenOptions::new();
    let opened = options.append(true).create(true).mode(0o600).open(&path);
    let locked = match opened {
        Ok(file) => locked(file).await,
        Err(error) => Err(error),
    };
    locked.map_err(|source| OpenError::File { path, source })
}

async fn locked(file: fs::File) -> io::Result<fs::File> {
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
