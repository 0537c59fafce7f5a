//! `--config` and `--registry` of commands about files that a gateway reads besides its configuration:
//! its policies, its flags.

use std::path::{Path, PathBuf};

use mcp_ultra_config::{Config, Sources};
use mcp_ultra_domain::registry::Registry;

use super::{config, exit::Failure};
use crate::wiring::{registry, secrets};

/// The gateway that something is for.
#[derive(Debug, clap::Args)]
pub(super) struct ConfiguredArgs {
    /// Configuration of the gateway that they are for; its secrets are not needed, but with --registry
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Take what the registry has besides, from the store that --config names
    #[arg(long, requires = "config", conflicts_with = "files")]
    registry: bool,
}

/// What it has.
pub(super) struct Configured {
    pub(super) config: Config,
    /// Empty where it was not asked for.
    pub(super) registry: Registry,
}

impl ConfiguredArgs {
    /// Reads it, where one is named.
    pub(super) async fn read(&self) -> Result<Option<Configured>, Failure> {
        let Some(file) = self.config.as_deref() else {
            return Ok(None);
        };
        if self.registry {
            return with_registry(file).await.map(Some);
        }
        let config = config::without_secrets(file)?;
        let registry = Registry::default();
        Ok(Some(Configured { config, registry }))
    }
}

async fn with_registry(file: &Path) -> Result<Configured, Failure> {
    let sources = Sources::from_process(Some(file)).map_err(|error| config::failure(&error))?;
    let loaded = secrets::load(&sources)
        .await
        .map_err(config::load_failure)?;
    let config = loaded.0.config;
    let registry = registry::of_store(&config).await.map_err(Failure::failed)?;
    Ok(Configured { config, registry })
}
