//! `mcp-ultra key rotate`.

use mcp_ultra_config::Period;

use super::{Common, show};
use crate::cli::exit::CommandResult;

/// Arguments of `key rotate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its name or identifier
    key: String,
    #[command(flatten)]
    common: Common,
    /// How long the secret that is replaced stays valid, at most 30d
    #[arg(long, value_name = "TIME", default_value = "24h")]
    overlap: Period,
}

/// Gives a key a new secret and shows it.
pub(super) async fn run(args: Args) -> CommandResult {
    let desk = args.common.open().await?;
    let key = desk.find(&args.key).await?;
    let shown = desk.rotate(&key, args.overlap.get()).await?;
    desk.close().await;
    show::secret(&shown, "rotated", args.common.json)
}
