//! The flags that a command is about: files, or those of a configuration.

use std::path::PathBuf;

use mcp_ultra_config::Config;
use mcp_ultra_domain::flags::{FlagErrors, Flags};

use crate::{
    cli::{config, exit::Failure},
    wiring::flags,
};

/// Which flags.
#[derive(Debug, clap::Args)]
pub(super) struct FlagArgs {
    /// Files of flag definitions (.json), and folders of them [default: `flags.files` of --config]
    #[arg(required_unless_present = "config", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Configuration of the gateway that the flags are for; its secrets are not needed
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl FlagArgs {
    /// The configuration, where one is named.
    pub(super) fn config(&self) -> Result<Option<Config>, Failure> {
        let file = self.config.as_deref();
        file.map(config::without_secrets).transpose()
    }

    /// The flags of the files, else those of the configuration.
    pub(super) fn flags(&self, config: Option<&Config>) -> Result<Flags, FlagErrors> {
        let of_config = config.filter(|_| self.files.is_empty());
        match of_config {
            Some(config) => {
                let files: Vec<PathBuf> = config.flags.files.iter().map(PathBuf::from).collect();
                flags::read(&files)
            }
            None => flags::read(&self.files),
        }
    }
}
