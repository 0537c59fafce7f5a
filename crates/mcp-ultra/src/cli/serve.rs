//! `mcp-ultra serve`.

use std::{net::IpAddr, path::PathBuf};

use mcp_ultra_config::Sources;

use super::{
    config,
    exit::{CommandResult, Failure},
};
use crate::wiring::{self, Server, Stop, log, secrets};

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Configuration file [default: the one that `MCP_ULTRA_CONFIG` names, else none]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The IP address to listen on (server.host)
    #[arg(long, value_name = "ADDRESS")]
    host: Option<IpAddr>,
    /// The port to listen on, 0 for any free one (server.port)
    #[arg(long)]
    port: Option<u16>,
    /// What is logged: off, error, warn, info, debug or trace (log.level)
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Any value of the configuration, such as `limits.body=8MiB`; may be repeated
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
}

/// A `--set` that is not a setting.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("--set {0:?} has no `=`")]
#[diagnostic(help(
    "write it as PATH=VALUE, such as --set server.port=3000; `mcp-ultra config explain` lists the paths"
))]
struct SetError(String);

/// Runs the gateway until it is told to stop.
pub(super) fn run(args: &Args) -> CommandResult {
    let sources = sources(args)?;
    let serving = wiring::block_on(async {
        let mut stop = Stop::new()?;
        let starting = async {
            let (loaded, secrets) = match secrets::load(&sources).await {
                Ok(loaded) => loaded,
                Err(error) => return Ok(Err(config::load_failure(error))),
            };
            let level = log::start(&loaded.config.log, log::Output::Stdout);
            for warning in &loaded.warnings {
                tracing::warn!("{warning}");
            }
            let server = Box::pin(Server::start(loaded, Some((sources, secrets)), level)).await?;
            Ok(Ok(server))
        };
        let server = match Box::pin(stop.unless_told(starting)).await? {
            Ok(server) => server,
            Err(failure) => return Ok(Err(failure)),
        };
        tracing::info!(
            target: log::LISTENING,
            endpoint = server.endpoint(),
            version = env!("CARGO_PKG_VERSION"),
            "MCP Ultra listens"
        );
        if let Some(url) = server.admin() {
            tracing::info!(target: log::LISTENING, url, "the admin API listens");
        }
        server.run(stop).await.map(Ok)
    });
    serving.map_err(|error| match error {
        // As any other fault of the configuration.
        wiring::ServeError::Policy(_)
        | wiring::ServeError::Flags(_)
        | wiring::ServeError::Registry(_)
        | wiring::ServeError::LockFile(_) => Failure::usage(error),
        error => Failure::failed(error),
    })?
}

fn sources(args: &Args) -> Result<Sources, Failure> {
    let mut sources =
        Sources::from_process(args.config.as_deref()).map_err(|error| config::failure(&error))?;
    if let Some(host) = args.host {
        sources = sources.with_flag("--host", "server.host", host.to_string());
    }
    if let Some(port) = args.port {
        sources = sources.with_flag("--port", "server.port", port.to_string());
    }
    if let Some(level) = &args.log_level {
        sources = sources.with_flag("--log-level", "log.level", level);
    }
    for setting in &args.set {
        let (path, value) = setting
            .split_once('=')
            .ok_or_else(|| Failure::usage(SetError(setting.clone())))?;
        sources = sources.with_flag("--set", path, value);
    }
    Ok(sources)
}
