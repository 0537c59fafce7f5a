//! `mcp-ultra breaker`: the circuit breakers of a running gateway, through its admin API. They are
//! nowhere else.

mod force;
mod list;

use mcp_ultra_control::breakers::BreakerView;

use super::{
    admin::AdminApi,
    exit::{CommandResult, Failure},
    target,
};

const PATH: &str = "/api/v1/breakers";

/// The commands under `breaker`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the circuit breakers of all servers
    List(list::Args),
    /// Force the breaker of a server open or closed, or let it decide by itself again
    Force(force::Args),
}

/// Which gateway, and how to print.
#[derive(Debug, clap::Args)]
struct Common {
    /// Admin API of the running gateway, such as `http://127.0.0.1:9090`
    #[arg(long, value_name = "URL", env = "MCP_ULTRA_ADMIN", required = true)]
    admin: String,
    /// Environment variable that holds the credential for the admin API [default:
    /// `MCP_ULTRA_TOKEN`, if set]
    #[arg(long, value_name = "NAME")]
    token_env: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs one of them.
pub(crate) async fn run(command: Command) -> CommandResult {
    match command {
        Command::List(args) => list::run(args).await,
        Command::Force(args) => force::run(args).await,
    }
}

impl Common {
    fn api(&self) -> Result<AdminApi, Failure> {
        let transport = target::transport(&self.admin, self.token_env.as_deref())?;
        Ok(AdminApi::new(transport, None))
    }
}

/// What it does, and why, in words.
fn state(breaker: &BreakerView) -> String {
    match (breaker.forced, breaker.retry_after) {
        (Some(_), _) => format!("{}, forced", breaker.state),
        (None, Some(seconds)) => format!("{}, for {seconds} s more", breaker.state),
        (None, None) => breaker.state.clone(),
    }
}
