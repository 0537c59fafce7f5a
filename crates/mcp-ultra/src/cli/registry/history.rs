//! `mcp-ultra registry history`.

use comfy_table::{ContentArrangement, Table, presets};
use mcp_ultra_control::registry::PastView;

use super::Which;
use crate::cli::{
    admin::{AdminApi, AdminArgs},
    exit::{CommandResult, Failure, print},
};

/// Arguments of `registry history`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Prints the changes, the last one first.
pub(super) async fn run(args: Args) -> CommandResult {
    let api = args.admin.api()?;
    let past = of(&api, &args.which).await?;
    if args.admin.json {
        return print(&serde_json::json!(past).to_string());
    }
    print(&table(&past))
}

/// The changes of an entry, the last one first.
pub(super) async fn of(api: &AdminApi, which: &Which) -> Result<Vec<PastView>, Failure> {
    api.all(&format!("{}/history", which.path())).await
}

fn table(past: &[PastView]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(["REVISION", "WHAT", "CHANGED", "BY"]);
    for one in past {
        let what = match &one.text {
            Some(text) => format!("put, {} bytes", text.len()),
            None => "deleted".to_owned(),
        };
        table.add_row([
            one.revision.to_string(),
            what,
            one.changed.to_string(),
            one.changed_by.clone(),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}
