//! `mcp-ultra tools approve`.

use mcp_ultra_control::pins::PinView;

use super::{Common, Desk, ToolsError, find, show};
use crate::cli::exit::{CommandResult, Failure, print};

/// Digits of a fingerprint that tell one definition from another that somebody made to look alike.
const LEAST_DIGITS: usize = 32;

/// Arguments of `tools approve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The tools, as `tools pending` shows them
    #[arg(value_name = "SERVER/TOOL", required_unless_present = "all")]
    tools: Vec<String>,
    /// Approve all that waits
    #[arg(long, conflicts_with = "tools")]
    all: bool,
    /// Only the definition with this fingerprint, or one that begins so
    #[arg(long, value_name = "SHA256", conflicts_with = "all", value_parser = fingerprint)]
    fingerprint: Option<String>,
    #[command(flatten)]
    common: Common,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Shows what is approved, and approves exactly that.
pub(crate) async fn run(args: Args) -> CommandResult {
    let desk = args.common.open().await?;
    let outcome = approve(&desk, &args).await;
    desk.close().await;
    let approved = outcome?;
    if args.json {
        return print(&serde_json::json!(approved).to_string());
    }
    if approved.is_empty() {
        return print("No tool waits for approval.");
    }
    let in_store = !args.common.place.is_remote();
    print(&format!(
        "{} approved.{}",
        match approved.len() {
            1 => "1 definition is".to_owned(),
            many => format!("{many} definitions are"),
        },
        if in_store {
            " A running gateway offers what it held back within two seconds."
        } else {
            ""
        }
    ))
}

async fn approve(desk: &Desk, args: &Args) -> Result<Vec<PinView>, Failure> {
    let waiting = desk.all(true).await?;
    let meant: Vec<&PinView> = if args.all {
        waiting.iter().collect()
    } else {
        let tools = args.tools.iter();
        tools
            .map(|tool| find(&waiting, tool).ok_or_else(|| ToolsError::NotWaiting(tool.clone())))
            .collect::<Result<_, _>>()?
    };
    if let Some(wanted) = &args.fingerprint {
        for pin in &meant {
            let there = pin.fingerprint.as_deref().unwrap_or_default();
            if !there.starts_with(&**wanted) {
                let (tool, there) = (show::name(pin), there.to_owned());
                return Err(ToolsError::Other { tool, there }.into());
            }
        }
    }
    let mut approved = Vec::new();
    for pin in meant {
        if !args.json {
            print(&show::tool(pin))?;
        }
        approved.push(desk.approve(pin).await?);
    }
    Ok(approved)
}

fn fingerprint(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !hexadecimal || !(LEAST_DIGITS..=64).contains(&digits.len()) {
        return Err(format!(
            "expected `sha256:` and {LEAST_DIGITS} to 64 hexadecimal digits, as `tools pending` shows it"
        ));
    }
    Ok(format!("sha256:{}", digits.to_ascii_lowercase()))
}
