//! `mcp-ultra config explain`.

use comfy_table::{ContentArrangement, Table, presets};
use mcp_ultra_config::Row;

use super::{SourceArgs, load_failure, warn};
use crate::cli::exit::{CommandResult, print};

/// Arguments of `config explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: SourceArgs,
}

/// Prints every effective value.
pub(super) async fn run(args: &Args) -> CommandResult {
    let loaded = args.source.load().await.map_err(load_failure)?;
    warn(&loaded.warnings);
    let rows = loaded.explain();
    if args.source.json {
        // Paths, values and origins are texts and numbers: this can't fail.
        return print(&serde_json::to_string_pretty(&rows).unwrap_or_default());
    }
    print(&table(&rows))
}

fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(["PATH", "VALUE", "FROM"]);
    for row in rows {
        table.add_row([row.path.clone(), row.value.clone(), row.origin.to_string()]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}
