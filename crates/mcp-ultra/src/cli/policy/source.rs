//! The policies that a command is about: files, or those of a configuration.

use std::{path::PathBuf, sync::Arc};

use mcp_ultra_config::{Config, PolicySection};
use mcp_ultra_domain::{
    flags::Flags,
    policy::{Policies, PolicyErrors},
};

use super::compile;
use crate::{
    cli::{
        configured::{Configured, ConfiguredArgs},
        exit::Failure,
        flags,
    },
    wiring,
};

/// Which policies.
#[derive(Debug, clap::Args)]
pub(super) struct PolicyArgs {
    /// Files of policies (.cedar) and of the types of arguments (.cedarschema), and folders of them
    /// [default: `policy.files` of --config]
    #[arg(required_unless_present = "config", value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    configured: ConfiguredArgs,
    /// Files of flag definitions, and folders of them, which the policies may read; may be repeated
    /// [default: `flags.files` of --config]
    #[arg(long, value_name = "FILE", conflicts_with = "registry")]
    flags: Vec<PathBuf>,
}

/// What they say.
pub(super) struct Read {
    /// The configuration, where one is named.
    pub(super) config: Option<Config>,
    /// The policies of the files, else those of the configuration.
    pub(super) policies: Result<Arc<Policies>, PolicyErrors>,
}

impl PolicyArgs {
    /// Reads them, in `time_zone` or in that of the configuration.
    pub(super) async fn read(&self, time_zone: Option<&str>) -> Result<Read, Failure> {
        let configured = self.configured.read().await?;
        let flags = self.flags(configured.as_ref())?;
        let of_config = configured
            .as_ref()
            .map(|all| all.config.policy.time_zone.as_deref());
        let time_zone = time_zone.or(of_config.flatten());
        let policies = match configured.as_ref().filter(|_| self.files.is_empty()) {
            Some(all) => of_configuration(all, time_zone, flags),
            None => compile(&self.files, time_zone, flags).map(Arc::new),
        };
        let config = configured.map(|configured| configured.config);
        Ok(Read { config, policies })
    }

    /// The flags that the policies may read, where there are any.
    fn flags(&self, configured: Option<&Configured>) -> Result<Option<Arc<Flags>>, Failure> {
        match configured.filter(|_| self.flags.is_empty()) {
            Some(all) => wiring::flags::flags(&all.config.flags, &all.registry)
                .map_err(|errors| flags::failure(&errors)),
            None => flags_of(&self.flags),
        }
    }
}

fn of_configuration(
    Configured { config, registry }: &Configured,
    time_zone: Option<&str>,
    flags: Option<Arc<Flags>>,
) -> Result<Arc<Policies>, PolicyErrors> {
    let section = PolicySection {
        time_zone: time_zone.map(str::to_owned),
        ..config.policy.clone()
    };
    match wiring::policy::policies(&section, flags.as_ref(), registry)? {
        Some(policies) => Ok(policies),
        None => compile(&[], time_zone, flags).map(Arc::new),
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
