//! `mcp-ultra tools lock`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use mcp_ultra_control::pins::PinView;
use mcp_ultra_domain::{
    pinning::{LockChange, LockFile},
    scan::printable,
};

use super::{Common, show};
use crate::{
    cli::{
        duration,
        exit::{CommandResult, Failure, print},
        files,
        progress::Progress,
    },
    wiring::pinning::{self, ReadError},
};

/// Arguments of `tools lock`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    /// The lock file [default: `pinning.lock_file` of the configuration]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Write nothing; end with 1 where the file differs from what the servers offer
    #[arg(long)]
    check: bool,
    /// How long to wait for the servers
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration::parse)]
    timeout: Duration,
}

/// There is no lock file to write.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("it is not known which file is the lock file")]
#[diagnostic(help("name it with --file, or in pinning.lock_file of the configuration"))]
struct NoFile;

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::failed(error)
    }
}

/// Writes the fingerprints of what the servers offer, or compares them with the file.
pub(crate) async fn run(args: Args) -> CommandResult {
    let (file, tools) = if args.common.place.is_remote() {
        let file = args.file.clone().ok_or_else(|| Failure::usage(NoFile))?;
        let desk = args.common.open().await?;
        (file, desk.all(false).await?)
    } else {
        let (config, _secrets) = args.common.place.load().await?;
        let named = config.pinning.lock_file.as_deref().map(PathBuf::from);
        let file = args.file.clone().or(named);
        let file = file.ok_or_else(|| Failure::usage(NoFile))?;
        let progress = Progress::new("asking the servers");
        let found = progress.during(pinning::read_servers(config, args.timeout));
        let found = found.await?;
        (file, found.iter().map(PinView::of).collect())
    };
    let tools: Vec<PinView> = tools.into_iter().filter(|tool| tool.offered).collect();
    let new = lock_of(&tools);
    let old = if file.exists() {
        pinning::read(&file).map_err(Failure::usage)?
    } else {
        LockFile::default()
    };
    let changes = old.changes(&new);
    for tool in tools.iter().filter(|tool| !tool.findings.is_empty()) {
        eprintln!("{}", findings(tool));
    }
    finish(&file, &new, &changes, args.check)
}

fn finish(file: &Path, new: &LockFile, changes: &[LockChange], check: bool) -> CommandResult {
    for change in changes {
        print(&line(change))?;
    }
    let shown = file.display();
    if check {
        if changes.is_empty() && file.exists() {
            return print(&format!("{shown} is what the servers offer."));
        }
        print(&format!("{shown} is not what the servers offer."))?;
        return Err(Failure::told());
    }
    files::write(file, &new.text()).map_err(Failure::failed)?;
    let count: usize = new
        .servers
        .values()
        .map(std::collections::BTreeMap::len)
        .sum();
    let servers = new.servers.len();
    print(&format!("{shown}: {count} tools of {servers} servers."))
}

fn lock_of(tools: &[PinView]) -> LockFile {
    let mut file = LockFile::default();
    for tool in tools {
        let print = tool.fingerprint.as_deref().and_then(|one| one.parse().ok());
        if let Some(print) = print {
            let server = file.servers.entry(tool.server.clone()).or_default();
            server.insert(tool.tool.clone(), print);
        }
    }
    file
}

fn findings(tool: &PinView) -> String {
    let found = tool.findings.iter();
    let lines = found.map(|one| {
        let (severity, at, kind, what) = (&one.severity, &one.at, &one.kind, &one.what);
        format!("! {}  {severity} {at}: {kind}: {what}", show::name(tool))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn line(change: &LockChange) -> String {
    let LockChange {
        server,
        tool,
        before,
        after,
    } = change;
    let name = printable(&format!("{server}/{tool}"));
    match (before, after) {
        (Some(before), Some(after)) => format!("~ {name}  {before} -> {after}"),
        (None, Some(after)) => format!("+ {name}  {after}"),
        (Some(before), None) => format!("- {name}  {before}"),
        (None, None) => name,
    }
}
