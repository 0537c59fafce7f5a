//! `mcp-ultra flags`: lists, evaluates and checks feature flags without a gateway.

mod check;
mod eval;
mod list;
mod source;

use mcp_ultra_domain::flags::{FlagErrors, FlagProblem};
use serde_json::{Value, json};

use super::exit::{CommandResult, Failure};

/// The commands under `flags`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List flags: what they are, who answers for them, and which have expired
    List(list::Args),
    /// Say which value a flag has for a caller and a call, and why
    Eval(Box<eval::Args>),
    /// Check definitions, and say where each fault is
    Check(check::Args),
}

/// Runs one of them.
pub(crate) async fn run(command: &Command) -> CommandResult {
    match command {
        Command::List(args) => list::run(args).await,
        Command::Eval(args) => eval::run(args).await,
        Command::Check(args) => check::run(args).await,
    }
}

/// Flags that can't be used, each fault on a line of its own with file, line and place.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the flags can't be used: {count} problem{}\n{shown}", if *.count == 1 { "" } else { "s" })]
struct Faults {
    count: usize,
    shown: String,
}

/// Flags with faults, as every command that reads some ends with it.
pub(super) fn failure(errors: &FlagErrors) -> Failure {
    let shown: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
    Failure::usage(Faults {
        count: shown.len(),
        shown: shown.join("\n"),
    })
}

/// A fault as JSON.
pub(super) fn as_json(problem: &FlagProblem) -> Value {
    json!({
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "pointer": problem.pointer,
        "message": problem.message,
        "help": problem.help,
    })
}
