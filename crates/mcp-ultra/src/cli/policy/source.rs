//! The policies that a command is about: files, or those of a configuration.

use std::path::PathBuf;

use mcp_ultra_config::{Config, MissingReferences, Sources};
use mcp_ultra_domain::policy::{Policies, PolicyErrors};

use super::compile;
use crate::cli::{config, exit::Failure};

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
}

impl PolicyArgs {
    /// The configuration, where one is named.
    pub(super) fn config(&self) -> Result<Option<Config>, Failure> {
        let Some(file) = &self.config else {
            return Ok(None);
        };
        let mut sources =
            Sources::from_process(Some(file)).map_err(|error| config::failure(&error))?;
        sources.missing = MissingReferences::Accept;
        let loaded = mcp_ultra_config::load(&sources).map_err(|error| config::failure(&error))?;
        Ok(Some(loaded.config))
    }

    /// The policies, in `time_zone` or in that of the configuration.
    pub(super) fn policies(
        &self,
        config: Option<&Config>,
        time_zone: Option<&str>,
    ) -> Result<Policies, PolicyErrors> {
        let section = config.map(|config| &config.policy);
        let of_config = section.filter(|_| self.files.is_empty());
        let named = of_config.map(|section| section.files.iter().map(PathBuf::from).collect());
        let files: Vec<PathBuf> = named.unwrap_or_else(|| self.files.clone());
        let time_zone = time_zone.or(section.and_then(|section| section.time_zone.as_deref()));
        compile(&files, time_zone)
    }
}
