//! `mcp-ultra grant link`.

use http::Method;
use mcp_ultra_edge::identity::new_key_id;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{GrantsError, PATH};
use crate::cli::{
    admin::{self, AdminApi},
    exit::{CommandResult, Failure, print},
    target,
};

/// Arguments of `grant link`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The server, by its name in the configuration
    server: String,
    /// Who vouches for the person (`iss`), one of `connect.logins` [default: the person is the caller]
    #[arg(long, requires = "subject")]
    issuer: Option<String>,
    /// Who the person is for that issuer (`sub`)
    #[arg(long, requires = "issuer")]
    subject: Option<String>,
    /// Admin API of a running gateway, such as `http://127.0.0.1:9090`
    #[arg(long, value_name = "URL", env = "MCP_ULTRA_ADMIN")]
    admin: String,
    /// Environment variable that holds the credential for the admin API [default:
    /// `MCP_ULTRA_TOKEN`, if set]
    #[arg(long, value_name = "NAME")]
    token_env: Option<String>,
    /// The person's tenant [default: the caller's]
    #[arg(long)]
    tenant: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Made {
    url: String,
    reference: String,
    subject: String,
    expires: String,
}

/// Makes a link and shows it.
pub(super) async fn run(args: Args) -> CommandResult {
    let transport = target::transport(&args.admin, args.token_env.as_deref())?;
    let api = AdminApi::new(transport, args.tenant);
    let body = json!({ "server": args.server, "issuer": args.issuer, "subject": args.subject });
    // Sent once: whoever runs the command again wants another link.
    let once = new_key_id().map_err(GrantsError::from)?;
    let headers = [("idempotency-key", &*once)];
    let path = format!("{PATH}/links");
    let reply = api.send(Method::POST, &path, &headers, Some(&body)).await?;
    let made: Value = admin::read(reply).await?;
    if args.json {
        return print(&made.to_string());
    }
    let made: Made =
        serde_json::from_value(made).map_err(|_| Failure::from(admin::AdminError::NotTheApi))?;
    print(&format!(
        "Open this link in a browser as {}; it is good once, until {}:\n\n{}\n\nThe log calls it {}.",
        made.subject, made.expires, made.url, made.reference
    ))
}
