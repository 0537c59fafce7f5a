//! `mcp-ultra breaker list`.

use comfy_table::{ContentArrangement, Table, presets};
use mcp_ultra_control::breakers::BreakerView;

use super::{PATH, state};
use crate::cli::{
    admin::AdminArgs,
    exit::{CommandResult, print},
};

/// Arguments of `breaker list`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: AdminArgs,
}

/// Prints the breakers.
pub(super) async fn run(args: Args) -> CommandResult {
    let api = args.common.api()?;
    let breakers: Vec<BreakerView> = api.all(PATH).await?;
    if args.common.json {
        return print(&serde_json::json!(breakers).to_string());
    }
    if breakers.is_empty() {
        return print("No server has a circuit breaker.");
    }
    print(&table(&breakers))
}

fn table(breakers: &[BreakerView]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(["SERVER", "STATE", "CALLS", "FAILED", "SLOW", "OPENED"]);
    for one in breakers {
        table.add_row([
            one.server.clone(),
            state(one),
            one.calls.to_string(),
            one.failed.to_string(),
            one.slow.to_string(),
            one.opened.to_string(),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}
