//! `mcp-ultra secrets status`.

use std::{path::PathBuf, time::Duration};

use comfy_table::{ContentArrangement, Table, presets};
use mcp_ultra_backends::secrets::SecretRow;
use mcp_ultra_config::Sources;
use serde_json::json;

use crate::{
    cli::{
        config,
        exit::{CommandResult, Failure, print},
    },
    wiring::secrets::Secrets,
};

/// Arguments of `secrets status`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Configuration file [default: the one that `MCP_ULTRA_CONFIG` names, else none]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Reads every secret as a gateway that starts now would, and shows what is known of it. Fails
/// where one can't be read.
pub(super) async fn run(args: &Args) -> CommandResult {
    let sources =
        Sources::from_process(args.config.as_deref()).map_err(|error| config::failure(&error))?;
    let secrets = Secrets::open(&sources)
        .await
        .map_err(config::load_failure)?;
    let rows = secrets.rows();
    if args.json {
        let rows: Vec<_> = rows.iter().map(as_json).collect();
        print(&format!("{:#}", json!({ "secrets": rows })))?;
    } else if rows.is_empty() {
        print("The configuration refers to no secret: write one as ${secret:NAME}.")?;
    } else {
        print(&table(&rows))?;
    }
    if rows.iter().any(|row| row.trouble.is_some()) {
        return Err(Failure::told());
    }
    Ok(())
}

fn as_json(row: &SecretRow) -> serde_json::Value {
    json!({
        "name": row.name.to_string(),
        "source": row.source,
        "version": row.version,
        "ageSeconds": row.age.map(|age| age.as_secs()),
        "refreshInSeconds": row.refresh_in.map(|time| time.as_secs()),
        "problem": row.trouble,
    })
}

fn table(rows: &[SecretRow]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(["NAME", "SOURCE", "VERSION", "AGE", "READ AGAIN", "PROBLEM"]);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for row in rows {
        let refresh = row.refresh_in.map(|time| format!("in {}", rough(time)));
        table.add_row([
            row.name.to_string(),
            or_dash(row.source.map(str::to_owned)),
            or_dash(row.version.clone()),
            or_dash(row.age.map(rough)),
            refresh.unwrap_or_else(|| "never".to_owned()),
            or_dash(row.trouble.clone()),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// A time in its largest whole unit.
fn rough(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}
