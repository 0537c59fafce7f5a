//! `mcp-ultra import`: the servers of an MCP client's configuration, as ours.

use std::path::PathBuf;

use mcp_ultra_config::{ImportError, Imported, import::Client, import_client_config};
use miette::Diagnostic;

use super::{
    exit::{CommandResult, Failure, print},
    files::{self, FileError},
};

/// Arguments of `import`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Configuration file of the client
    file: PathBuf,
    /// Client that the file is of
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    format: Format,
    /// File to write, which must not exist yet [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// A client.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// By what the file holds
    Auto,
    /// Claude Desktop and Claude Code
    Claude,
    /// Cursor
    Cursor,
    /// VS Code
    Vscode,
}

/// The file holds nothing to import.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{path}: {source}")]
#[diagnostic(help(
    "name the file in which the client keeps its MCP servers, such as claude_desktop_config.json, .mcp.json or .vscode/mcp.json"
))]
struct NotImported {
    path: String,
    source: ImportError,
}

/// Reads the client's file, and prints or writes ours. What has to be done besides goes to
/// standard error.
pub(crate) fn run(args: &Args) -> CommandResult {
    let path = args.file.display().to_string();
    let text = files::read(&args.file).and_then(|text| {
        text.ok_or_else(|| FileError::Read {
            path: path.clone(),
            source: std::io::ErrorKind::NotFound.into(),
        })
    });
    let text = text.map_err(Failure::failed)?;
    let client = match args.format {
        Format::Auto => None,
        Format::Claude => Some(Client::Claude),
        Format::Cursor => Some(Client::Cursor),
        Format::Vscode => Some(Client::VsCode),
    };
    let imported = import_client_config(&text, client)
        .map_err(|source| Failure::usage(NotImported { path, source }))?;
    match &args.output {
        None => print(imported.yaml.trim_end())?,
        Some(output) => {
            files::create(output, &imported.yaml).map_err(Failure::failed)?;
            let servers = imported.servers.join(", ");
            print(&format!("Wrote {}: {servers}", output.display()))?;
        }
    }
    tell(&imported);
    Ok(())
}

fn tell(imported: &Imported) {
    for variable in &imported.variables {
        eprintln!("set {} (it stands in {})", variable.name, variable.source);
    }
    for skipped in &imported.skipped {
        eprintln!("not imported: {}: {}", skipped.name, skipped.reason);
    }
    for note in &imported.notes {
        eprintln!("note: {note}");
    }
}
