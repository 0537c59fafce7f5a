//! `mcp-ultra session end`.

use http::Method;
use jiff::Timestamp;
use mcp_ultra_config::Period;
use mcp_ultra_control::{blocks::BlockView, sessions::SessionView};
use mcp_ultra_domain::{Clock, SystemClock};
use serde::Deserialize;

use super::{Common, PATH, path};
use crate::cli::{
    admin::{AdminApi, encoded, read, with},
    exit::{CommandResult, Failure, print},
};

/// Arguments of `session end`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Their identifiers, as `session list` shows them
    #[arg(value_name = "ID", required_unless_present = "subject")]
    ids: Vec<String>,
    /// All that this caller has open: who somebody is for their issuer (`sub`)
    #[arg(long, conflicts_with = "ids")]
    subject: Option<String>,
    /// Who vouches for that caller, as `session list` shows it; needed to block
    #[arg(long, requires = "subject")]
    issuer: Option<String>,
    /// Refuse the caller for so long, such as 24h, whatever credential they show; at most 30d. Longer
    /// than the access tokens of the issuer last, or they come back
    #[arg(long, value_name = "TIME", requires = "issuer")]
    block_for: Option<Period>,
    #[command(flatten)]
    common: Common,
}

#[derive(Deserialize)]
struct Ended {
    items: Vec<SessionView>,
    block: Option<BlockView>,
}

/// Ends what is open.
pub(super) async fn run(args: Args) -> CommandResult {
    let api = args.common.api()?;
    let Some(subject) = &args.subject else {
        let ended = one_by_one(&api, &args.ids).await?;
        return shown(&ended, None, args.common.gateway.json);
    };
    let mut path = path(&[
        ("subject", Some(subject)),
        ("issuer", args.issuer.as_deref()),
    ]);
    if let Some(time) = args.block_for {
        path = with(&path, "block_until", &until(time)?.to_string());
    }
    let headers = [("if-match", "*")];
    let reply = api.send(Method::DELETE, &path, &headers, None).await?;
    let Ended { items, block } = read(reply).await?;
    shown(&items, block.as_ref(), args.common.gateway.json)
}

/// That time is too long.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("nobody can be blocked for that long")]
#[diagnostic(help("--block-for is at most 30d"))]
struct TooLong;

fn until(time: Period) -> Result<Timestamp, Failure> {
    let end = SystemClock.now().checked_add(time.get());
    let millis = end.and_then(|end| i64::try_from(end.as_millis()).ok());
    let end = millis.and_then(|millis| Timestamp::from_millisecond(millis).ok());
    end.ok_or_else(|| Failure::usage(TooLong))
}

fn shown(ended: &[SessionView], block: Option<&BlockView>, json: bool) -> CommandResult {
    if json {
        let all = serde_json::json!({ "items": ended, "block": block });
        return print(&all.to_string());
    }
    let ended = match ended.len() {
        0 => "Nothing was open.".to_owned(),
        1 => "1 session is ended.".to_owned(),
        many => format!("{many} sessions are ended."),
    };
    print(&match block {
        Some(block) => format!(
            "{ended} The caller is blocked until {}; `session unblock {}` ends that.",
            block.until, block.id
        ),
        None => format!("{ended} Who has a credential that is good may open others."),
    })
}

async fn one_by_one(api: &AdminApi, ids: &[String]) -> Result<Vec<SessionView>, Failure> {
    let mut ended = Vec::new();
    for id in ids {
        let path = format!("{PATH}/{}", encoded(id));
        let tag = api.tag(&path).await?;
        let headers = [("if-match", &*tag)];
        ended.push(read(api.send(Method::DELETE, &path, &headers, None).await?).await?);
    }
    Ok(ended)
}
