//! `add_note`: writes free text about a customer, and tells those who follow the record.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Failure, Output, Running, Tool, arguments, shapes, unknown_customer};
use crate::demo::{call::Call, events::Change};

/// The longest note, in characters.
const MAX_TEXT: usize = 4000;
/// All notes together: a demo that runs for weeks must not fill the memory.
const MAX_NOTES: usize = 10_000;

pub(super) const TOOL: Tool = Tool {
    name: "add_note",
    definition,
    run,
};

fn definition() -> Value {
    json!({
        "title": "Add a note",
        "description": "Adds a note in free text to a customer. The note is kept until the demo \
            server ends.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "customer_id": shapes::id("cus", "Customer id"),
                "text": {"type": "string", "minLength": 1, "maxLength": MAX_TEXT},
            },
            "required": ["customer_id", "text"],
            "additionalProperties": false,
        },
        "outputSchema": {
            "type": "object",
            "properties": {"note": shapes::note()},
            "required": ["note"],
        },
        "annotations": shapes::annotations(false, false, false),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    customer_id: String,
    text: String,
}

fn run(call: &Call, given: Value) -> Running<'_> {
    Box::pin(async move {
        let Arguments { customer_id, text } = arguments(given)?;
        if text.trim().is_empty() || text.chars().count() > MAX_TEXT {
            return Err(Failure::refused(format!(
                "The text must have 1 to {MAX_TEXT} characters."
            )));
        }
        let store = &call.server.store;
        if store.note_count() >= MAX_NOTES {
            return Err(Failure::refused(
                "The demo holds no more notes. Restart it to forget the old ones.",
            ));
        }
        let (note, first) = store
            .add_note(&customer_id, &text)
            .ok_or_else(|| unknown_customer(&customer_id))?;
        let events = &call.server.events;
        events.tell(Change::Resource(format!("customer://{customer_id}")));
        events.tell(Change::Resource(format!("notes://{customer_id}")));
        if first {
            // Their notes are listed from now on.
            events.tell(Change::ResourceList);
        }
        Ok(Output::structured(json!({"note": note})).into())
    })
}
