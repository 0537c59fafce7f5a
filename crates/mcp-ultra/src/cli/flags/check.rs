//! `mcp-ultra flags check`.

use mcp_ultra_config::Config;
use mcp_ultra_domain::flags::Flags;
use serde_json::{Value, json};

use super::{as_json, failure, source::FlagArgs};
use crate::{
    cli::exit::{CommandResult, Exit, Failure, print},
    wiring::flags::odd_about_switches,
};

/// Arguments of `flags check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: FlagArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args) -> CommandResult {
    let read = args.source.read().await?;
    match read.flags {
        Ok(flags) => valid(&flags, read.config.as_ref(), args.json),
        Err(errors) if args.json => {
            let problems: Vec<Value> = errors.0.iter().map(as_json).collect();
            print(&format!(
                "{:#}",
                json!({ "valid": false, "problems": problems })
            ))?;
            Err(Failure {
                exit: Exit::Usage,
                report: None,
            })
        }
        Err(errors) => Err(failure(&errors)),
    }
}

fn valid(flags: &Flags, config: Option<&Config>, as_json: bool) -> CommandResult {
    let warnings = warnings(flags, config);
    let (count, revision) = (flags.len(), &**flags.revision());
    if as_json {
        let said = json!({
            "valid": true, "flags": count, "revision": revision, "problems": [],
            "warnings": warnings,
        });
        return print(&format!("{said:#}"));
    }
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    let noun = if count == 1 { "flag" } else { "flags" };
    print(&format!("Valid: {count} {noun}, revision {revision}."))
}

/// What is no fault and may not be meant.
fn warnings(flags: &Flags, config: Option<&Config>) -> Vec<String> {
    let unknown = flags.iter().filter_map(|flag| {
        let names = flag.unknown_attributes().join(", ");
        (!names.is_empty()).then(|| {
            format!(
                "{}: the gateway has no {names}, so its rules see nothing there",
                flag.key()
            )
        })
    });
    let odd = config.and_then(|config| odd_about_switches(flags, config));
    unknown.chain(odd).collect()
}
