//! `mcp-ultra key list`.

use super::{Common, show};
use crate::cli::exit::{CommandResult, print};

/// Arguments of `key list`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
}

/// Prints the keys of the tenant, without any secret.
pub(super) async fn run(args: Args) -> CommandResult {
    let desk = args.common.open().await?;
    let keys = desk.all().await?;
    let tenant = desk.tenant().to_owned();
    desk.close().await;
    if args.common.json {
        return print(&serde_json::json!(keys).to_string());
    }
    if keys.is_empty() {
        return print(&format!("The tenant {tenant} has no API keys."));
    }
    print(&show::table(&keys))
}
