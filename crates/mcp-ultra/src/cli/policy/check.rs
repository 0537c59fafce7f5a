//! `mcp-ultra policy check`.

use std::path::PathBuf;

use serde_json::json;

use super::{compile, failed_as_json, failure};
use crate::cli::exit::{CommandResult, print};

/// Arguments of `policy check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Files of policies (.cedar) and of the types of arguments (.cedarschema), and folders of them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> CommandResult {
    match compile(&args.files, None) {
        Ok(policies) if args.json => {
            let (count, revision) = (policies.len(), &**policies.revision());
            let said =
                json!({ "valid": true, "policies": count, "revision": revision, "problems": [] });
            print(&format!("{said:#}"))
        }
        Ok(policies) => {
            let count = policies.len();
            let noun = if count == 1 { "policy" } else { "policies" };
            print(&format!(
                "Valid: {count} {noun}, revision {}.",
                policies.revision()
            ))
        }
        Err(errors) if args.json => failed_as_json(&errors),
        Err(errors) => Err(failure(&errors)),
    }
}
