//! `mcp-ultra smoke`: is a running server fit for use? Handshake, lists, one call, health.
//!
//! [`steps`] does the steps, [`report`] shows them, [`language`] holds the words.

mod language;
mod report;
mod steps;

use std::time::Duration;

use mcp_ultra_protocol::json::Object;
use miette::Diagnostic;

use language::Language;

use super::{
    duration,
    exit::{CommandResult, Failure, print},
    progress::Progress,
    target::ServerArgs,
};

/// Arguments of `smoke`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// Tool to call [default: one named echo, else a read-only one that needs no arguments]
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// Arguments of that call
    #[arg(long, value_name = "JSON", requires = "tool")]
    arguments: Option<String>,
    /// How long each step may take
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    timeout: Duration,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Language of the report [default: that of the environment, else English]
    #[arg(long, value_enum)]
    lang: Option<Language>,
}

/// `--arguments` is not an object.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("--arguments is not a JSON object: {0}")]
#[diagnostic(help("write it in single quotes: --arguments '{{\"text\": \"hello\"}}'"))]
struct NotAnObject(String);

/// Runs the steps and prints the report; fails where one of them did.
pub(crate) async fn run(args: Args) -> CommandResult {
    let language = args.lang.unwrap_or_else(Language::of_environment);
    if let Some(text) = &args.arguments {
        Object::parse(text).map_err(|error| Failure::usage(NotAnObject(error.to_string())))?;
    }
    let canary = args.tool.map(|name| steps::Canary {
        name,
        arguments: args.arguments.unwrap_or_else(|| "{}".to_owned()),
    });
    let progress = Progress::new(language.texts().connecting);
    let transport = args.server.transport()?;
    let run = steps::run(
        &transport,
        canary,
        args.timeout,
        language.texts(),
        &progress,
    );
    let report = progress.during(run).await;
    if args.json {
        print(&report.to_json())?;
    } else {
        print(&report.to_text(language.texts()))?;
    }
    if report.ok() {
        Ok(())
    } else {
        Err(Failure::told())
    }
}
