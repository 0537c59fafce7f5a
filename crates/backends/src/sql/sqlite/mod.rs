//! SQLite: one file, for one gateway and the command line beside it.
//!
//! [`Sqlite`] is the way in. Each port that it implements has a file of its own.

mod api_keys;
mod blocks;
mod grants;
mod idempotency;
mod migrations;
mod tool_pins;

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

/// How long a statement waits for another process that is writing.
const BUSY: Duration = Duration::from_secs(5);
/// Between two attempts to open a file that another process is opening.
const PAUSE: Duration = Duration::from_millis(10);
/// Readers beside the one writer that SQLite allows.
const CONNECTIONS: u32 = 4;

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
}

/// A database in a file. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Sqlite {
    pool: SqlitePool,
}

impl Sqlite {
    /// Opens the database, makes it where there is none (for its owner alone), and brings its
    /// tables to this version.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
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
        migrations::run(&pool)
            .await
            .map_err(|source| OpenError::Tables {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self { pool })
    }

    /// Finishes what is being written, and closes the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }
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
