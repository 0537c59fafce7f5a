//! `mcp-ultra session unblock`.

use http::Method;
use mcp_ultra_control::blocks::BlockView;

use super::{BLOCKS, Common};
use crate::cli::{
    admin::{encoded, read},
    exit::{CommandResult, print},
};

/// Arguments of `session unblock`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Identifier of the block, as `session blocked` shows it
    id: String,
    #[command(flatten)]
    common: Common,
}

/// Lets a caller in again.
pub(super) async fn run(args: Args) -> CommandResult {
    let api = args.common.api()?;
    let path = format!("{BLOCKS}/{}", encoded(&args.id));
    let tag = api.tag(&path).await?;
    let headers = [("if-match", &*tag)];
    let reply = api.send(Method::DELETE, &path, &headers, None).await?;
    let block: BlockView = read(reply).await?;
    if args.common.gateway.json {
        return print(&serde_json::json!(block).to_string());
    }
    print("The block is over. Other gateways with the same store know it within seconds.")
}
