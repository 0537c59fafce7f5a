//! `mcp-ultra quickstart`: the gateway with embedded defaults and the demo server behind it.

use std::time::Duration;

use mcp_ultra_config::{Config, LogFormat, LogLevel, Prefix, Upstream};

use super::exit::{CommandResult, Failure, print};
use crate::wiring::{self, ServeError, Server, log};

/// How long the demo server may take to come up before the screen is shown without its tools.
const DEMO_TIME: Duration = Duration::from_secs(5);

/// Arguments of `quickstart`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The port to listen on, on this machine only; 0 for any free one
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Log every call
    #[arg(long)]
    verbose: bool,
}

/// Runs the gateway until it is told to stop.
pub(super) fn run(args: &Args) -> CommandResult {
    let program =
        std::env::current_exe().map_err(|error| Failure::failed(ServeError::System(error)))?;
    let mut demo = Upstream::stdio("demo", program.to_string_lossy(), ["demo-server"]);
    demo.prefix = Prefix::None;
    let mut config = Config::quickstart([demo]);
    config.server.port = args.port;
    config.log.level = if args.verbose {
        LogLevel::Info
    } else {
        LogLevel::Warn
    };
    config.log.format = Some(LogFormat::Text);
    let level = log::start(&config.log, log::Output::Stderr);
    let serving = wiring::block_on(async {
        let server = Server::start(config, level)?;
        drop(tokio::time::timeout(DEMO_TIME, server.gateway().warmed()).await);
        let [tools, prompts, resources] = server.gateway().listed();
        let offered = format!("{tools} tools, {prompts} prompts, {resources} resources");
        // Without a screen there is nobody to tell; the gateway serves all the same.
        drop(print(&screen(&server.endpoint(), &offered)));
        server.run(None).await
    });
    serving.map_err(Failure::failed)
}

fn screen(endpoint: &str, offered: &str) -> String {
    format!(
        r#"
MCP Ultra {version} is running, with a demo server behind it: {offered}.
Everybody in the demo is invented.

  endpoint   {endpoint}

Point a client at it:

  Claude Code    claude mcp add --transport http mcp-ultra {endpoint}
  VS Code        mcp-ultra connect vscode --target {endpoint} --write
  Cursor         mcp-ultra connect cursor --target {endpoint} --write
  Claude Desktop mcp-ultra connect claude-desktop --target {endpoint} --write
  any other      {{"mcpServers":{{"mcp-ultra":{{"type":"http","url":"{endpoint}"}}}}}}

Or try it from here:

  mcp-ultra tools list --target {endpoint}
  mcp-ultra smoke --target {endpoint}

Your own servers: write them into a file and run `mcp-ultra serve --config FILE`
(`mcp-ultra import` makes that file from a client's configuration). Ctrl-C stops.
"#,
        version = env!("CARGO_PKG_VERSION"),
    )
}
