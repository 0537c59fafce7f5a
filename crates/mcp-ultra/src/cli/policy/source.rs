//! The policies that a command is about: files, or those of a configuration.

use std::{path::PathBuf, sync::Arc};

use mcp_ultra_config::Config;
use mcp_ultra_domain::{
    flags::Flags,
    policy::{Policies, PolicyErrors},
};

use super::compile;
use crate::{
    cli::{config, exit::Failure, flags},
    wiring,
};

/// Which policies.
#[derive(Debug, clap::Args)]
pub(super) struct PolicyArgs {
    /// Files of policies (.cedar) and of the types of arguments (.cedarschema), and folders of them
    /// [default: `policy.files` of --config]
    #[arg(required_unless_present = "config", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Configuration of the gateway that the policies are for; its secrets are not needed
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Files of flag definitions, and folders of them, which the policies may read; may be repeated
    /// [default: `flags.files` of --config]
    #[arg(long, value_name = "FILE")]
    flags: Vec<PathBuf>,
}

impl PolicyArgs {
    /// The configuration, where one is named.
    pub(super) fn config(&self) -> Result<Option<Config>, Failure> {
        let file = self.config.as_deref();
        file.map(config::without_secrets).transpose()
    }

    /// The flags that the policies may read, where there are any.
    pub(super) fn flags(&self, config: Option<&Config>) -> Result<Option<Arc<Flags>>, Failure> {
        let of_config = config.filter(|_| self.flags.is_empty());
        let files = of_config.map(|config| config.flags.files.iter().map(PathBuf::from).collect());
        let files: Vec<PathBuf> = files.unwrap_or_else(|| self.flags.clone());
        flags_of(&files)
    }

    /// The policies, in `time_zone` or in that of the configuration, with these flags.
    pub(super) fn policies(
        &self,
        config: Option<&Config>,
        time_zone: Option<&str>,
        flags: Option<Arc<Flags>>,
    ) -> Result<Policies, PolicyErrors> {
        let section = config.map(|config| &config.policy);
        let of_config = section.filter(|_| self.files.is_empty());
        let named = of_config.map(|section| section.files.iter().map(PathBuf::from).collect());
        let files: Vec<PathBuf> = named.unwrap_or_else(|| self.files.clone());
        let time_zone = time_zone.or(section.and_then(|section| section.time_zone.as_deref()));
        compile(&files, time_zone, flags)
    }
}

/// The flags of these files; `None` without any.
pub(super) fn flags_of(files: &[PathBuf]) -> Result<Option<Arc<Flags>>, Failure> {
    if files.is_empty() {
        return Ok(None);
    }
    let read = wiring::flags::read(files).map_err(|errors| flags::failure(&errors))?;
    Ok(Some(Arc::new(read)))
}
