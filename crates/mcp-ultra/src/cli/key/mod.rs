//! `mcp-ultra key`: API keys, on the machine where the gateway keeps them.
//!
//! The commands open the store of the configuration (`storage.sqlite`) themselves, so the first
//! key can be made before there is anybody who could log in. A running gateway sees changes within
//! `auth.api_keys.recheck`.

mod create;
mod list;
mod revoke;
mod rotate;
mod show;

use std::{path::PathBuf, sync::Arc};

use mcp_ultra_backends::sql::{OpenError, Sqlite};
use mcp_ultra_config::Sources;
use mcp_ultra_control::keys::{KeyError, Keys};
use mcp_ultra_domain::{ApiKey, DEFAULT_TENANT, SystemClock};

use super::{
    config,
    exit::{CommandResult, Failure},
};
use crate::wiring::secrets;

/// The commands under `key`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make an API key and print it; it is shown this once
    Create(create::Args),
    /// List the API keys of a tenant
    List(list::Args),
    /// Give an API key a new secret and print it; the one before stays valid for a while
    Rotate(rotate::Args),
    /// End an API key at once and for good
    Revoke(revoke::Args),
}

/// Which keys.
#[derive(Debug, clap::Args)]
struct Common {
    /// Configuration file [default: the one that `MCP_ULTRA_CONFIG` names, else none]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Whose keys
    #[arg(long, default_value = DEFAULT_TENANT)]
    tenant: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Keys can't be reached.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
enum KeysError {
    /// No store is configured.
    #[error("the configuration names no place where API keys are kept")]
    #[diagnostic(help(
        "set storage.sqlite and auth.api_keys.enabled, and name the file with --config"
    ))]
    NoStore,
    /// The store can't be opened.
    #[error(transparent)]
    #[diagnostic(help("check storage.sqlite, and whether this user may write to that file"))]
    Open(#[from] OpenError),
    /// No key has this name or identifier.
    #[error("the tenant `{tenant}` has no API key `{name}`")]
    #[diagnostic(help("`mcp-ultra key list --tenant {tenant}` lists them"))]
    Unknown {
        /// What was looked for.
        name: String,
        /// Where.
        tenant: String,
    },
    /// A rule was broken, or the store failed.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl From<KeysError> for Failure {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::NoStore | KeysError::Key(KeyError::Invalid(_)) => Self::usage(error),
            error => Self::failed(error),
        }
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        KeysError::from(error).into()
    }
}

/// Runs one of them.
pub(crate) async fn run(command: Command) -> CommandResult {
    match command {
        Command::Create(args) => create::run(args).await,
        Command::List(args) => list::run(args).await,
        Command::Rotate(args) => rotate::run(args).await,
        Command::Revoke(args) => revoke::run(args).await,
    }
}

/// The store of a configuration, open.
struct Desk {
    keys: Keys,
    store: Sqlite,
    tenant: String,
}

impl Common {
    async fn open(&self) -> Result<Desk, Failure> {
        let sources = Sources::from_process(self.config.as_deref())
            .map_err(|error| config::failure(&error))?;
        let (loaded, _) = secrets::load(&sources)
            .await
            .map_err(config::load_failure)?;
        let path = loaded.config.storage.sqlite.map(PathBuf::from);
        let path = path.ok_or(KeysError::NoStore)?;
        let store = Sqlite::open(&path).await.map_err(KeysError::Open)?;
        let keys = Keys::new(
            Arc::new(store.clone()),
            Arc::new(SystemClock),
            Arc::new(|_| ()),
        );
        Ok(Desk {
            keys,
            store,
            tenant: self.tenant.clone(),
        })
    }
}

impl Desk {
    /// All keys of the tenant.
    async fn all(&self) -> Result<Vec<ApiKey>, Failure> {
        Ok(self.keys.all(&self.tenant).await?)
    }

    /// The key with this name or identifier.
    async fn find(&self, name: &str) -> Result<ApiKey, Failure> {
        let all = self.all().await?;
        let found = all
            .into_iter()
            .find(|key| key.id == name || key.name == name);
        found.ok_or_else(|| {
            let (name, tenant) = (name.to_owned(), self.tenant.clone());
            KeysError::Unknown { name, tenant }.into()
        })
    }

    async fn close(self) {
        self.store.close().await;
    }
}
