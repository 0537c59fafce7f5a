//! `mcp-ultra secrets`: one file a subcommand.

mod status;

use clap::Subcommand;

use super::exit::CommandResult;

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Read the secrets of a configuration and show where they are, never their values
    Status(status::Args),
}

/// Runs one of them.
pub(crate) async fn run(command: Command) -> CommandResult {
    match command {
        Command::Status(args) => status::run(&args).await,
    }
}
