//! The JSON Schema of the configuration, generated from the types.

use schemars::Schema;
use serde_json::Value;

use crate::sections::Config;

/// The JSON Schema of a configuration file, with descriptions and defaults.
pub fn schema() -> Schema {
    schemars::schema_for!(Config)
}

/// The schema as it is committed under `docs/reference/config.schema.json` and printed by
/// `mcp-ultra config schema`: keys in alphabetical order, two spaces of indentation and a line break
/// at the end.
pub fn schema_text() -> String {
    // A schema is plain JSON already: its alternate form is indented.
    format!("{:#}\n", sorted(schema().to_value()))
}

/// The same value with its keys in order. Whether `serde_json` keeps them so by itself depends on
/// what else is in the build (its feature `preserve_order`).
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(entries) => {
            let mut entries: Vec<_> = entries.into_iter().collect();
            entries.sort_by(|(one, _), (other, _)| one.cmp(other));
            let entries = entries.into_iter().map(|(key, value)| (key, sorted(value)));
            Value::Object(entries.collect())
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}
