//! `mcp-ultra tools list`.

use comfy_table::{ContentArrangement, Table, presets};
use mcp_ultra_domain::scan::{self as rules, Severity};

use super::{Common, scan};
use crate::{
    cli::{
        exit::{CommandResult, print},
        progress::Progress,
    },
    client::Tool,
};

/// Columns of the description that are shown.
const DESCRIPTION: usize = 70;

/// Arguments of `tools list`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
}

/// Prints the tools.
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
    if args.common.json {
        let texts: Vec<&str> = tools.iter().map(|tool| &*tool.text).collect();
        return print(&format!("[{}]", texts.join(",")));
    }
    if tools.is_empty() {
        return print("The server offers no tools.");
    }
    print(&table(&tools))?;
    match findings(&tools) {
        Some(found) => print(&found),
        None => Ok(()),
    }
}

/// The tools in which something is found, below the table.
fn findings(tools: &[Tool]) -> Option<String> {
    let found = scan::findings(tools);
    let mut lines = vec![String::new()];
    for tool in tools {
        let of_it = found.iter().filter(|(of, _)| std::ptr::eq(*of, tool));
        let all: Vec<_> = of_it.map(|(_, finding)| finding).collect();
        let high = all.iter().filter(|one| one.severity == Severity::High);
        if !all.is_empty() {
            let (name, count, high) = (rules::printable(&tool.name), all.len(), high.count());
            lines.push(format!(
                "! {name}: {count} found by the scan, {high} of high severity"
            ));
        }
    }
    if lines.len() == 1 {
        return None;
    }
    lines.push("`mcp-ultra tools scan` shows what was found.".to_owned());
    Some(lines.join("\n"))
}

fn table(tools: &[Tool]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(["TOOL", "ARGUMENTS", "WHAT IT DOES"]);
    for tool in tools {
        let arguments: Vec<String> = tool
            .arguments()
            .iter()
            .map(|argument| {
                let kind = argument.kind.as_deref().unwrap_or("any");
                let optional = if argument.required { "" } else { "?" };
                format!("{}{optional}:{kind}", argument.name)
            })
            .collect();
        let description = tool.description.as_deref().unwrap_or_default();
        table.add_row([
            printable(&tool.name),
            printable(&arguments.join(" ")),
            cut(&printable(description.lines().next().unwrap_or_default())),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// Without what would steer the terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

fn cut(text: &str) -> String {
    if text.chars().count() <= DESCRIPTION {
        return text.to_owned();
    }
    let begin: String = text.chars().take(DESCRIPTION - 1).collect();
    format!("{}…", begin.trim_end())
}
