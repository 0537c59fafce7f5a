//! `find_customer`: from what a person says about themselves to their id.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Failure, Output, Running, Tool, arguments, shapes};
use crate::demo::call::Call;

pub(super) const TOOL: Tool = Tool {
    name: "find_customer",
    definition,
    run,
};

fn definition() -> Value {
    json!({
        "title": "Find a customer",
        "description": "Finds customers by a part of their name or e-mail, or by CPF (with or \
            without punctuation). Case and accents do not count.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "query": {
                    "type": "string",
                    "description": "Name, e-mail or CPF",
                    "minLength": 2,
                    "maxLength": 200,
                },
            },
            "required": ["query"],
            "additionalProperties": false,
        },
        "outputSchema": {
            "type": "object",
            "properties": {
                "customers": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "id": shapes::id("cus", "Customer id"),
                            "name": {"type": "string"},
                            "cpf": {"type": "string"},
                            "email": {"type": "string"},
                        },
                        "required": ["id", "name", "cpf", "email"],
                    },
                },
            },
            "required": ["customers"],
        },
        "annotations": shapes::annotations(true, false, true),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    query: String,
}

fn run(call: &Call, given: Value) -> Running<'_> {
    Box::pin(async move {
        let Arguments { query } = arguments(given)?;
        let query = query.trim();
        if !(2..=200).contains(&query.chars().count()) {
            return Err(Failure::refused("The query must have 2 to 200 characters."));
        }
        let found: Vec<Value> = call
            .server
            .store
            .find(query)
            .into_iter()
            .map(|c| json!({"id": c.id, "name": c.name, "cpf": c.cpf, "email": c.email}))
            .collect();
        Ok(Output::structured(json!({"customers": found})).into())
    })
}
