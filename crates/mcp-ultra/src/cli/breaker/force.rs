//! `mcp-ultra breaker force`.

use http::Method;
use mcp_ultra_control::breakers::{BreakerView, DEPENDENCY, Force};

use super::{PATH, state};
use crate::cli::{
    admin::{AdminArgs, encoded, read},
    exit::{CommandResult, print},
};

/// Arguments of `breaker force`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the server in the configuration; or what the gateway itself needs, as `dependency:redis`
    server: String,
    /// What its breaker is to do
    #[arg(value_enum)]
    to: To,
    #[command(flatten)]
    common: AdminArgs,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum To {
    /// No call passes
    Open,
    /// All calls pass, whatever comes of them
    Closed,
    /// It decides by itself
    Auto,
}

/// Forces the breaker.
pub(super) async fn run(args: Args) -> CommandResult {
    let api = args.common.api()?;
    let path = format!("{PATH}/{}", encoded(&args.server));
    let tag = api.tag(&path).await?;
    let forced = match args.to {
        To::Open => Some(Force::Open),
        To::Closed => Some(Force::Closed),
        To::Auto => None,
    };
    let body = serde_json::json!({ "forced": forced });
    let headers = [("if-match", &*tag)];
    let reply = api.send(Method::PUT, &path, &headers, Some(&body)).await?;
    let breaker: BreakerView = read(reply).await?;
    if args.common.json {
        return print(&serde_json::json!(breaker).to_string());
    }
    let of_dependency = breaker.server.starts_with(DEPENDENCY) && forced.is_some();
    print(&format!(
        "The circuit breaker of {} is {} now{}.",
        breaker.server,
        state(&breaker),
        if of_dependency {
            ", at this gateway, for an hour at most"
        } else {
            ""
        }
    ))
}
