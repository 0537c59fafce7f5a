//! `mcp-ultra connect`: points an MCP client at a gateway.
//!
//! [`hosts`] knows what each client wants to have written where; [`merge`] writes it into a file
//! that is somebody else's.

mod hosts;
mod merge;

use std::path::PathBuf;

use miette::Diagnostic;

use hosts::{Host, Surroundings};

use super::{
    exit::{CommandResult, Failure, print},
    files,
    target::TargetArgs,
};

/// Arguments of `connect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Client to connect
    #[arg(value_enum)]
    client: Host,
    #[command(flatten)]
    target: TargetArgs,
    /// Name that the client shows
    #[arg(long, default_value = "mcp-ultra", value_parser = name)]
    name: String,
    /// Write it into the client's configuration; everything else in there stays
    #[arg(long)]
    write: bool,
    /// Configuration file [default: where the client looks for it]
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
}

/// Nobody knows where the file is.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the configuration file of {0} can't be found: no home folder is set")]
#[diagnostic(help("name the file with --config"))]
struct NoPlace(&'static str);

/// The file is not what the client writes.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{path} was left as it is: {reason}")]
#[diagnostic(help(
    "correct it, or name another file with --config; without --write this command prints what to add"
))]
struct NotMergeable {
    path: String,
    reason: merge::MergeError,
}

fn name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !text.is_empty() && text.len() <= 64 && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("a name has 1 to 64 letters, digits, - and _".to_owned())
    }
}

/// Prints the configuration, or writes it.
pub(crate) fn run(args: &Args) -> CommandResult {
    let target = args.target.parse()?.to_string();
    let surroundings = Surroundings::of_process();
    let path = args
        .config
        .clone()
        .or_else(|| args.client.path(&surroundings));
    if !args.write {
        let place = path.map(|path| path.display().to_string());
        return print(
            &args
                .client
                .explain(&args.name, &target, place.as_deref(), &surroundings),
        );
    }
    let path = path.ok_or_else(|| Failure::usage(NoPlace(args.client.title())))?;
    let shown = path.display().to_string();
    let old = files::read(&path).map_err(Failure::failed)?;
    let entry = args.client.entry(&target, &surroundings);
    let merged =
        merge::set(old.as_deref(), args.client.key(), &args.name, &entry).map_err(|reason| {
            Failure::failed(NotMergeable {
                path: shown.clone(),
                reason,
            })
        })?;
    if old.as_deref() == Some(merged.as_str()) {
        return print(&format!("{shown} has it already."));
    }
    files::write(&path, &merged).map_err(Failure::failed)?;
    let done = if old.is_some() { "Added to" } else { "Wrote" };
    print(&format!(
        "{done} {shown}. {}",
        args.client.next_step(&args.name, &shown)
    ))
}
