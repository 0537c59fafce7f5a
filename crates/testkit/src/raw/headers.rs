//! Headers that a well-behaved client sends (2026-07-28, streamable HTTP).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::Value;

/// Headers from pairs of text. A pair that can't be a header is left out: to send such a one, use
/// [`super::wire`].
pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
    headers
}

/// `Content-Type` and `Accept` of every POST.
pub fn post() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    let accept = HeaderValue::from_static("application/json, text/event-stream");
    headers.insert(header::ACCEPT, accept);
    headers
}

/// A value as it may stand in `Mcp-Name` and `Mcp-Param-*`: as it is if that is safe, in the base64
/// form otherwise.
pub fn encode(value: &str) -> String {
    let is_plain = value.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
        && value.trim() == value
        && !(value.starts_with("=?base64?") && value.ends_with("?="));
    if is_plain {
        value.to_owned()
    } else {
        format!("=?base64?{}?=", STANDARD.encode(value))
    }
}

/// What `Mcp-Name` is made of for this method, before encoding.
pub fn name<'a>(method: &str, params: &'a Value) -> Option<&'a str> {
    let field = match method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
        _ => return None,
    };
    params.get(field)?.as_str()
}

/// The `Mcp-Param-*` headers for `arguments` of a tool with this input schema: name and value.
pub fn params(input_schema: &Value, arguments: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    collect(input_schema, arguments, &mut found);
    found
}

fn collect(schema: &Value, arguments: &Value, found: &mut Vec<(String, String)>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    for (property, schema) in properties {
        let Some(argument) = arguments.get(property) else {
            continue;
        };
        if let Some(header) = schema.get("x-mcp-header").and_then(Value::as_str) {
            let value = match argument {
                Value::String(text) => encode(text),
                Value::Bool(_) | Value::Number(_) => argument.to_string(),
                // Null is as good as absent, and nothing else can be annotated.
                _ => continue,
            };
            found.push((format!("Mcp-Param-{header}"), value));
        }
        collect(schema, argument, found);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_encoded_as_the_examples_of_the_specification() {
        assert_eq!(encode("us-west1"), "us-west1");
        assert_eq!(encode("us west 1"), "us west 1");
        assert_eq!(encode(""), "");
        assert_eq!(encode("Hello, 世界"), "=?base64?SGVsbG8sIOS4lueVjA==?=");
        assert_eq!(encode(" padded "), "=?base64?IHBhZGRlZCA=?=");
        assert_eq!(encode("line1\nline2"), "=?base64?bGluZTEKbGluZTI=?=");
        assert_eq!(encode("=?base64?eA==?="), "=?base64?PT9iYXNlNjQ/ZUE9PT89?=");
    }

    #[test]
    fn annotated_arguments_become_headers_and_null_does_not() {
        let schema = json!({ "properties": {
            "region": { "type": "string", "x-mcp-header": "Region" },
            "count": { "type": "integer", "x-mcp-header": "Count" },
            "gone": { "type": "boolean", "x-mcp-header": "Gone" },
            "plain": { "type": "string" },
            "inner": { "properties": { "deep": { "type": "boolean", "x-mcp-header": "Deep" } } }
        } });
        let arguments = json!({ "region": "sul", "count": 3, "gone": null, "plain": "x",
                                "inner": { "deep": true } });
        let mut headers = params(&schema, &arguments);
        headers.sort();
        let expected = [
            ("Mcp-Param-Count", "3"),
            ("Mcp-Param-Deep", "true"),
            ("Mcp-Param-Region", "sul"),
        ];
        assert_eq!(
            headers,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }
}
