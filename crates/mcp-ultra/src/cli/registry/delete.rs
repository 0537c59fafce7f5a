//! `mcp-ultra registry delete`.

use http::Method;
use mcp_ultra_control::registry::EntryView;

use super::Which;
use crate::cli::{
    admin::{AdminArgs, read},
    exit::{CommandResult, print},
};

/// Arguments of `registry delete`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Takes it out.
pub(super) async fn run(args: Args) -> CommandResult {
    let api = args.admin.api()?;
    let tag = args.which.tag(&api).await?;
    let tag = tag.ok_or_else(|| args.which.unknown())?;
    let headers = [("if-match", &*tag)];
    let path = args.which.path();
    let reply = api.send(Method::DELETE, &path, &headers, None).await?;
    let entry: EntryView = read(reply).await?;
    if args.admin.json {
        return print(&serde_json::json!(entry).to_string());
    }
    let kind = args.which.kind.as_str();
    print(&format!(
        "The {kind} {} is not in the registry any more.",
        entry.name
    ))
}
