//! `mcp-ultra session`: what callers have open at a running gateway, through its admin API. It is
//! nowhere else.

mod blocked;
mod end;
mod list;
mod unblock;

use super::{
    admin::{self, AdminApi, AdminArgs},
    exit::{CommandResult, Failure},
};

const PATH: &str = "/api/v1/sessions";
const BLOCKS: &str = "/api/v1/blocks";

/// The commands under `session`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the sessions and streams that the callers of a tenant have open
    List(list::Args),
    /// End sessions and streams; a caller whose credential is still good may open others, unless
    /// blocked
    End(end::Args),
    /// List the callers of a tenant who are blocked
    Blocked(blocked::Args),
    /// Let a blocked caller in again before the block is over
    Unblock(unblock::Args),
}

/// Which gateway, and whose things.
#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    gateway: AdminArgs,
    /// Whose tenant [default: the caller's]
    #[arg(long)]
    tenant: Option<String>,
}

/// Runs one of them.
pub(crate) async fn run(command: Command) -> CommandResult {
    match command {
        Command::List(args) => list::run(args).await,
        Command::End(args) => end::run(args).await,
        Command::Blocked(args) => blocked::run(args).await,
        Command::Unblock(args) => unblock::run(args).await,
    }
}

impl Common {
    fn api(&self) -> Result<AdminApi, Failure> {
        self.gateway.api_for(self.tenant.as_deref())
    }
}

/// The path of the sessions that have these parameters, where they are given.
fn path(parameters: &[(&str, Option<&str>)]) -> String {
    let given = parameters
        .iter()
        .filter_map(|(name, value)| Some((name, (*value)?)));
    given.fold(PATH.to_owned(), |path, (name, value)| {
        admin::with(&path, name, value)
    })
}
