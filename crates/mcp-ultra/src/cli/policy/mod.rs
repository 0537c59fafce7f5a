//! `mcp-ultra policy`: checks, tests and explains policies without a gateway.

mod check;
mod explain;
mod request;
mod source;
mod test;

use std::{path::PathBuf, sync::Arc};

use mcp_ultra_domain::{
    flags::Flags,
    policy::{Policies, PolicyErrors, Problem},
};
use serde_json::{Value, json};

pub(super) use request::{Around, What, Who};

use super::exit::{CommandResult, Exit, Failure, print};
use crate::wiring::policy::sources;

/// The commands under `policy`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Check policies against the schema, and say where each fault is
    Check(check::Args),
    /// Run the cases of a file: who may do what, and by which policy
    Test(test::Args),
    /// Say which policies decide one request
    Explain(Box<explain::Args>),
}

/// Runs one of them.
pub(crate) async fn run(command: &Command) -> CommandResult {
    match command {
        Command::Check(args) => check::run(args).await,
        Command::Test(args) => test::run(args),
        Command::Explain(args) => explain::run(args).await,
    }
}

/// Policies that can't be used, each fault on a line of its own with file, line and column.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the policies can't be used: {count} problem{}\n{shown}", if *.count == 1 { "" } else { "s" })]
struct Faults {
    count: usize,
    shown: String,
}

/// Policies with faults, as every command that reads some ends with it.
pub(super) fn failure(errors: &PolicyErrors) -> Failure {
    let shown: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
    Failure::usage(Faults {
        count: shown.len(),
        shown: shown.join("\n"),
    })
}

fn compile(
    paths: &[PathBuf],
    time_zone: Option<&str>,
    flags: Option<Arc<Flags>>,
) -> Result<Policies, PolicyErrors> {
    Policies::compile_with_flags(&sources(paths)?, time_zone, flags)
}

/// A fault as JSON.
pub(super) fn as_json(problem: &Problem) -> Value {
    json!({
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "message": problem.message,
        "help": problem.help,
    })
}

/// The faults as JSON, and the exit code that goes with them.
fn failed_as_json(errors: &PolicyErrors) -> CommandResult {
    let problems: Vec<Value> = errors.0.iter().map(as_json).collect();
    print(&format!(
        "{:#}",
        json!({ "valid": false, "problems": problems })
    ))?;
    Err(Failure {
        exit: Exit::Usage,
        report: None,
    })
}
