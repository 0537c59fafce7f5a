//! `mcp-ultra config explain`.

use comfy_table::{ContentArrangement, Table, presets};
use mcp_ultra_config::{Loaded, Row};

use super::{SourceArgs, failure, load_failure, warn};
use crate::{
    cli::exit::{CommandResult, Failure, print},
    wiring::{registry, secrets},
};

/// Arguments of `config explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// Show the servers of the registry too, as they are in the store that the configuration names
    #[arg(long, conflicts_with = "without_secrets")]
    registry: bool,
}

/// Prints every effective value.
pub(super) async fn run(args: &Args) -> CommandResult {
    let loaded = if args.registry {
        with_registry(&args.source).await?
    } else {
        args.source.load().await.map_err(load_failure)?
    };
    warn(&loaded.warnings);
    let rows = loaded.explain();
    if args.source.json {
        // Paths, values and origins are texts and numbers: this can't fail.
        return print(&serde_json::to_string_pretty(&rows).unwrap_or_default());
    }
    print(&table(&rows))
}

/// As a gateway has it that starts now.
async fn with_registry(source: &SourceArgs) -> Result<Loaded, Failure> {
    let sources = source.sources().map_err(|error| failure(&error))?;
    let (loaded, mut secrets) = secrets::load(&sources).await.map_err(load_failure)?;
    let sources = registry::with_servers_of_store(&sources, &loaded.config).await;
    let sources = sources.map_err(Failure::failed)?;
    let loaded = secrets.load_again(&sources).await;
    loaded.map_err(|error| failure(&error))
}

fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(["PATH", "VALUE", "FROM"]);
    for row in rows {
        table.add_row([row.path.clone(), row.value.clone(), row.origin.to_string()]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}
