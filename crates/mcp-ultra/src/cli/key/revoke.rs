//! `mcp-ultra key revoke`.

use super::{Common, show};
use crate::cli::exit::{CommandResult, print};

/// Arguments of `key revoke`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its name or identifier
    key: String,
    #[command(flatten)]
    common: Common,
}

/// Ends a key.
pub(super) async fn run(args: Args) -> CommandResult {
    let desk = args.common.open().await?;
    let key = desk.find(&args.key).await?;
    let key = desk.keys.revoke(key).await?;
    desk.close().await;
    if args.common.json {
        return print(&show::json(&key).to_string());
    }
    print(&format!(
        "{} ({}) is revoked: a running gateway refuses it within auth.api_keys.recheck.",
        key.name, key.id
    ))
}
