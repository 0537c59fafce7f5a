//! One entry more in a JSON file that belongs to somebody else: what was there stays, comments
//! and layout included.

use jsonc_parser::{
    ParseOptions,
    cst::{CstInputValue, CstObject, CstRootNode},
};
use serde_json::Value;

/// Why a file is left alone.
#[derive(Debug, thiserror::Error)]
pub(super) enum MergeError {
    /// Not JSON, not even with comments.
    #[error("it is not valid JSON (line {line}, column {column})")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// Something else stands where an object must be.
    #[error("{0} is not an object")]
    NotAnObject(String),
    /// Two readers would see two values.
    #[error("\"{0}\" stands in it more than once")]
    Twice(String),
}

/// The text of `file` with `entry` as `key.name`; what it was before, if it was there, is
/// replaced.
pub(super) fn set(
    file: Option<&str>,
    key: &str,
    name: &str,
    entry: &Value,
) -> Result<String, MergeError> {
    let text = file.unwrap_or_default();
    let text = if text.trim().is_empty() { "{}\n" } else { text };
    // Comments and a last comma are what clients themselves allow; the rest is a mistake.
    let options = ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let root = CstRootNode::parse(text, &options).map_err(|error| MergeError::Syntax {
        line: error.line_display(),
        column: error.column_display(),
    })?;
    let Some(top) = root.object_value() else {
        return Err(MergeError::NotAnObject("the file".to_owned()));
    };
    once(&top, key)?;
    let Some(servers) = top.object_value_or_create(key) else {
        return Err(MergeError::NotAnObject(format!("\"{key}\"")));
    };
    once(&servers, name)?;
    match servers.get(name) {
        Some(known)
            if known
                .value()
                .is_some_and(|value| same(&value.to_string(), entry)) => {}
        Some(known) => known.set_value(input(entry)),
        None => {
            servers.append(name, input(entry));
        }
    }
    Ok(root.to_string())
}

fn once(object: &CstObject, key: &str) -> Result<(), MergeError> {
    let named = |property: &jsonc_parser::cst::CstObjectProp| {
        property.decoded_name().is_some_and(|name| name == key)
    };
    match object
        .properties()
        .iter()
        .filter(|property| named(property))
        .count()
    {
        0 | 1 => Ok(()),
        _ => Err(MergeError::Twice(key.to_owned())),
    }
}

/// Whether the text means the same: then even its layout stays.
fn same(text: &str, entry: &Value) -> bool {
    serde_json::from_str::<Value>(text).is_ok_and(|value| value == *entry)
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(value) => CstInputValue::Bool(*value),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(key, value)| (key.clone(), input(value)));
            CstInputValue::Object(members.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry() -> Value {
        json!({"type": "http", "url": "http://127.0.0.1:8080/mcp"})
    }

    #[test]
    fn what_is_there_stays_with_its_comments() {
        let file = "{\n  // mine\n  \"inputs\": [],\n  \"servers\": {\n    \"other\": { \"command\": \"x\" }, // keep\n  },\n}\n";
        let merged = set(Some(file), "servers", "mcp-ultra", &entry()).unwrap();
        for kept in [
            "// mine",
            "\"inputs\": []",
            "\"other\": { \"command\": \"x\" }",
            "// keep",
        ] {
            assert!(merged.contains(kept), "{kept} is gone:\n{merged}");
        }
        assert!(merged.contains("\"mcp-ultra\": {"), "{merged}");
        let again = set(Some(&merged), "servers", "mcp-ultra", &entry()).unwrap();
        assert_eq!(again, merged, "a second time changes nothing");
    }

    #[test]
    fn an_old_entry_is_replaced_and_only_that() {
        let file =
            r#"{"mcpServers":{"a":{"url":"u"},"mcp-ultra":{"url":"old"},"b":{"n":1e2}},"x":1}"#;
        let merged = set(Some(file), "mcpServers", "mcp-ultra", &entry()).unwrap();
        let tree: Value = serde_json::from_str(&merged).unwrap();
        assert_eq!(tree["mcpServers"]["mcp-ultra"], entry());
        assert!(merged.contains(r#""a":{"url":"u"}"#) && merged.contains(r#""b":{"n":1e2}"#));
        assert_eq!(tree["x"], 1);
    }

    #[test]
    fn a_new_or_empty_file_gets_the_entry_alone() {
        for file in [None, Some(""), Some("  \n"), Some("{}")] {
            let merged = set(file, "mcpServers", "m", &entry()).unwrap();
            let tree: Value = serde_json::from_str(&merged).unwrap();
            assert_eq!(tree, json!({"mcpServers": {"m": entry()}}), "{file:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_left_alone() {
        for file in [
            "{",
            "[]",
            "7",
            r#"{"servers":[]}"#,
            r#"{"servers":null}"#,
            "{'servers':{}}",
            r#"{"servers":{},"servers":{}}"#,
            r#"{"servers":{"m":1,"m":2}}"#,
            "{} {}",
        ] {
            assert!(set(Some(file), "servers", "m", &entry()).is_err(), "{file}");
        }
    }
}
