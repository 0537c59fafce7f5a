//! `mcp-ultra session end`.

use http::Method;
use mcp_ultra_control::sessions::SessionView;
use serde::Deserialize;

use super::{Common, PATH};
use crate::cli::{
    admin::{AdminApi, encoded, read},
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
    #[command(flatten)]
    common: Common,
}

#[derive(Deserialize)]
struct Ended {
    items: Vec<SessionView>,
}

/// Ends what is open.
pub(super) async fn run(args: Args) -> CommandResult {
    let api = args.common.api()?;
    let ended = match &args.subject {
        Some(subject) => {
            let path = args.common.path(Some(subject));
            let headers = [("if-match", "*")];
            let reply = api.send(Method::DELETE, &path, &headers, None).await?;
            read::<Ended>(reply).await?.items
        }
        None => one_by_one(&api, &args.ids).await?,
    };
    if args.common.json {
        return print(&serde_json::json!(ended).to_string());
    }
    print(&match ended.len() {
        0 => "Nothing was open.".to_owned(),
        1 => "1 session is ended. Its caller may open another one while the credential is good."
            .to_owned(),
        many => format!(
            "{many} sessions are ended. Their callers may open others while their credentials are good."
        ),
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
