//! `mcp-ultra registry rollback`.

use super::{RegistryError, Which, history, put::put};
use crate::cli::{
    admin::AdminArgs,
    exit::{CommandResult, Failure, print},
};

/// Arguments of `registry rollback`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// Revision of the registry that it was put by [default: the last one with another text]
    #[arg(long, value_name = "REVISION")]
    to: Option<u64>,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Puts what it was.
pub(super) async fn run(args: Args) -> CommandResult {
    let api = args.admin.api()?;
    let tag = args.which.tag(&api).await?;
    let past = history::of(&api, &args.which).await?;
    let now = past.first().and_then(|one| one.text.as_deref());
    let text = past
        .iter()
        .filter(|one| args.to.is_none_or(|to| one.revision == to))
        .filter_map(|one| one.text.as_deref())
        .find(|text| args.to.is_some() || Some(*text) != now);
    let text = text.ok_or_else(|| {
        let which = args.to.map_or_else(
            || "before the present one".to_owned(),
            |to| format!("of revision {to}"),
        );
        Failure::failed(RegistryError::NoPast(args.which.name.clone(), which))
    })?;
    let entry = put(&api, &args.which, text, tag.as_deref(), false).await?;
    if args.admin.json {
        return print(&serde_json::json!(entry).to_string());
    }
    let (kind, revision) = (args.which.kind.as_str(), entry.revision.unwrap_or_default());
    print(&format!(
        "The {kind} {} is what it was before, as revision {revision}.",
        entry.name
    ))
}
