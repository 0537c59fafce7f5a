//! `mcp-ultra cache purge`.

use http::Method;
use serde::{Deserialize, Serialize};

use crate::cli::{
    admin::{AdminArgs, read, with},
    exit::{CommandResult, print},
};

const PATH: &str = "/api/v1/cache";

/// Arguments of `cache purge`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only answers of this server, by its name in the configuration
    #[arg(long)]
    server: Option<String>,
    /// Only answers to this caller alone: who somebody is for their issuer (`sub`)
    #[arg(long, requires = "issuer")]
    subject: Option<String>,
    /// Who vouches for that caller, as `session list` shows it
    #[arg(long, requires = "subject")]
    issuer: Option<String>,
    /// Whose tenant [default: the caller's]
    #[arg(long)]
    tenant: Option<String>,
    /// Only say how many answers that would be
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    gateway: AdminArgs,
}

#[derive(Serialize, Deserialize)]
struct Forgotten {
    tenant: String,
    answers: usize,
}

/// Has them forgotten.
pub(super) async fn run(args: Args) -> CommandResult {
    let api = args.gateway.api_for(args.tenant.as_deref())?;
    let parameters = [
        ("server", args.server.as_deref()),
        ("subject", args.subject.as_deref()),
        ("issuer", args.issuer.as_deref()),
        ("dry_run", args.dry_run.then_some("true")),
    ];
    let given = parameters
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    let path = given.fold(PATH.to_owned(), |path, (name, value)| {
        with(&path, name, value)
    });
    let headers = [("if-match", "*")];
    let reply = api.send(Method::DELETE, &path, &headers, None).await?;
    let forgotten: Forgotten = read(reply).await?;
    if args.gateway.json {
        return print(&serde_json::json!(forgotten).to_string());
    }
    print(&said(forgotten.answers, args.dry_run))
}

fn said(answers: usize, dry_run: bool) -> String {
    let (answers, are) = match answers {
        1 => ("1 answer".to_owned(), "is"),
        many => (format!("{many} answers"), "are"),
    };
    if dry_run {
        return format!("{answers} in the memory of this gateway would be forgotten.");
    }
    format!(
        "{answers} in the memory of this gateway {are} forgotten, and what others keep of these too, as soon as they are told."
    )
}
