//! The command line: one file a command, the arguments beside what they do.
//!
//! The way in is [`run`]. What a command ends with, and the exit codes, are in [`exit`]; errors
//! become text here and nowhere else. The commands that speak MCP do so through
//! [`crate::client`].

mod admin;
mod breaker;
mod cache;
mod completions;
mod config;
mod configured;
mod connect;
mod demo_server;
mod duration;
mod exit;
mod files;
mod flags;
mod grant;
mod import;
mod key;
mod migrate;
mod policy;
mod progress;
mod quickstart;
mod registry;
mod secrets;
mod serve;
mod session;
mod smoke;
mod stdio;
mod store;
mod target;
mod tools;
mod version;

use std::{io::IsTerminal, process::ExitCode};

use clap::{Parser, Subcommand};

pub(crate) use exit::Exit;
use exit::{CommandResult, Failure};

/// One governed endpoint in front of all the MCP servers of an organisation.
#[derive(Debug, Parser)]
#[command(name = "mcp-ultra", version = version::LONG, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The commands, in the order of the help.
#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    Serve(serve::Args),
    /// Run the gateway with a demo server behind it, and say how to connect to it
    Quickstart(quickstart::Args),
    /// Check, explain and describe the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Check, test and explain policies
    #[command(subcommand)]
    Policy(policy::Command),
    /// List, evaluate and check feature flags
    #[command(subcommand)]
    Flags(flags::Command),
    /// Turn the MCP servers of a client's configuration into a configuration of the gateway
    Import(import::Args),
    /// Bring the tables of the configured database to this version
    Migrate(migrate::Args),
    /// Make, list, rotate and revoke API keys
    #[command(subcommand)]
    Key(key::Command),
    /// List and revoke what people have granted at servers
    #[command(subcommand)]
    Grant(grant::Command),
    /// List and end what callers have open at a running gateway
    #[command(subcommand)]
    Session(session::Command),
    /// List the circuit breakers of a running gateway, and force them open or closed
    #[command(subcommand)]
    Breaker(breaker::Command),
    /// Have answers forgotten that a running gateway keeps
    #[command(subcommand)]
    Cache(cache::Command),
    /// List, put, delete and roll back servers, policies and flags of the registry
    #[command(subcommand)]
    Registry(registry::Command),
    /// List, call and check the tools of a running server; lock and approve their definitions
    #[command(subcommand)]
    Tools(tools::Command),
    /// Show where the secrets of a configuration are
    #[command(subcommand)]
    Secrets(secrets::Command),
    /// Check a running server step by step: handshake, lists, one call, health
    Smoke(smoke::Args),
    /// Print or write the configuration that points an MCP client at a gateway
    Connect(connect::Args),
    /// Run as a stdio MCP server that passes everything on to a running gateway
    Stdio(stdio::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
    /// Run the demo MCP server: a small customer service of invented people
    DemoServer(demo_server::Args),
    // The hidden `__guard` is read in `main`, before clap.
}

/// Reads the command line, does what it asks for, and says how it went.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    show_errors_well();
    match dispatch(cli.command) {
        Ok(()) => Exit::Ok.into(),
        Err(Failure { exit, report }) => {
            if let Some(report) = report {
                eprintln!("{report:?}");
            }
            exit.into()
        }
    }
}

/// Sets how miette shows errors.
fn show_errors_well() {
    // Fails only where a hook is set already, and this is the only place that sets one.
    let _ = miette::set_hook(Box::new(|_| {
        let options = miette::MietteHandlerOpts::new();
        Box::new(if std::io::stderr().is_terminal() {
            options.build()
        } else {
            // A log or a test reads it: paths and names stay in one piece.
            options.wrap_lines(false).build()
        })
    }));
}

fn dispatch(command: Command) -> CommandResult {
    match command {
        Command::Serve(args) => serve::run(&args),
        Command::Quickstart(args) => quickstart::run(&args),
        Command::Config(command) => wait_for(config::run(&command)),
        Command::Policy(command) => wait_for(policy::run(&command)),
        Command::Flags(command) => wait_for(flags::run(&command)),
        Command::Import(args) => import::run(&args),
        Command::Migrate(args) => wait_for(migrate::run(args)),
        Command::Key(command) => wait_for(key::run(command)),
        Command::Grant(command) => wait_for(grant::run(command)),
        Command::Session(command) => wait_for(session::run(command)),
        Command::Breaker(command) => wait_for(breaker::run(command)),
        Command::Cache(command) => wait_for(cache::run(command)),
        Command::Registry(command) => wait_for(registry::run(command)),
        Command::Tools(command) => wait_for(tools::run(command)),
        Command::Secrets(command) => wait_for(secrets::run(command)),
        Command::Smoke(args) => wait_for(smoke::run(args)),
        Command::Connect(args) => connect::run(&args),
        Command::Stdio(args) => wait_for(stdio::run(args)),
        Command::Completions(args) => completions::run(&args),
        Command::DemoServer(args) => demo_server::run(&args),
    }
}

/// The system refused a thread or a poller.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the asynchronous runtime could not be started")]
#[diagnostic(help("check the limits on threads and open files (ulimit -a)"))]
struct RuntimeError(#[source] std::io::Error);

/// Runs a command that waits for the network, on one thread: none of them needs more.
fn wait_for(command: impl Future<Output = CommandResult>) -> CommandResult {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(RuntimeError(error)))?;
    let result = runtime.block_on(command);
    // A read of standard input that nobody will answer must not hold the process.
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
