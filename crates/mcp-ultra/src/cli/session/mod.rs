//! `mcp-ultra session`: what callers have open at a running gateway, through its admin API. It is
//! nowhere else.

mod end;
mod list;

use super::{
    admin::{self, AdminApi},
    exit::{CommandResult, Failure},
    target,
};

const PATH: &str = "/api/v1/sessions";

/// The commands under `session`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the sessions and streams that the callers of a tenant have open
    List(list::Args),
    /// End sessions and streams; a caller whose credential is still good may open others
    End(end::Args),
}

/// Which gateway, and whose sessions.
#[derive(Debug, clap::Args)]
struct Common {
    /// Admin API of the running gateway, such as `http://127.0.0.1:9090`
    #[arg(long, value_name = "URL", env = "MCP_ULTRA_ADMIN", required = true)]
    admin: String,
    /// Environment variable that holds the credential for the admin API [default:
    /// `MCP_ULTRA_TOKEN`, if set]
    #[arg(long, value_name = "NAME")]
    token_env: Option<String>,
    /// Whose tenant [default: the caller's]
    #[arg(long)]
    tenant: Option<String>,
    /// Only of callers that this issuer vouches for
    #[arg(long)]
    issuer: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs one of them.
pub(crate) async fn run(command: Command) -> CommandResult {
    match command {
        Command::List(args) => list::run(args).await,
        Command::End(args) => end::run(args).await,
    }
}

impl Common {
    fn api(&self) -> Result<AdminApi, Failure> {
        let transport = target::transport(&self.admin, self.token_env.as_deref())?;
        Ok(AdminApi::new(transport, self.tenant.clone()))
    }

    /// The path of all sessions, or of those of one subject.
    fn path(&self, subject: Option<&str>) -> String {
        let parts = [("issuer", self.issuer.as_deref()), ("subject", subject)];
        let given = parts
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        given.fold(PATH.to_owned(), |path, (name, value)| {
            admin::with(&path, name, value)
        })
    }
}
