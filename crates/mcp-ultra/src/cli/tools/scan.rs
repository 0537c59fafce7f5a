//! `mcp-ultra tools scan`.

use mcp_ultra_domain::scan::{self, Finding, Severity};
use mcp_ultra_protocol::json::quote;

use super::Common;
use crate::{
    cli::{
        exit::{CommandResult, Failure, print},
        progress::Progress,
    },
    client::Tool,
};

/// Arguments of `tools scan`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
}

/// Prints what is found; one of high severity is a failure.
pub(crate) async fn run(args: Args) -> CommandResult {
    let progress = Progress::new("connecting");
    let client = args.common.connect(&progress).await?;
    let progress = Progress::new("listing tools");
    let shown = progress.clone();
    let mut notices = |notice| shown.show(&notice);
    let listed = args
        .common
        .within(&progress, "tools/list", client.tools(&mut notices))
        .await;
    client.close().await;
    let tools = listed?;
    let findings = findings(&tools);
    if args.common.json {
        let texts: Vec<String> = findings.iter().map(|(tool, one)| json(tool, one)).collect();
        print(&format!("[{}]", texts.join(",")))?;
    } else if findings.is_empty() {
        print(&format!("Nothing was found in {} tools.", tools.len()))?;
    } else {
        let lines: Vec<String> = findings.iter().map(|(tool, one)| line(tool, one)).collect();
        print(&lines.join("\n"))?;
    }
    if findings
        .iter()
        .any(|(_, one)| one.severity == Severity::High)
    {
        return Err(Failure::told());
    }
    Ok(())
}

/// What is found in the tools of a server.
pub(super) fn findings(tools: &[Tool]) -> Vec<(&Tool, Finding)> {
    let in_definitions = tools.iter().flat_map(|tool| {
        let findings = scan::definition(&tool.text).into_iter();
        findings.map(move |finding| (tool, finding))
    });
    let names: Vec<&str> = tools.iter().map(|tool| &*tool.name).collect();
    let alike = scan::look_alikes(&names).into_iter();
    let mixed = tools.iter().filter_map(|tool| {
        let finding = scan::mixed_scripts(&tool.name)?;
        Some((tool, finding))
    });
    in_definitions
        .chain(alike.map(|(index, finding)| (&tools[index], finding)))
        .chain(mixed)
        .collect()
}

/// A name may be of the very characters that are looked for: they are written out.
fn line(tool: &Tool, finding: &Finding) -> String {
    let name = scan::printable(&tool.name);
    let Finding {
        kind,
        severity,
        at,
        what,
    } = finding;
    format!("{severity}  {name}  {at}: {kind}: {what}")
}

fn json(tool: &Tool, finding: &Finding) -> String {
    format!(
        "{{\"tool\":{},\"severity\":\"{}\",\"kind\":\"{}\",\"at\":{},\"what\":{}}}",
        quote(&tool.name),
        finding.severity,
        finding.kind,
        quote(&finding.at),
        quote(&finding.what)
    )
}
