//! The JSON Schema of the configuration, generated from the types.

use schemars::Schema;

use crate::sections::Config;

/// The JSON Schema of a configuration file, with descriptions and defaults.
pub fn schema() -> Schema {
    schemars::schema_for!(Config)
}

/// The schema as it is committed under `docs/reference/config.schema.json` and printed by
/// `mcp-ultra config schema`: two spaces of indentation and a line break at the end.
pub fn schema_text() -> String {
    // A schema is plain JSON already: its alternate form is indented.
    format!("{:#}\n", schema().to_value())
}
