//! `mcp-ultra key revoke`.

use super::Common;
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
    let key = desk.revoke(&key).await?;
    let is_known = desk.close().await;
    if args.common.json {
        return print(&serde_json::json!(key).to_string());
    }
    print(&format!(
        "{} ({}) is revoked. {}",
        key.name,
        key.id,
        if is_known {
            "Gateways that run refuse it from now on."
        } else {
            "A running gateway refuses it within auth.api_keys.recheck."
        }
    ))
}
