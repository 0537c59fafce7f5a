//! `mcp-ultra demo-server`.

use std::net::SocketAddr;

use super::{
    exit::{CommandResult, Failure},
    wait_for,
};
use crate::demo::{self, DemoError};

/// Arguments of `demo-server`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Serve streamable HTTP on this loopback address, such as 127.0.0.1:8090, instead of stdio
    #[arg(long, value_name = "ADDRESS")]
    http: Option<SocketAddr>,
}

/// Runs the demo server until its client goes or it is told to stop.
pub(super) fn run(args: &Args) -> CommandResult {
    let address = args.http;
    wait_for(async move {
        let served = match address {
            None => demo::serve_stdio().await,
            Some(address) => demo::serve_http(address).await,
        };
        served.map_err(|error| match error {
            DemoError::NotLoopback(_) => Failure::usage(error),
            _ => Failure::failed(error),
        })
    })
}
