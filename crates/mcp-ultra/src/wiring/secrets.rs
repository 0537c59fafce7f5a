//! From `${secret:NAME}` in a configuration to the values that it is loaded with.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use mcp_ultra_backends::secrets::{OpenError, Refreshed, SecretRow, SecretStore};
use mcp_ultra_config::{
    ConfigError, Loaded, MissingReferences, SecretName, SecretsPlan, SecretsSection, Sources,
};
use mcp_ultra_domain::SystemClock;

use super::watch::{Place, Watch};

/// Why a configuration with secrets can't be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// Something in the configuration, a secret that is missing among it.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The sources of secrets.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// The secrets that a configuration refers to, and where they are read from.
#[derive(Debug)]
pub(crate) struct Secrets {
    store: Arc<SecretStore>,
    names: BTreeSet<SecretName>,
    section: SecretsSection,
}

impl Secrets {
    /// Reads what `sources` refer to.
    ///
    /// # Errors
    /// [`LoadError`]; a secret that can't be read is an error only when the configuration is
    /// loaded.
    pub(crate) async fn open(sources: &Sources) -> Result<Self, LoadError> {
        let SecretsPlan { section, names } = SecretsPlan::of(sources)?;
        let clock = Arc::new(SystemClock);
        let read = sources.missing == MissingReferences::Refuse;
        // Where nothing is read, the authority of a Vault need not be on this machine.
        let places = if read {
            section.clone()
        } else {
            SecretsSection::default()
        };
        let store = SecretStore::new(&places, &sources.environment, clock)?;
        let secrets = Self {
            store: Arc::new(store),
            names,
            section,
        };
        if read {
            secrets.refresh().await;
        }
        Ok(secrets)
    }

    /// The configuration with the values that were read last.
    pub(crate) fn load(&self, sources: &Sources) -> Result<Loaded, ConfigError> {
        mcp_ultra_config::load(&Sources {
            secrets: self.store.values(),
            ..sources.clone()
        })
    }

    /// Reads the secrets of `sources`, which may refer to others than before, and loads them.
    pub(crate) async fn load_again(&mut self, sources: &Sources) -> Result<Loaded, ConfigError> {
        self.names = SecretsPlan::of(sources)?.names;
        self.refresh().await;
        self.load(sources)
    }

    /// Reads the secrets of `sources` besides those that are in use, which stay. Whether one of these
    /// has another value, which is to be taken over.
    pub(super) async fn read_besides(&self, sources: &Sources) -> Result<bool, ConfigError> {
        let mut names = SecretsPlan::of(sources)?.names;
        names.extend(self.names.iter().cloned());
        // What can't be read is said to whoever has asked.
        let changed = self.store.refresh(&names).await.changed;
        Ok(changed.iter().any(|name| self.names.contains(name)))
    }

    /// Reads all secrets again, and says in the log what could not be read.
    pub(crate) async fn refresh(&self) -> Refreshed {
        let refreshed = self.store.refresh(&self.names).await;
        for trouble in &refreshed.troubles {
            let (secret, why) = (&trouble.name, &trouble.why);
            if trouble.has_value {
                tracing::warn!(%secret, why, "a secret can't be read: its last value stays in use");
            } else {
                tracing::error!(%secret, why, "a secret can't be read");
            }
        }
        for secret in &refreshed.recovered {
            tracing::info!(%secret, "a secret can be read again");
        }
        refreshed
    }

    /// Watches the files that secrets of the folder are in, below it too.
    pub(super) fn watch(&self) -> Watch {
        let folder = self.section.folder.iter().map(Path::new);
        let places = folder.flat_map(|folder| {
            let below = self.names.iter().filter(|name| name.key().is_some());
            let below = below.map(|name| folder.join(name.path()));
            std::iter::once(folder.to_owned())
                .chain(below)
                .filter(|folder| folder.is_dir())
                .map(|folder| Place::of_files(&folder, |_| true))
        });
        Watch::new("secrets", places.collect())
    }

    /// Where they are configured to be.
    pub(crate) fn section(&self) -> &SecretsSection {
        &self.section
    }

    /// Whether there is something to read again.
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// What may be shown of each.
    pub(crate) fn rows(&self) -> Vec<SecretRow> {
        self.store.rows()
    }

    /// What metrics are made of.
    pub(super) fn store(&self) -> Arc<SecretStore> {
        self.store.clone()
    }
}

/// Loads the configuration of `sources` with its secrets.
///
/// # Errors
/// [`LoadError`]
pub(crate) async fn load(sources: &Sources) -> Result<(Loaded, Secrets), LoadError> {
    let secrets = Secrets::open(sources).await?;
    Ok((secrets.load(sources)?, secrets))
}
