//! The arguments of a call, from `--arguments` or from `--arg key=value`.

use mcp_ultra_protocol::json::{self, Object};
use miette::Diagnostic;

use crate::client::Tool;

/// An argument that can't be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(crate) enum ArgumentError {
    /// `--arguments` is not an object.
    #[error("--arguments is not a JSON object: {0}")]
    #[diagnostic(help("write it in single quotes: --arguments '{{\"name\": \"value\"}}'"))]
    Object(String),
    /// `--arg` without `=`.
    #[error("--arg \"{0}\" has no value")]
    #[diagnostic(help("write --arg key=value"))]
    Pair(String),
    /// The same key twice.
    #[error("--arg \"{0}\" is given twice")]
    #[diagnostic(help("write a list as JSON: --arg 'key=[1, 2]'"))]
    Twice(String),
    /// The value does not fit the tool's schema.
    #[error("--arg \"{key}\": the tool takes a JSON {kind} there, and this is none: {value}")]
    #[diagnostic(help("`mcp-ultra tools list` shows what each argument takes"))]
    Kind {
        /// The argument.
        key: String,
        /// The type in the schema.
        kind: String,
        /// What was given.
        value: String,
    },
}

/// The text of the arguments as an object. `--arguments` is passed on as it is.
pub(crate) fn build(
    object: Option<&str>,
    pairs: &[(String, String)],
    tool: Option<&Tool>,
) -> Result<String, ArgumentError> {
    if let Some(text) = object {
        json::check_depth(text).map_err(|error| ArgumentError::Object(error.to_string()))?;
        return Object::parse(text)
            .map(|object| object.text().to_owned())
            .map_err(|error| ArgumentError::Object(error.to_string()));
    }
    let known = tool.map(Tool::arguments).unwrap_or_default();
    let mut members: Vec<String> = Vec::with_capacity(pairs.len());
    for (at, (key, value)) in pairs.iter().enumerate() {
        if pairs[..at].iter().any(|(other, _)| other == key) {
            return Err(ArgumentError::Twice(key.clone()));
        }
        let argument = known.iter().find(|argument| argument.name == *key);
        let kind = argument.and_then(|argument| argument.kind.as_deref());
        let value = typed(value, kind).ok_or_else(|| ArgumentError::Kind {
            key: key.clone(),
            kind: kind.unwrap_or("value").to_owned(),
            value: value.clone(),
        })?;
        members.push(format!("{}:{value}", json::quote(key)));
    }
    Ok(format!("{{{}}}", members.join(",")))
}

/// The JSON text of `value` as `kind`; without a kind JSON where it is JSON, and a string where
/// it is not.
fn typed(value: &str, kind: Option<&str>) -> Option<String> {
    let read = || serde_json::from_str::<&serde_json::value::RawValue>(value).ok();
    let raw = read().map(|raw| raw.get().to_owned());
    let begins = |first: &[char]| raw.clone().filter(|raw| raw.starts_with(first));
    match kind {
        Some("string") => Some(json::quote(value)),
        Some("integer" | "number") => {
            raw.filter(|raw| raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()))
        }
        Some("boolean") => begins(&['t', 'f']),
        Some("array") => begins(&['[']),
        Some("object") => begins(&['{']),
        Some("null") => begins(&['n']),
        _ => Some(raw.unwrap_or_else(|| json::quote(value))),
    }
}

/// Reads `key=value`.
pub(crate) fn pair(text: &str) -> Result<(String, String), ArgumentError> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(ArgumentError::Pair(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_take_the_type_of_the_schema() {
        assert_eq!(typed("7", Some("string")).unwrap(), "\"7\"");
        assert_eq!(typed("7", Some("integer")).unwrap(), "7");
        assert_eq!(typed("sete", Some("integer")), None);
        assert_eq!(typed("true", Some("boolean")).unwrap(), "true");
        assert_eq!(typed("[1, 2]", Some("array")).unwrap(), "[1, 2]");
        assert_eq!(typed("7", None).unwrap(), "7");
        assert_eq!(typed("olá", None).unwrap(), "\"olá\"");
    }

    #[test]
    fn an_object_is_passed_on_as_it_is() {
        let text = r#" {"n": 12345678901234567890123, "x":[ ]} "#;
        assert_eq!(build(Some(text), &[], None).unwrap(), text.trim());
        for text in ["[]", "{", "{\"a\":1,\"a\":2}"] {
            assert!(build(Some(text), &[], None).is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_is_given_once() {
        let pairs = [pair("a=1").unwrap(), pair("a=2").unwrap()];
        assert!(matches!(
            build(None, &pairs, None),
            Err(ArgumentError::Twice(_))
        ));
        assert!(pair("a").is_err() && pair("=1").is_err());
        assert_eq!(pair("a=b=c").unwrap().1, "b=c");
    }
}
