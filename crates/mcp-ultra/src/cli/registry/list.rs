//! `mcp-ultra registry list`.

use comfy_table::{ContentArrangement, Table, presets};
use mcp_ultra_control::registry::EntryView;

use super::Kind;
use crate::cli::{
    admin::AdminArgs,
    exit::{CommandResult, print},
};

/// Arguments of `registry list`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What is listed
    #[arg(value_enum)]
    kind: Kind,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Prints the entries.
pub(super) async fn run(args: Args) -> CommandResult {
    let api = args.admin.api()?;
    let entries: Vec<EntryView> = api.all(args.kind.path()).await?;
    if args.admin.json {
        return print(&serde_json::json!(entries).to_string());
    }
    if entries.is_empty() {
        return print("There is nothing, neither in the file nor in the registry.");
    }
    print(&table(&entries))
}

fn table(entries: &[EntryView]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(["NAME", "FROM", "REVISION", "CHANGED", "BY"]);
    for one in entries {
        let from = match (&one.place, one.shadowed_by_file) {
            (Some(place), true) => format!("{place} (the registry has one that is not used)"),
            (Some(place), false) => place.clone(),
            (None, _) => "registry".to_owned(),
        };
        let text = |text: Option<String>| text.unwrap_or_default();
        table.add_row([
            one.name.clone(),
            from,
            text(one.revision.map(|revision| revision.to_string())),
            text(one.changed.map(|time| time.to_string())),
            text(one.changed_by.clone()),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}
