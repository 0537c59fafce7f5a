//! `flaky`: fails in the way that it is asked to, to see what a gateway makes of it.

use std::{io::Write, time::Duration};

use mcp_ultra_protocol::WireError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Failure, Output, Running, Tool, arguments, shapes};
use crate::demo::call::{Call, Transport};

const LONGEST: u64 = 60;
const USUAL: u64 = 30;
/// The exit code of a crash on demand (`EX_SOFTWARE` of sysexits).
const CRASH: i32 = 70;

pub(super) const TOOL: Tool = Tool {
    name: "flaky",
    definition,
    run,
};

fn definition() -> Value {
    json!({
        "title": "Fail on purpose",
        "description": "Fails in the chosen way: tool_error (a result with isError), \
            protocol_error (a JSON-RPC error), slow (answers late, without progress), crash \
            (ends the server process; only over stdio).",
        "inputSchema": {
            "type": "object",
            "properties": {
                "mode": {
                    "type": "string",
                    "enum": ["tool_error", "protocol_error", "slow", "crash"],
                },
                "seconds": {
                    "type": "integer",
                    "description": "How late the mode slow answers",
                    "minimum": 0,
                    "maximum": LONGEST,
                    "default": USUAL,
                },
            },
            "required": ["mode"],
            "additionalProperties": false,
        },
        "annotations": shapes::annotations(true, false, true),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    mode: Mode,
    seconds: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    ToolError,
    ProtocolError,
    Slow,
    Crash,
}

fn run(call: &Call, given: Value) -> Running<'_> {
    Box::pin(async move {
        let Arguments { mode, seconds } = arguments(given)?;
        let seconds = seconds.unwrap_or(USUAL);
        if seconds > LONGEST {
            return Err(Failure::refused(format!(
                "\"seconds\" must be 0 to {LONGEST}."
            )));
        }
        match mode {
            Mode::ToolError => Err(Failure::refused("The tool failed, as it was asked to.")),
            Mode::ProtocolError => {
                Err(WireError::internal("The request failed, as it was asked to.").into())
            }
            Mode::Slow => {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                Ok(Output::text(format!("Answered after {seconds} seconds.")).into())
            }
            Mode::Crash if call.transport == Transport::Http => Err(Failure::refused(
                "A crash would take the other clients along: this mode works only over stdio.",
            )),
            Mode::Crash => {
                // Nothing is left to do about it where stderr is gone too.
                let _ = writeln!(std::io::stderr(), "demo server: crash on demand");
                std::process::exit(CRASH)
            }
        }
    })
}
