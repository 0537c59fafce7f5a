//! `mcp-ultra tools call`.

use super::{Common, arguments, content};
use crate::cli::{
    exit::{CommandResult, Failure, print},
    progress::Progress,
};

/// Arguments of `tools call`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Tool to call, as `tools list` names it
    name: String,
    /// All arguments as one JSON object
    #[arg(long, value_name = "JSON", conflicts_with = "pairs")]
    arguments: Option<String>,
    /// One argument; its type is taken from the tool's schema (may be repeated)
    #[arg(long = "arg", id = "pairs", value_name = "KEY=VALUE")]
    pairs: Vec<String>,
    #[command(flatten)]
    common: Common,
}

/// The tool says that it failed. What it says is in its output.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the tool {0} reported an error")]
#[diagnostic(help("its message is above: check the arguments it names"))]
struct ToolError(String);

/// The server has no such tool.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the server has no tool \"{name}\"{}", near.as_ref().map_or_else(String::new, |n| format!("; did you mean \"{n}\"?")))]
#[diagnostic(help("`mcp-ultra tools list` shows what it has"))]
struct UnknownTool {
    name: String,
    near: Option<String>,
}

/// Calls the tool and prints what it returns.
pub(crate) async fn run(args: Args) -> CommandResult {
    let pairs = args
        .pairs
        .iter()
        .map(|text| arguments::pair(text))
        .collect::<Result<Vec<_>, _>>()
        .map_err(Failure::usage)?;
    // Said before anything is connected, where it can be.
    if args.arguments.is_some() {
        arguments::build(args.arguments.as_deref(), &[], None).map_err(Failure::usage)?;
    }
    let progress = Progress::new("connecting");
    let client = args.common.connect(&progress).await?;
    let result = call(&args, &client, &pairs).await;
    client.close().await;
    let result = result?;
    let failed = content::is_error(&result);
    if args.common.json {
        print(&result)?;
    } else {
        print(&content::readable(&result))?;
    }
    if failed {
        return Err(Failure::failed(ToolError(args.name)));
    }
    Ok(())
}

async fn call(
    args: &Args,
    client: &crate::client::Client,
    pairs: &[(String, String)],
) -> Result<mcp_ultra_protocol::ByteString, Failure> {
    let progress = Progress::new("listing tools");
    let shown = progress.clone();
    let mut notices = |notice| shown.show(&notice);
    let tools = args
        .common
        .within(&progress, "tools/list", client.tools(&mut notices))
        .await?;
    let Some(tool) = tools.iter().find(|tool| tool.name == args.name) else {
        let near = tools.iter().map(|tool| &tool.name).find(|name| {
            name.eq_ignore_ascii_case(&args.name) || name.ends_with(&format!("_{}", args.name))
        });
        return Err(Failure::failed(UnknownTool {
            name: args.name.clone(),
            near: near.cloned(),
        }));
    };
    let arguments =
        arguments::build(args.arguments.as_deref(), pairs, Some(tool)).map_err(Failure::usage)?;
    let progress = Progress::new(format!("calling {}", args.name));
    let shown = progress.clone();
    let mut notices = |notice| shown.show(&notice);
    let called = client.call(&args.name, &arguments, Some(tool), &mut notices);
    args.common.within(&progress, "tools/call", called).await
}
