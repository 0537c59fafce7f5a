//! `mcp-ultra grant list`.

use comfy_table::{ContentArrangement, Table, presets};
use mcp_ultra_control::grants::GrantView;

use super::Common;
use crate::cli::exit::{CommandResult, print};

/// Arguments of `grant list`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Whose alone: who somebody is for their issuer (`sub`)
    #[arg(long)]
    subject: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Prints the grants, without any token.
pub(super) async fn run(args: Args) -> CommandResult {
    let desk = args.common.open().await?;
    let grants = desk.all(args.subject.as_deref()).await?;
    let tenant = desk.tenant().to_owned();
    desk.close().await;
    if args.common.json {
        return print(&serde_json::json!(grants).to_string());
    }
    if grants.is_empty() {
        return print(&format!("The tenant {tenant} has no such grants."));
    }
    print(&table(&grants))
}

fn table(grants: &[GrantView]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(["SUBJECT", "SERVER", "ID", "SCOPES", "GIVEN", "REFRESHED"]);
    for grant in grants {
        let scopes: Vec<_> = grant.scopes.iter().map(String::as_str).collect();
        table.add_row([
            grant.subject.clone(),
            grant.server.clone(),
            grant.id.clone(),
            scopes.join(" "),
            grant.created.to_string(),
            grant.renewed.to_string(),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}
