//! `mcp-ultra config`: checks, explains and describes the configuration of the gateway.

mod explain;
mod problem;
mod schema;
mod validate;

use std::path::{Path, PathBuf};

use mcp_ultra_backends::secrets::OpenError;
use mcp_ultra_config::{Config, ConfigError, Loaded, MissingReferences, Sources, Warning};

use super::exit::{CommandResult, Failure};
use crate::wiring::secrets::{self, LoadError};

/// The commands under `config`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Check the configuration, and say where each fault is
    Validate(validate::Args),
    /// Show every effective value and where it came from, secrets masked
    Explain(explain::Args),
    /// Print the JSON Schema of the configuration file
    Schema,
}

/// Where the configuration comes from.
#[derive(Debug, clap::Args)]
struct SourceArgs {
    /// Configuration file [default: the one that `MCP_ULTRA_CONFIG` names, else none]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Accept references to variables and secret files that are not at hand here
    #[arg(long)]
    without_secrets: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs one of them.
pub(crate) async fn run(command: &Command) -> CommandResult {
    match command {
        Command::Validate(args) => validate::run(args).await,
        Command::Explain(args) => explain::run(args).await,
        Command::Schema => schema::run(),
    }
}

impl SourceArgs {
    fn sources(&self) -> Result<Sources, ConfigError> {
        let mut sources = Sources::from_process(self.config.as_deref())?;
        if self.without_secrets {
            sources.missing = MissingReferences::Accept;
        }
        Ok(sources)
    }

    async fn load(&self) -> Result<Loaded, LoadError> {
        Ok(secrets::load(&self.sources()?).await?.0)
    }
}

/// The configuration of a file, for commands that need no secret of it.
pub(crate) fn without_secrets(file: &Path) -> Result<Config, Failure> {
    let mut sources = Sources::from_process(Some(file)).map_err(|error| failure(&error))?;
    sources.missing = MissingReferences::Accept;
    let loaded = mcp_ultra_config::load(&sources).map_err(|error| failure(&error))?;
    Ok(loaded.config)
}

/// A fault in the configuration, as every command that loads one ends with it.
pub(crate) fn failure(error: &ConfigError) -> Failure {
    Failure::usage(problem::Faults::new(error))
}

/// The same for one that is loaded with its secrets.
pub(crate) fn load_failure(error: LoadError) -> Failure {
    match error {
        LoadError::Config(error) => failure(&error),
        LoadError::Open(error) => Failure::usage(SourcesFault(error)),
    }
}

/// The sources of secrets can't be set up.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error(transparent)]
struct SourcesFault(OpenError);

/// Says what is odd, where it does not end in a file.
fn warn(warnings: &[Warning]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
}
