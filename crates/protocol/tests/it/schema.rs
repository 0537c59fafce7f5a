//! The published JSON Schema of each revision.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex},
};

use jsonschema::Validator;
use mcp_ultra_protocol::Version;
use serde_json::{Value, json};

fn text(version: Version) -> &'static str {
    match version {
        Version::V2025_03_26 => {
            include_str!("../../../../tests/data/mcp-schema/2025-03-26.json")
        }
        Version::V2025_06_18 => {
            include_str!("../../../../tests/data/mcp-schema/2025-06-18.json")
        }
        Version::V2025_11_25 => {
            include_str!("../../../../tests/data/mcp-schema/2025-11-25.json")
        }
        Version::V2026_07_28 => {
            include_str!("../../../../tests/data/mcp-schema/2026-07-28.json")
        }
    }
}

static SCHEMAS: LazyLock<HashMap<Version, Value>> = LazyLock::new(|| {
    Version::ALL
        .into_iter()
        .map(|version| (version, serde_json::from_str(text(version)).unwrap()))
        .collect()
});

/// Where the definitions stand: revisions of JSON Schema differ.
fn key(version: Version) -> &'static str {
    if version >= Version::V2025_11_25 {
        "$defs"
    } else {
        "definitions"
    }
}

/// All definitions of a revision by name.
pub(crate) fn definitions(version: Version) -> &'static serde_json::Map<String, Value> {
    SCHEMAS[&version][key(version)].as_object().unwrap()
}

/// The value of a JSON text. `serde_json` has no number as large as the `1e400` of some examples;
/// the schemas do not look at it.
pub(crate) fn value(text: &str) -> Value {
    serde_json::from_str(&text.replace("1e400", "1e4")).unwrap()
}

/// Fails unless `value` is a `definition` of the revision.
#[track_caller]
pub(crate) fn assert_valid(version: Version, definition: &str, value: &Value) {
    type Compiled = HashMap<(Version, String), &'static Validator>;
    static COMPILED: LazyLock<Mutex<Compiled>> = LazyLock::new(Mutex::default);
    let validator = *COMPILED
        .lock()
        .unwrap()
        .entry((version, definition.to_owned()))
        .or_insert_with(|| Box::leak(Box::new(compile(version, definition))));
    let problems: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(
        problems.is_empty(),
        "no {definition} of {version}: {problems:?}\n{value}"
    );
}

fn compile(version: Version, definition: &str) -> Validator {
    assert!(
        definitions(version).contains_key(definition),
        "{version} has no {definition}"
    );
    let mut schema = SCHEMAS[&version].clone();
    schema["$ref"] = json!(format!("#/{}/{definition}", key(version)));
    jsonschema::validator_for(&schema).unwrap()
}
