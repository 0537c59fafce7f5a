//! `mcp-ultra completions`: completion scripts for shells.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::{
    Cli,
    exit::{CommandResult, print},
};

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Shell to write the script for
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(args: &Args) -> CommandResult {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "mcp-ultra", &mut script);
    print(String::from_utf8_lossy(&script).trim_end())
}
