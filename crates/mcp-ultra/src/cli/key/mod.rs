//! `mcp-ultra key`: API keys, through the admin API of a running gateway (`--admin`), or on the
//! machine where they are kept.
//!
//! Without `--admin` the commands open the store of the configuration (`storage`)
//! themselves, so the first key can be made before there is anybody who could log in. Gateways that run
//! see such changes at once where they share a NATS (`messaging`), else within `auth.api_keys.recheck`.

mod create;
mod list;
mod remote;
mod revoke;
mod rotate;
mod show;

use std::{sync::Arc, time::Duration};

use mcp_ultra_control::{
    keys::{KeyError, KeyView, Keys, NewKey, Shown},
    time::timestamp,
};
use mcp_ultra_domain::{Announcement, DEFAULT_TENANT, SystemClock};
use secrecy::SecretString;
use serde_json::json;

use self::remote::Remote;
use super::{
    admin::StoreArgs,
    exit::{CommandResult, Failure},
    store::Store,
};
use crate::wiring::storage::StorageError;

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
    #[command(flatten)]
    place: StoreArgs,
    /// Whose keys [default: `default` in a store, the caller's tenant through the admin API]
    #[arg(long)]
    tenant: Option<String>,
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
        "set storage.sqlite or storage.postgres, and auth.api_keys.enabled, and name the file with --config"
    ))]
    NoStore,
    /// The store can't be opened.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Open(#[from] StorageError),
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

/// A key with its secret.
struct Made {
    key: KeyView,
    token: SecretString,
}

/// Where keys are made, changed and ended.
enum Desk {
    Store(Kept),
    Remote(Remote),
}

/// The keys of a tenant in the store of a configuration.
struct Kept {
    keys: Keys,
    store: Store,
    tenant: String,
}

impl Common {
    async fn open(&self) -> Result<Desk, Failure> {
        if let Some(api) = self.place.remote(self.tenant.as_deref())? {
            return Ok(Desk::Remote(Remote(api)));
        }
        let (config, _) = self.place.load().await?;
        let opened = Store::open(&config).await.map_err(KeysError::Open)?;
        let store = opened.ok_or(KeysError::NoStore)?;
        let changes = store.changes.clone();
        let keys = Keys::new(
            Arc::new(store.database.clone()),
            Arc::new(SystemClock),
            Arc::new(move |id: &str| changes.add(Announcement::KeyChanged { id: id.to_owned() })),
        );
        let tenant = self.tenant.clone();
        Ok(Desk::Store(Kept {
            keys,
            store,
            tenant: tenant.unwrap_or_else(|| DEFAULT_TENANT.to_owned()),
        }))
    }
}

impl Desk {
    fn tenant(&self) -> &str {
        match self {
            Self::Store(kept) => &kept.tenant,
            Self::Remote(remote) => remote.tenant(),
        }
    }

    async fn create(&self, new: NewKey) -> Result<Made, Failure> {
        match self {
            Self::Store(kept) => {
                let new = NewKey {
                    tenant: kept.tenant.clone(),
                    ..new
                };
                let made = kept.keys.create(kept.keys.new_id()?, new).await?;
                Ok(made.into())
            }
            Self::Remote(remote) => {
                let expires = new.expires.map(timestamp);
                let body = json!({
                    "name": new.name, "kind": new.kind.as_str(), "roles": new.roles,
                    "scopes": new.scopes, "expires": expires,
                });
                remote.create(&body).await
            }
        }
    }

    /// All keys of the tenant.
    async fn all(&self) -> Result<Vec<KeyView>, Failure> {
        match self {
            Self::Store(kept) => {
                let all = kept.keys.all(&kept.tenant).await?;
                Ok(all.iter().map(show::view).collect())
            }
            Self::Remote(remote) => remote.all().await,
        }
    }

    /// The identifier of the key with this name or identifier.
    async fn find(&self, name: &str) -> Result<String, Failure> {
        let all = self.all().await?;
        let mut all = all.into_iter();
        let found = all.find(|key| key.id == name || key.name == name);
        found.map(|key| key.id).ok_or_else(|| {
            let (name, tenant) = (name.to_owned(), self.tenant().to_owned());
            KeysError::Unknown { name, tenant }.into()
        })
    }

    async fn rotate(&self, id: &str, overlap: Duration) -> Result<Made, Failure> {
        match self {
            Self::Store(kept) => {
                let key = kept.keys.get(&kept.tenant, id).await?;
                Ok(kept.keys.rotate(key, overlap).await?.into())
            }
            Self::Remote(remote) => {
                let body = json!({ "overlap_seconds": overlap.as_secs() });
                remote.rotate(id, &body).await
            }
        }
    }

    async fn revoke(&self, id: &str) -> Result<KeyView, Failure> {
        match self {
            Self::Store(kept) => {
                let key = kept.keys.get(&kept.tenant, id).await?;
                Ok(show::view(&kept.keys.revoke(key).await?))
            }
            Self::Remote(remote) => remote.revoke(id).await,
        }
    }

    /// Whether gateways that run know already what was changed.
    async fn close(self) -> bool {
        match self {
            Self::Store(kept) => kept.store.close().await,
            Self::Remote(_) => true,
        }
    }
}

impl From<Shown> for Made {
    fn from(shown: Shown) -> Self {
        Self {
            key: show::view(&shown.key),
            token: shown.token,
        }
    }
}
