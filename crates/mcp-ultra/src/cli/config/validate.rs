//! `mcp-ultra config validate`.

use serde_json::json;

use super::{SourceArgs, load_failure, warn};
use crate::{
    cli::exit::{CommandResult, Exit, Failure, print},
    wiring::secrets::LoadError,
};

/// Arguments of `config validate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: SourceArgs,
}

/// Loads the configuration as the gateway would, and says what came of it.
pub(super) async fn run(args: &Args) -> CommandResult {
    match args.source.load().await {
        Ok(loaded) if args.source.json => {
            let said = json!({ "valid": true, "problems": [], "warnings": loaded.warnings });
            print(&format!("{said:#}"))
        }
        Ok(loaded) => {
            warn(&loaded.warnings);
            let servers = loaded.config.servers.len();
            let plural = if servers == 1 { "" } else { "s" };
            print(&format!(
                "The configuration is valid: {servers} server{plural}."
            ))
        }
        Err(LoadError::Config(error)) if args.source.json => {
            let said = json!({ "valid": false, "problems": error.problems(), "warnings": [] });
            print(&format!("{said:#}"))?;
            Err(Failure {
                exit: Exit::Usage,
                report: None,
            })
        }
        Err(error) => Err(load_failure(error)),
    }
}
