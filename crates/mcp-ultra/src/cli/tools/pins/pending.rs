//! `mcp-ultra tools pending`.

use super::{Common, show};
use crate::cli::exit::{CommandResult, print};

/// Arguments of `tools pending`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    /// Show the tools too that wait for nothing
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the tools that wait for approval, with what differs.
pub(crate) async fn run(args: Args) -> CommandResult {
    let desk = args.common.open().await?;
    let pins = desk.all(!args.all).await?;
    desk.close().await;
    if args.json {
        return print(&serde_json::json!(pins).to_string());
    }
    if pins.is_empty() {
        return print("No tool waits for approval.");
    }
    let shown: Vec<String> = pins.iter().map(show::tool).collect();
    print(&shown.join("\n"))
}
