//! `mcp-ultra cache`: answers that a running gateway keeps, through its admin API.

mod purge;

use super::exit::CommandResult;

/// The commands under `cache`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Have kept answers forgotten: all of a tenant, those of one server, or those of one caller
    Purge(purge::Args),
}

/// Runs one of them.
pub(crate) async fn run(command: Command) -> CommandResult {
    match command {
        Command::Purge(args) => purge::run(args).await,
    }
}
