//! `get_customer`: everything about one person.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Output, Running, Tool, arguments, shapes, unknown_customer};
use crate::demo::call::Call;

pub(super) const TOOL: Tool = Tool {
    name: "get_customer",
    definition,
    run,
};

fn definition() -> Value {
    json!({
        "title": "Read a customer",
        "description": "Returns the record of one customer (CPF, e-mail, telephone, date of \
            birth, address) with the notes about them.",
        "inputSchema": {
            "type": "object",
            "properties": {"customer_id": shapes::id("cus", "Customer id")},
            "required": ["customer_id"],
            "additionalProperties": false,
        },
        "outputSchema": {
            "type": "object",
            "properties": {
                "customer": shapes::customer(),
                "notes": {"type": "array", "items": shapes::note()},
            },
            "required": ["customer", "notes"],
        },
        "annotations": shapes::annotations(true, false, true),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    customer_id: String,
}

fn run(call: &Call, given: Value) -> Running<'_> {
    Box::pin(async move {
        let Arguments { customer_id } = arguments(given)?;
        let store = &call.server.store;
        let customer = store
            .customer(&customer_id)
            .ok_or_else(|| unknown_customer(&customer_id))?;
        let notes = store.notes_of(&customer_id);
        Ok(Output::structured(json!({"customer": customer, "notes": notes})).into())
    })
}
