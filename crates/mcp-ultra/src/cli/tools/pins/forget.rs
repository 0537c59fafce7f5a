//! `mcp-ultra tools forget`.

use mcp_ultra_control::pins::PinView;

use super::{Common, Desk, ToolsError, find, show};
use crate::cli::exit::{CommandResult, Failure, print};

/// Arguments of `tools forget`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The tools, as `tools pending --all` shows them
    #[arg(value_name = "SERVER/TOOL", required = true)]
    tools: Vec<String>,
    #[command(flatten)]
    common: Common,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Forgets tools that are gone.
pub(crate) async fn run(args: Args) -> CommandResult {
    let desk = args.common.open().await?;
    let outcome = forget(&desk, &args).await;
    desk.close().await;
    let forgotten = outcome?;
    if args.json {
        return print(&serde_json::json!(forgotten).to_string());
    }
    for pin in &forgotten {
        print(&format!(
            "{} is forgotten. Where it comes back it is seen for the first time.",
            show::name(pin)
        ))?;
    }
    Ok(())
}

/// Nothing is forgotten where one of them is not known.
async fn forget(desk: &Desk, args: &Args) -> Result<Vec<PinView>, Failure> {
    let known = desk.all(false).await?;
    let meant = args.tools.iter().map(|tool| {
        let found = find(&known, tool);
        found.ok_or_else(|| ToolsError::Unknown(tool.clone()))
    });
    let meant: Vec<&PinView> = meant.collect::<Result<_, _>>()?;
    let mut forgotten = Vec::new();
    for pin in meant {
        forgotten.push(desk.forget(pin).await?);
    }
    Ok(forgotten)
}
