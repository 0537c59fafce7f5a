//! `mcp-ultra quickstart`: the gateway with embedded defaults and the demo server behind it.

use std::time::Duration;

use mcp_ultra_config::{
    CONFIG_VARIABLE, ConfigError, Loaded, Prefix, SourceFile, Sources, Upstream,
};

mod access;

use access::Access;

use super::{
    config,
    exit::{CommandResult, Failure, print},
};
use crate::wiring::{self, ServeError, Server, Stop, log};

/// What differs from the defaults of the configuration: its log stands beside the screen.
const DEFAULTS: &str = "log: { level: warn, format: text }\n";

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
    /// Show who may call what: policies, and three API keys that see three different catalogs
    #[arg(long)]
    access: bool,
}

/// Runs the gateway until it is told to stop.
pub(super) fn run(args: &Args) -> CommandResult {
    let program =
        std::env::current_exe().map_err(|error| Failure::failed(ServeError::System(error)))?;
    let mut demo = Upstream::stdio("demo", program.to_string_lossy(), ["demo-server"]);
    demo.prefix = Prefix::None;
    let access = if args.access {
        Access::classify(&mut demo);
        Some(wiring::block_on(Access::prepare()).map_err(Failure::failed)?)
    } else {
        None
    };
    let sources = sources(args);
    let mut loaded = load(&sources, access.as_ref()).map_err(|error| config::failure(&error))?;
    loaded.config = loaded.config.with_server(demo);
    let level = log::start(&loaded.config.log, log::Output::Stderr);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(name) = sources.named_file() {
        tracing::warn!(
            "quickstart reads no configuration file: {CONFIG_VARIABLE}={name} is for `mcp-ultra serve`"
        );
    }
    let serving = wiring::block_on(async {
        let mut stop = Stop::new()?;
        let starting = async {
            let server = Box::pin(Server::start(loaded, None, level)).await?;
            drop(tokio::time::timeout(DEMO_TIME, server.gateway().warmed()).await);
            Ok(server)
        };
        let server = Box::pin(stop.unless_told(starting)).await?;
        let [tools, prompts, resources] = server.gateway().listed();
        let offered = format!("{tools} tools, {prompts} prompts, {resources} resources");
        // Without a screen there is nobody to tell; the gateway serves all the same.
        let (program, endpoint) = (program_as_typed(), server.endpoint());
        let how = match &access {
            Some(access) => access.how(&program, &endpoint),
            None => open_to_all(&program, &endpoint),
        };
        drop(print(&screen(&program, &endpoint, &offered, &how)));
        server.run(stop).await
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
fn load(sources: &Sources, access: Option<&Access>) -> Result<Loaded, ConfigError> {
    let sections = access.map(Access::sections).unwrap_or_default();
    mcp_ultra_config::load(&Sources {
        file: Some(SourceFile {
            name: "the defaults of quickstart".into(),
            text: format!("{DEFAULTS}{sections}"),
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

/// What is printed when it runs; `how` says how to call it.
fn screen(program: &str, endpoint: &str, offered: &str, how: &str) -> String {
    format!(
        r"
MCP Ultra {version} is running, with a demo server behind it: {offered}.
Everybody in the demo is invented.

  endpoint   {endpoint}

{how}
Your own servers: write them into a file and run `{program} serve --config FILE`
(`{program} import` makes that file from a client's configuration). Ctrl-C stops.
",
        version = env!("CARGO_PKG_VERSION"),
    )
}

/// How to call a gateway that answers everyone.
fn open_to_all(program: &str, endpoint: &str) -> String {
    format!(
        r#"Point a client at it:

  Claude Code    claude mcp add --transport http mcp-ultra {endpoint}
  VS Code        {program} connect vscode --target {endpoint} --write
  Cursor         {program} connect cursor --target {endpoint} --write
  Claude Desktop {program} connect claude-desktop --target {endpoint} --write
  any other      {{"mcpServers":{{"mcp-ultra":{{"type":"http","url":"{endpoint}"}}}}}}

Or try it from here:

  {program} tools list --target {endpoint}
  {program} smoke --target {endpoint}

Who may call what is shown by `{program} quickstart --access`.
"#
    )
}
