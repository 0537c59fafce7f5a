//! `mcp-ultra registry put`.

use std::io::Read as _;

use http::Method;
use mcp_ultra_control::registry::EntryView;
use serde_json::json;

use super::{RegistryError, Which};
use crate::cli::{
    admin::{AdminApi, AdminArgs, read, with},
    exit::{CommandResult, Failure, print},
};

/// The longest text that is read, in bytes; what is too much is said by the gateway.
const LONGEST: u64 = 1024 * 1024;

/// Arguments of `registry put`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// File with its text: the section of a server, policies in Cedar, or the definition of a flag in
    /// flagd's JSON; - for standard input
    file: String,
    /// Only check it
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Puts it in the place of what is there.
pub(super) async fn run(args: Args) -> CommandResult {
    let text = text(&args.file)
        .map_err(|error| Failure::usage(RegistryError::Text(args.file.clone(), error)))?;
    let api = args.admin.api()?;
    let tag = args.which.tag(&api).await?;
    let entry = put(&api, &args.which, &text, tag.as_deref(), args.dry_run).await?;
    if args.admin.json {
        return print(&serde_json::json!(entry).to_string());
    }
    let kind = args.which.kind.as_str();
    let revision = entry.revision.unwrap_or_default();
    print(&if args.dry_run {
        format!("The {kind} {} would be fine.", entry.name)
    } else {
        format!(
            "The {kind} {} is in the registry, revision {revision}.",
            entry.name
        )
    })
}

/// Puts a text where `tag` is still there, or nothing without one.
pub(super) async fn put(
    api: &AdminApi,
    which: &Which,
    text: &str,
    tag: Option<&str>,
    dry_run: bool,
) -> Result<EntryView, Failure> {
    let mut path = which.path();
    if dry_run {
        path = with(&path, "dry_run", "true");
    }
    let header = match tag {
        Some(tag) => ("if-match", tag),
        None => ("if-none-match", "*"),
    };
    let body = json!({ "text": text });
    let reply = api.send(Method::PUT, &path, &[header], Some(&body)).await?;
    read(reply).await
}

fn text(file: &str) -> Result<String, std::io::Error> {
    let mut text = String::new();
    if file == "-" {
        std::io::stdin().take(LONGEST).read_to_string(&mut text)?;
    } else {
        std::fs::File::open(file)?
            .take(LONGEST)
            .read_to_string(&mut text)?;
    }
    Ok(text)
}
