//! `mcp-ultra-bench`: what the gateway costs, measured beside nginx on the same machine in the
//! same minutes.
//!
//! Three commands: [`upstream`] is the MCP server that is measured through, [`load`] is the client
//! that measures, [`run`] starts both with nginx and the gateway in between and writes the report.
//! Nothing here is part of the product, and nothing of the product is linked in: the gateway is a
//! process like any other.
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "durations, counts and sizes become figures for people; 52 bits are enough for them"
)]

mod error;
mod histogram;
mod issuer;
mod load;
mod message;
mod payload;
mod process;
mod report;
mod run;
mod upstream;
mod verify;
mod wire;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::Result;

/// Benchmark of MCP Ultra: bare upstream, load generator, report.
#[derive(Parser)]
#[command(name = "mcp-ultra-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a bare MCP server that costs as little as possible.
    Upstream(upstream::Args),
    /// Call one tool in a closed loop and print latency, rate and errors.
    Load(load::Args),
    /// Measure direct, nginx and gateway in one run and write the report.
    Run(run::Args),
}

fn main() -> ExitCode {
    match start(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("mcp-ultra-bench: {error}");
            ExitCode::from(2)
        }
    }
}

/// Everything runs on one thread: three processes share the cores of a small machine, and a
/// thread pool's wake-ups in the measuring process would be measured along.
fn start(cli: Cli) -> Result<ExitCode> {
    process::raise_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(error::io("starting the event loop"))?;
    runtime.block_on(async {
        match cli.command {
            Command::Upstream(args) => upstream::serve(args).await.map(|()| ExitCode::SUCCESS),
            Command::Load(args) => load::command(args).await,
            Command::Run(args) => run::command(args).await,
        }
    })
}
