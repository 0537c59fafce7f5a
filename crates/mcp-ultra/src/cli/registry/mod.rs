//! `mcp-ultra registry`: servers, policies and feature flags that are changed while gateways run, through
//! the admin API of one of them. It checks each change together with all that there is, which takes a
//! gateway.

mod delete;
mod history;
mod list;
mod put;
mod rollback;
mod show;

use mcp_ultra_control::registry::EntryView;

use super::{
    admin::{AdminApi, encoded},
    exit::{CommandResult, Failure},
};

/// The commands under `registry`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the servers, policies or flags of the files and of the registry
    List(list::Args),
    /// Print the text of an entry
    Show(show::Args),
    /// Put an entry into the registry, or another one in its place
    Put(put::Args),
    /// Take an entry out of the registry
    Delete(delete::Args),
    /// List the changes of an entry
    History(history::Args),
    /// Put what an entry was before in its place again
    Rollback(rollback::Args),
}

/// What an entry is.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Kind {
    /// An MCP server
    Server,
    /// A text of policies
    Policy,
    /// A feature flag
    Flag,
}

/// Which entry.
#[derive(Debug, clap::Args)]
struct Which {
    /// What it is
    #[arg(value_enum)]
    kind: Kind,
    /// Its name
    name: String,
}

/// Something can't be done with the registry.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
enum RegistryError {
    /// The text can't be read.
    #[error("{0} can't be read: {1}")]
    #[diagnostic(help("name a file, or - for what comes on standard input"))]
    Text(String, std::io::Error),
    /// There is no such entry.
    #[error("nothing called `{0}` is in the registry")]
    #[diagnostic(help("`mcp-ultra registry list KIND` lists what is there"))]
    Unknown(String),
    /// There is no text to go back to.
    #[error("of `{0}` there is no text {1} in its history")]
    #[diagnostic(help("`mcp-ultra registry history KIND NAME` lists the revisions"))]
    NoPast(String, String),
}

/// Runs one of them.
pub(crate) async fn run(command: Command) -> CommandResult {
    match command {
        Command::List(args) => list::run(args).await,
        Command::Show(args) => show::run(args).await,
        Command::Put(args) => put::run(args).await,
        Command::Delete(args) => delete::run(args).await,
        Command::History(args) => history::run(args).await,
        Command::Rollback(args) => rollback::run(args).await,
    }
}

impl Kind {
    /// Where they are in the admin API.
    fn path(self) -> &'static str {
        match self {
            Self::Server => "/api/v1/servers",
            Self::Policy => "/api/v1/policies",
            Self::Flag => "/api/v1/flags",
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Policy => "policy",
            Self::Flag => "flag",
        }
    }
}

impl Which {
    fn path(&self) -> String {
        format!("{}/{}", self.kind.path(), encoded(&self.name))
    }

    /// The `ETag` of what the registry has of that name, if it has something.
    async fn tag(&self, api: &AdminApi) -> Result<Option<String>, Failure> {
        let all: Vec<EntryView> = api.all(self.kind.path()).await?;
        let entry = all.into_iter().find(|entry| entry.name == self.name);
        let revision = entry.and_then(|entry| entry.revision);
        Ok(revision.map(|revision| format!("\"r{revision}\"")))
    }

    fn unknown(&self) -> Failure {
        Failure::failed(RegistryError::Unknown(self.name.clone()))
    }
}
