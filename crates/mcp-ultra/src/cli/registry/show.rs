//! `mcp-ultra registry show`.

use http::Method;
use mcp_ultra_control::registry::EntryView;

use super::Which;
use crate::cli::{
    admin::{AdminArgs, read},
    exit::{CommandResult, print},
};

/// Arguments of `registry show`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Prints the text, so that it can be changed and put again.
pub(super) async fn run(args: Args) -> CommandResult {
    let api = args.admin.api()?;
    let reply = api.send(Method::GET, &args.which.path(), &[], None).await?;
    let entry: EntryView = read(reply).await?;
    if args.admin.json {
        return print(&serde_json::json!(entry).to_string());
    }
    match (&entry.text, &entry.place) {
        (Some(text), _) => print(text.trim_end()),
        (None, Some(place)) => print(&format!("{} is in {place}.", entry.name)),
        (None, None) => Err(args.which.unknown()),
    }
}
