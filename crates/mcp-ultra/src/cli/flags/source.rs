//! The flags that a command is about: files, or those of a configuration.

use std::{path::PathBuf, sync::Arc};

use mcp_ultra_config::Config;
use mcp_ultra_domain::flags::{FlagErrors, Flags};

use crate::{
    cli::{configured::ConfiguredArgs, exit::Failure},
    wiring::flags,
};

/// Which flags.
#[derive(Debug, clap::Args)]
pub(super) struct FlagArgs {
    /// Files of flag definitions (.json), and folders of them [default: `flags.files` of --config]
    #[arg(required_unless_present = "config", value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    configured: ConfiguredArgs,
}

/// What they say.
pub(super) struct Read {
    /// The configuration, where one is named.
    pub(super) config: Option<Config>,
    /// The flags of the files, else those of the configuration.
    pub(super) flags: Result<Arc<Flags>, FlagErrors>,
}

impl FlagArgs {
    /// Reads them.
    pub(super) async fn read(&self) -> Result<Read, Failure> {
        let configured = self.configured.read().await?;
        let of_config = configured.as_ref().filter(|_| self.files.is_empty());
        let of_config = of_config.map(|all| flags::flags(&all.config.flags, &all.registry));
        let flags = match of_config.transpose() {
            Ok(Some(Some(flags))) => Ok(flags),
            // Without any in the configuration there are no files either.
            Ok(_) => flags::read(&self.files).map(Arc::new),
            Err(errors) => Err(errors),
        };
        let config = configured.map(|configured| configured.config);
        Ok(Read { config, flags })
    }
}
