//! `mcp-ultra tools`: what a server offers, what is hidden in it, one call of it, and whether anybody
//! has agreed to it.

mod arguments;
mod call;
mod content;
mod list;
mod pins;
mod scan;

pub(crate) use content::{is_error, readable};

use std::time::Duration;

use crate::{
    cli::{
        duration,
        exit::{CommandResult, Failure},
        progress::Progress,
        target::ServerArgs,
    },
    client::{Client, ClientError},
};

/// The commands under `tools`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the tools of a server
    List(list::Args),
    /// Call a tool and print what it returns
    Call(call::Args),
    /// Look for hidden text, instructions to the model and look-alike names in the tools of a server
    ///
    /// Ends with 1 where something of high severity is found.
    Scan(scan::Args),
    /// Show the tools of a gateway whose definitions wait for approval, and what differs in them
    Pending(pins::pending::Args),
    /// Agree to definitions of tools that wait for approval
    Approve(pins::approve::Args),
    /// Forget tools that their servers offer no more
    ///
    /// Where such a tool comes back it is seen for the first time. One that is offered is not forgotten.
    Forget(pins::forget::Args),
    /// Write a lock file: the fingerprints of all tools that the servers of a gateway offer
    ///
    /// The servers of the configuration are asked, or, with `--admin`, a running gateway is.
    Lock(pins::lock::Args),
}

/// What all of them take.
#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    server: ServerArgs,
    /// Print JSON, as the server sent it
    #[arg(long)]
    json: bool,
    /// How long to wait for all of it
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration::parse)]
    timeout: Duration,
}

/// Runs one of them.
pub(crate) async fn run(command: Command) -> CommandResult {
    match command {
        Command::List(args) => list::run(args).await,
        Command::Call(args) => call::run(args).await,
        Command::Scan(args) => scan::run(args).await,
        Command::Pending(args) => pins::pending::run(args).await,
        Command::Approve(args) => pins::approve::run(args).await,
        Command::Forget(args) => pins::forget::run(args).await,
        Command::Lock(args) => Box::pin(pins::lock::run(args)).await,
    }
}

impl Common {
    /// Does `work` with the line of progress, within the time.
    async fn within<T>(
        &self,
        progress: &Progress,
        method: &str,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, Failure> {
        let timed = async {
            tokio::time::timeout(self.timeout, work)
                .await
                .unwrap_or_else(|_| {
                    Err(ClientError::Timeout {
                        method: method.to_owned(),
                        seconds: self.timeout.as_secs_f64(),
                    })
                })
        };
        progress.during(timed).await.map_err(Failure::failed)
    }

    async fn connect(&self, progress: &Progress) -> Result<Client, Failure> {
        let transport = self.server.transport()?;
        self.within(progress, "server/discover", Client::connect(transport))
            .await
    }
}
