//! `mcp-ultra session blocked`.

use comfy_table::{ContentArrangement, Table, presets};
use mcp_ultra_control::blocks::BlockView;
use mcp_ultra_domain::scan::printable;

use super::{BLOCKS, Common};
use crate::cli::exit::{CommandResult, print};

/// Arguments of `session blocked`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
}

/// Prints who is blocked.
pub(super) async fn run(args: Args) -> CommandResult {
    let api = args.common.api()?;
    let blocks: Vec<BlockView> = api.all(BLOCKS).await?;
    if args.common.gateway.json {
        return print(&serde_json::json!(blocks).to_string());
    }
    if blocks.is_empty() {
        return print(&format!(
            "In the tenant {} nobody is blocked.",
            api.tenant()
        ));
    }
    print(&table(&blocks))
}

fn table(blocks: &[BlockView]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(["SUBJECT", "ISSUER", "ID", "SINCE", "UNTIL"]);
    for block in blocks {
        table.add_row([
            printable(&block.subject),
            printable(&block.issuer),
            block.id.clone(),
            block.since.to_string(),
            block.until.to_string(),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}
