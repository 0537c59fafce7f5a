//! `mcp-ultra grant revoke`.

use super::Common;
use crate::cli::exit::{CommandResult, print};

/// Arguments of `grant revoke`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its identifier
    id: String,
    #[command(flatten)]
    common: Common,
}

/// Withdraws a grant.
pub(super) async fn run(args: Args) -> CommandResult {
    let desk = args.common.open().await?;
    let withdrawn = desk.withdraw(&args.id).await?;
    let is_known = desk.close().await;
    let grant = &withdrawn.grant;
    if args.common.json {
        let mut value = serde_json::json!(grant);
        value["revoked"] = withdrawn.revoked.into();
        return print(&value.to_string());
    }
    let tokens = match &*withdrawn.revoked {
        "yes" => "The authorization server has ended its tokens.",
        "not_offered" => {
            "Its authorization server does not end tokens for others, so they last as long as they do there."
        }
        "not_asked" if is_known => {
            "Gateways that run use it no more. Its tokens last as long as they do at the authorization server, which is told with --admin."
        }
        "not_asked" => {
            "Its tokens last as long as they do; a running gateway uses the access token that it has until that ends. With --admin it stops at once, and the authorization server is told."
        }
        _ => "Its authorization server could not be told; the log of the gateway says why.",
    };
    print(&format!(
        "The grant {} for {} is withdrawn. {tokens}",
        grant.id, grant.server
    ))
}
