//! `mcp-ultra policy check`.

use serde_json::json;

use super::{failed_as_json, failure, source::PolicyArgs};
use crate::{
    cli::exit::{CommandResult, print},
    wiring::policy::odd_about_admin,
};

/// Arguments of `policy check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: PolicyArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args) -> CommandResult {
    let read = args.source.read(None).await?;
    match read.policies {
        Ok(policies) => {
            // Whether there is an admin API that nobody may use is known of a configuration alone.
            let has_admin = read
                .config
                .is_some_and(|config| config.admin.port.is_some());
            let everything = !policies.admin_permits().everything.is_empty();
            let odd = odd_about_admin(&policies).filter(|_| has_admin || everything);
            let warnings: Vec<String> = odd.into_iter().collect();
            let (count, revision) = (policies.len(), &**policies.revision());
            if args.json {
                let said = json!({
                    "valid": true, "policies": count, "revision": revision, "problems": [],
                    "warnings": warnings,
                });
                return print(&format!("{said:#}"));
            }
            for warning in warnings {
                eprintln!("warning: {warning}");
            }
            let noun = if count == 1 { "policy" } else { "policies" };
            print(&format!("Valid: {count} {noun}, revision {revision}."))
        }
        Err(errors) if args.json => failed_as_json(&errors),
        Err(errors) => Err(failure(&errors)),
    }
}
