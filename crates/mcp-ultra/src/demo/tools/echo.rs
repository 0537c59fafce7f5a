//! `echo`: the canary: no data, no side, and an answer that is known beforehand.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Output, Running, Tool, arguments, shapes};
use crate::demo::call::Call;

pub(super) const TOOL: Tool = Tool {
    name: "echo",
    definition,
    run,
};

fn definition() -> Value {
    json!({
        "title": "Echo",
        "description": "Returns its text unchanged. Shows that the way to the server works.",
        "inputSchema": {
            "type": "object",
            "properties": {"text": {"type": "string"}},
            "required": ["text"],
            "additionalProperties": false,
        },
        "annotations": shapes::annotations(true, false, true),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    text: String,
}

fn run(_call: &Call, given: Value) -> Running<'_> {
    Box::pin(async move {
        let Arguments { text } = arguments(given)?;
        Ok(Output::text(text).into())
    })
}
