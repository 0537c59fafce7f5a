//! `mcp-ultra flags list`.

use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use mcp_ultra_domain::{Clock as _, SystemClock, flags::Flag};
use serde_json::{Value, json};

use super::{failure, source::FlagArgs};
use crate::cli::exit::{CommandResult, print};

/// Arguments of `flags list`.
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
    let flags = read.flags.map_err(|errors| failure(&errors))?;
    let now = SystemClock.now();
    if args.json {
        let all: Vec<Value> = flags.iter().map(|flag| as_json(flag, now)).collect();
        return print(&format!("{:#}", Value::from(all)));
    }
    if flags.is_empty() {
        return print("There are no flags.");
    }
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header([
            "KEY", "TYPE", "STATE", "DEFAULT", "RULES", "OWNER", "EXPIRES",
        ]);
    for flag in flags.iter() {
        let (name, value) = flag.default_variant();
        let expired = if flag.is_expired(now) {
            " (expired)"
        } else {
            ""
        };
        table.add_row([
            flag.key().to_owned(),
            flag.flag_type().as_str().to_owned(),
            state(flag).to_owned(),
            format!("{name}: {value}"),
            if flag.has_targeting() { "yes" } else { "no" }.to_owned(),
            flag.owner().to_owned(),
            format!("{}{expired}", flag.expires()),
        ]);
    }
    print(&table.to_string())
}

fn state(flag: &Flag) -> &'static str {
    if flag.is_enabled() {
        "ENABLED"
    } else {
        "DISABLED"
    }
}

fn as_json(flag: &Flag, now: Duration) -> Value {
    let variants = flag.variants();
    let variants: serde_json::Map<String, Value> = variants
        .map(|(name, value)| (name.to_owned(), value.to_json()))
        .collect();
    let (file, line) = flag.place();
    json!({
        "key": flag.key(),
        "type": flag.flag_type().as_str(),
        "state": state(flag),
        "variants": variants,
        "defaultVariant": flag.default_variant().0,
        "targeting": flag.has_targeting(),
        "owner": flag.owner(),
        "expires": flag.expires().to_string(),
        "expired": flag.is_expired(now),
        "metadata": flag.metadata(),
        "file": file,
        "line": line,
    })
}
