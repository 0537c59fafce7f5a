//! `mcp-ultra quickstart`: the gateway with embedded defaults and the demo server behind it.

use std::time::Duration;

use mcp_ultra_config::{
    CONFIG_VARIABLE, ConfigError, Loaded, Prefix, SourceFile, Sources, Upstream,
};

use super::{
    config,
    exit::{CommandResult, Failure, print},
};
use crate::wiring::{self, ServeError, Server, log};

/// What differs from the defaults of the configuration: its log stands beside the screen.
const DEFAULTS: &str = "log: { level: warn, format: text }";

/// How long the demo server may take to come up before the screen is shown without its tools.
const DEMO_TIME: Duration = Duration::from_secs(5);

/// Arguments of `quickstart`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The port to listen on, 0 for any free one (server.port) [default: 8080]
    #[arg(long)]
    port: Option<u16>,
    /// Log every call (log.level=info)
    #[arg(long)]
    verbose: bool,
}

/// Runs the gateway until it is told to stop.
pub(super) fn run(args: &Args) -> CommandResult {
    let program =
        std::env::current_exe().map_err(|error| Failure::failed(ServeError::System(error)))?;
    let mut demo = Upstream::stdio("demo", program.to_string_lossy(), ["demo-server"]);
    demo.prefix = Prefix::None;
    let sources = sources(args);
    let loaded = load(&sources).map_err(|error| config::failure(&error))?;
    let config = loaded.config.with_server(demo);
    let level = log::start(&config.log, log::Output::Stderr);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(name) = sources.named_file() {
        tracing::warn!(
            "quickstart reads no configuration file: {CONFIG_VARIABLE}={name} is for `mcp-ultra serve`"
        );
    }
    let serving = wiring::block_on(async {
        let server = Server::start(config, None, level).await?;
        drop(tokio::time::timeout(DEMO_TIME, server.gateway().warmed()).await);
        let [tools, prompts, resources] = server.gateway().listed();
        let offered = format!("{tools} tools, {prompts} prompts, {resources} resources");
        // Without a screen there is nobody to tell; the gateway serves all the same.
        drop(print(&screen(
            &program_as_typed(),
            &server.endpoint(),
            &offered,
        )));
        server.run(None).await
    });
    serving.map_err(Failure::failed)
}

/// The environment, below the flags.
fn sources(args: &Args) -> Sources {
    let mut sources = Sources::from_environment();
    if let Some(port) = args.port {
        sources = sources.with_flag("--port", "server.port", port.to_string());
    }
    if args.verbose {
        sources = sources.with_flag("--verbose", "log.level", "info");
    }
    sources
}

/// What `sources` say, above the defaults of this command.
fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    mcp_ultra_config::load(&Sources {
        file: Some(SourceFile {
            name: "the defaults of quickstart".into(),
            text: DEFAULTS.into(),
        }),
        ..sources.clone()
    })
}

/// How this program was started, for commands to paste: after `make run` it is in no folder of the
/// user's path.
fn program_as_typed() -> String {
    let typed = std::env::args().next().unwrap_or_default();
    let is_a_path = typed.contains('/') && !typed.contains([' ', '\'']);
    if is_a_path {
        typed
    } else {
        "mcp-ultra".to_owned()
    }
}

fn screen(program: &str, endpoint: &str, offered: &str) -> String {
    format!(
        r#"
MCP Ultra {version} is running, with a demo server behind it: {offered}.
Everybody in the demo is invented.

  endpoint   {endpoint}

Point a client at it:

  Claude Code    claude mcp add --transport http mcp-ultra {endpoint}
  VS Code        {program} connect vscode --target {endpoint} --write
  Cursor         {program} connect cursor --target {endpoint} --write
  Claude Desktop {program} connect claude-desktop --target {endpoint} --write
  any other      {{"mcpServers":{{"mcp-ultra":{{"type":"http","url":"{endpoint}"}}}}}}

Or try it from here:

  {program} tools list --target {endpoint}
  {program} smoke --target {endpoint}

Your own servers: write them into a file and run `{program} serve --config FILE`
(`{program} import` makes that file from a client's configuration). Ctrl-C stops.
"#,
        version = env!("CARGO_PKG_VERSION"),
    )
}
