//! The client that the public conformance suite starts: see `mcp_ultra_testkit::driver`.

use std::process::ExitCode;

use clap::Parser;
use mcp_ultra_testkit::driver::{DriverError, Setting, run};

/// Plays a client scenario of the conformance suite through the gateway at `MCP_ULTRA_BIN`.
#[derive(Parser)]
#[command(name = "conformance-client", version)]
struct Arguments {
    /// Speak to the suite's server without a gateway: tries this client itself
    #[arg(long)]
    direct: bool,
    /// URL of the suite's own server
    server: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    match play(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("conformance-client: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn play(arguments: Arguments) -> Result<(), DriverError> {
    run(&Setting::from_environment(
        arguments.server,
        arguments.direct,
    )?)
    .await
}
