//! Validation of messages against the JSON Schema of their protocol revision.
//!
//! The schemas are those that the specification publishes, kept in `tests/data/mcp-schema/` and
//! compiled into this crate; each definition is compiled to a validator once.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use jsonschema::Validator;
use serde_json::{Value, json};

/// A protocol revision that has a published schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Revision {
    /// 2025-03-26, the only one with batches.
    V2025_03_26,
    /// 2025-06-18.
    V2025_06_18,
    /// 2025-11-25, the last one with sessions.
    V2025_11_25,
    /// 2026-07-28, stateless.
    V2026_07_28,
}

impl Revision {
    /// All of them, oldest first.
    pub const ALL: [Self; 4] = [
        Self::V2025_03_26,
        Self::V2025_06_18,
        Self::V2025_11_25,
        Self::V2026_07_28,
    ];

    /// As it stands in messages and headers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::V2025_03_26 => include_str!("../../../tests/data/mcp-schema/2025-03-26.json"),
            Self::V2025_06_18 => include_str!("../../../tests/data/mcp-schema/2025-06-18.json"),
            Self::V2025_11_25 => include_str!("../../../tests/data/mcp-schema/2025-11-25.json"),
            Self::V2026_07_28 => include_str!("../../../tests/data/mcp-schema/2026-07-28.json"),
        }
    }

    /// Under which key its definitions stand: revisions of JSON Schema differ.
    fn definitions_key(self) -> &'static str {
        match self {
            Self::V2025_03_26 | Self::V2025_06_18 => "definitions",
            Self::V2025_11_25 | Self::V2026_07_28 => "$defs",
        }
    }
}

type Compiled = HashMap<(Revision, String), Arc<Validator>>;

static COMPILED: LazyLock<Mutex<Compiled>> = LazyLock::new(Mutex::default);

/// Says in which places `value` is not a `definition` (for example `CallToolResult` or
/// `JSONRPCMessage`) of `revision`, one line each, or that there is no such definition.
pub fn check(revision: Revision, definition: &str, value: &Value) -> Result<(), String> {
    let validator = validator(revision, definition)?;
    let problems: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("  at `{}`: {error}", error.instance_path()))
        .collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(format!(
        "not a {definition} of {}:\n{}\nin {value}",
        revision.as_str(),
        problems.join("\n")
    ))
}

/// Panics, with what [`check`] says, unless `value` is a `definition` of `revision`.
#[track_caller]
pub fn assert_valid(revision: Revision, definition: &str, value: &Value) {
    let checked = check(revision, definition, value);
    assert!(checked.is_ok(), "{}", checked.err().unwrap_or_default());
}

fn validator(revision: Revision, definition: &str) -> Result<Arc<Validator>, String> {
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (revision, definition.to_owned());
    if let Some(validator) = compiled.get(&key) {
        return Ok(Arc::clone(validator));
    }
    let validator = Arc::new(compile(revision, definition)?);
    compiled.insert(key, Arc::clone(&validator));
    Ok(validator)
}

fn compile(revision: Revision, definition: &str) -> Result<Validator, String> {
    let mut schema: Value = serde_json::from_str(revision.source())
        .map_err(|error| format!("the schema of {} is not JSON: {error}", revision.as_str()))?;
    let definitions = revision.definitions_key();
    if schema
        .get(definitions)
        .and_then(|all| all.get(definition))
        .is_none()
    {
        return Err(format!(
            "{} has no definition `{definition}`",
            revision.as_str()
        ));
    }
    schema["$ref"] = json!(format!("#/{definitions}/{definition}"));
    jsonschema::validator_for(&schema).map_err(|error| {
        format!(
            "the schema of {} does not compile: {error}",
            revision.as_str()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_revision_knows_a_good_message_from_a_bad_one() {
        let good = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
        for revision in Revision::ALL {
            check(revision, "JSONRPCRequest", &good).expect("a request");
            let bad = json!({ "jsonrpc": "1.0", "id": 1, "method": "ping" });
            let problem = check(revision, "JSONRPCRequest", &bad).expect_err("wrong version");
            assert!(problem.contains("/jsonrpc"), "{problem}");
        }
    }

    #[test]
    fn references_between_definitions_are_followed() {
        let text = json!({ "content": [{ "type": "text" }] });
        assert!(check(Revision::V2025_11_25, "CallToolResult", &text).is_err());
        let text = json!({ "content": [{ "type": "text", "text": "a" }] });
        assert_valid(Revision::V2025_11_25, "CallToolResult", &text);
    }

    #[test]
    fn a_modern_result_needs_its_type() {
        let result = json!({ "content": [] });
        assert!(check(Revision::V2026_07_28, "CallToolResult", &result).is_err());
        let result = json!({ "resultType": "complete", "content": [] });
        assert_valid(Revision::V2026_07_28, "CallToolResult", &result);
    }

    #[test]
    fn an_unknown_definition_is_said_to_be_one() {
        let problem = check(Revision::V2026_07_28, "NoSuchThing", &json!({})).expect_err("unknown");
        assert!(problem.contains("NoSuchThing"), "{problem}");
    }
}
