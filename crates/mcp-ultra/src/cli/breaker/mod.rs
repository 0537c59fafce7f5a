//! `mcp-ultra breaker`: the circuit breakers of a running gateway, through its admin API. They are
//! nowhere else.

mod force;
mod list;

use mcp_ultra_control::breakers::BreakerView;

use super::exit::CommandResult;

const PATH: &str = "/api/v1/breakers";

/// The commands under `breaker`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the circuit breakers of all servers, and of what the gateway itself needs
    List(list::Args),
    /// Force the breaker of a server, or of what the gateway needs, open or closed, or let it decide by itself again
    Force(force::Args),
}

/// Runs one of them.
pub(crate) async fn run(command: Command) -> CommandResult {
    match command {
        Command::List(args) => list::run(args).await,
        Command::Force(args) => force::run(args).await,
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
