//! `mcp-ultra session list`.

use comfy_table::{ContentArrangement, Table, presets};
use mcp_ultra_control::sessions::SessionView;
use mcp_ultra_domain::scan::printable;

use super::{Common, path};
use crate::cli::exit::{CommandResult, print};

/// Arguments of `session list`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Whose alone: who somebody is for their issuer (`sub`)
    #[arg(long)]
    subject: Option<String>,
    /// Only of callers that this issuer vouches for
    #[arg(long)]
    issuer: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Prints what is open.
pub(super) async fn run(args: Args) -> CommandResult {
    let api = args.common.api()?;
    let path = path(&[
        ("issuer", args.issuer.as_deref()),
        ("subject", args.subject.as_deref()),
    ]);
    let sessions: Vec<SessionView> = api.all(&path).await?;
    if args.common.gateway.json {
        return print(&serde_json::json!(sessions).to_string());
    }
    if sessions.is_empty() {
        return print(&format!(
            "The tenant {} has no such sessions open.",
            api.tenant()
        ));
    }
    print(&table(&sessions))
}

fn table(sessions: &[SessionView]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header([
            "SUBJECT",
            "ISSUER",
            "KIND",
            "REVISION",
            "ID",
            "SINCE",
            "LAST USED",
        ]);
    for session in sessions {
        table.add_row([
            printable(&session.subject),
            printable(&session.issuer),
            session.kind.clone(),
            session.version.clone().unwrap_or_default(),
            session.id.clone(),
            session.since.to_string(),
            session
                .last_used
                .map_or_else(String::new, |at| at.to_string()),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}
