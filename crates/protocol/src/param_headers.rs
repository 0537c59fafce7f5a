//! Arguments of a tool that are mirrored into `Mcp-Param-*` headers by `x-mcp-header` in its
//! input schema (2026-07-28, Streamable HTTP, Custom Headers from Tool Parameters).

use std::borrow::Cow;

use crate::{
    headers,
    json::{self, Member, Object},
};

const ANNOTATION: &str = "x-mcp-header";
/// The largest integer that every JavaScript peer can tell from its neighbours: 2^53 - 1.
const SAFE_INTEGER: i64 = 9_007_199_254_740_991;

/// One mirrored argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamHeader {
    /// The keys that lead from the arguments to the value.
    pub path: Vec<String>,
    /// The whole header name, lower case: `mcp-param-region`.
    pub header: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    String,
    Integer,
    Boolean,
}

/// Why a tool definition must not be offered: its `x-mcp-header` is against the rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAnnotation {
    /// Empty, not a string, or not a field name (RFC 9110, section 5.1).
    #[error("x-mcp-header is not a header name")]
    Name,
    /// The same header, in any case, for two parameters.
    #[error("x-mcp-header \"{0}\" is used twice")]
    Twice(String),
    /// On a parameter that is no string, integer or boolean.
    #[error("x-mcp-header stands on a parameter that is not a string, integer or boolean")]
    Type,
    /// Where no chain of `properties` alone leads.
    #[error("x-mcp-header stands where it can't be reached by properties alone")]
    Unreachable,
    /// The schema can't be read.
    #[error("the input schema is not a readable object")]
    Schema,
}

/// How an argument and its header disagree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The argument is there, the header is not.
    #[error("the header {0} is missing: its argument is in the body")]
    Missing(String),
    /// The header is there, the argument is not.
    #[error("the header {0} has no argument in the body")]
    Unexpected(String),
    /// Both are there and differ, or the header can't be decoded.
    #[error("the header {0} does not match its argument in the body")]
    Different(String),
}

/// Reads the annotations of an input schema.
///
/// # Errors
/// [`InvalidAnnotation`]: a client over HTTP must not offer such a tool.
pub fn of_schema(schema: &str) -> Result<Vec<ParamHeader>, InvalidAnnotation> {
    if !may_hold_annotation(schema) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    walk(schema, &mut Vec::new(), &mut found)?;
    let mut names: Vec<&str> = found.iter().map(|param| param.header.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(InvalidAnnotation::Twice(pair[0].to_owned())),
        None => Ok(found),
    }
}

/// Walks a schema that is reached by `properties` alone.
fn walk(
    schema: &str,
    path: &mut Vec<String>,
    found: &mut Vec<ParamHeader>,
) -> Result<(), InvalidAnnotation> {
    if !json::is_object(schema) {
        // `true` and `false` are schemas as well.
        return Ok(());
    }
    let object = Object::parse(schema).map_err(|_| InvalidAnnotation::Schema)?;
    if let Some(raw) = object.get(ANNOTATION) {
        found.push(annotation(&object, raw, path)?);
    }
    for member in object.members() {
        match &*member.key {
            "properties" if json::is_object(member.value) => {
                for property in members(member.value)? {
                    path.push(property.key.to_string());
                    walk(property.value, path, found)?;
                    path.pop();
                }
            }
            ANNOTATION => {}
            keyword if holds_annotation(keyword, member.value)? => {
                return Err(InvalidAnnotation::Unreachable);
            }
            _ => {}
        }
    }
    Ok(())
}

fn members(object: &str) -> Result<Vec<Member<'_>>, InvalidAnnotation> {
    Object::parse(object)
        .map(Object::into_members)
        .map_err(|_| InvalidAnnotation::Schema)
}

fn annotation(
    schema: &Object<'_>,
    raw: &str,
    path: &[String],
) -> Result<ParamHeader, InvalidAnnotation> {
    let name = json::as_str(raw).ok_or(InvalidAnnotation::Name)?;
    let is_token = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
    if !is_token {
        return Err(InvalidAnnotation::Name);
    }
    let kind = match schema.get_str("type").as_deref() {
        Some("string") => Kind::String,
        Some("integer") => Kind::Integer,
        Some("boolean") => Kind::Boolean,
        _ => return Err(InvalidAnnotation::Type),
    };
    if path.is_empty() {
        return Err(InvalidAnnotation::Unreachable);
    }
    let header = format!("{}{}", headers::PARAM_PREFIX, name.to_ascii_lowercase());
    Ok(ParamHeader {
        path: path.to_vec(),
        header,
        kind,
    })
}

/// Whether an annotation stands anywhere in the value of `keyword`. The nesting is bounded by the
/// check of the whole message.
fn holds_annotation(keyword: &str, raw: &str) -> Result<bool, InvalidAnnotation> {
    // Most parts of a schema have none, and a search is much faster than a reading.
    if !may_hold_annotation(raw) {
        return Ok(false);
    }
    match keyword {
        // Values, not schemas: a key in them means nothing.
        "default" | "const" | "enum" | "examples" => Ok(false),
        // Maps from names of the schema's own to schemas, or to lists of names.
        "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas"
        | "dependentRequired" | "dependencies"
            if json::is_object(raw) =>
        {
            any(members(raw)?, |member| {
                schema_holds_annotation(member.value)
            })
        }
        _ => schema_holds_annotation(raw),
    }
}

fn schema_holds_annotation(raw: &str) -> Result<bool, InvalidAnnotation> {
    if !may_hold_annotation(raw) {
        return Ok(false);
    }
    if json::is_object(raw) {
        return any(members(raw)?, |member| {
            Ok(member.key == ANNOTATION || holds_annotation(&member.key, member.value)?)
        });
    }
    if raw.starts_with('[') {
        let elements = json::elements(raw).ok_or(InvalidAnnotation::Schema)?;
        return any(elements, schema_holds_annotation);
    }
    Ok(false)
}

fn any<T>(
    all: Vec<T>,
    holds: impl Fn(T) -> Result<bool, InvalidAnnotation>,
) -> Result<bool, InvalidAnnotation> {
    for one in all {
        if holds(one)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A key that spells the annotation with escapes needs a `\u`: no letter of it has a short one.
fn may_hold_annotation(raw: &str) -> bool {
    let haystack = raw.as_bytes();
    memchr::memmem::find(haystack, ANNOTATION.as_bytes()).is_some()
        || memchr::memmem::find(haystack, b"\\u").is_some()
}

impl ParamHeader {
    /// The value of the header for `arguments` (the text of an object), encoded; `None` where the
    /// argument is absent or `null`, or is not of the declared type (the upstream will say so).
    pub fn value(&self, arguments: &str) -> Option<String> {
        let raw = self.raw(arguments)?;
        let text: Cow<'_, str> = match self.kind {
            Kind::String => json::as_str(raw)?,
            Kind::Boolean if matches!(raw, "true" | "false") => raw.into(),
            Kind::Integer => integer(raw)?.to_string().into(),
            Kind::Boolean => return None,
        };
        Some(headers::encode(&text).into_owned())
    }

    /// Compares what a client sent as header with the argument in its body.
    ///
    /// # Errors
    /// [`Mismatch`]
    pub fn verify(&self, sent: Option<&[u8]>, arguments: Option<&str>) -> Result<(), Mismatch> {
        let expected = arguments.and_then(|arguments| self.value(arguments));
        match (sent, expected) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err(Mismatch::Missing(self.header.clone())),
            (Some(_), None) => Err(Mismatch::Unexpected(self.header.clone())),
            (Some(sent), Some(expected)) => {
                let sent = headers::decode(sent).ok();
                let expected = headers::decode(expected.as_bytes()).ok();
                let same = match (self.kind, &sent, &expected) {
                    (_, None, _) | (_, _, None) => false,
                    (Kind::Integer, Some(sent), Some(expected)) => {
                        integer(sent).is_some_and(|sent| Some(sent) == integer(expected))
                    }
                    (_, Some(sent), Some(expected)) => sent == expected,
                };
                if same {
                    Ok(())
                } else {
                    Err(Mismatch::Different(self.header.clone()))
                }
            }
        }
    }

    fn raw<'a>(&self, arguments: &'a str) -> Option<&'a str> {
        let mut at = arguments;
        for key in &self.path {
            at = Object::parse(at).ok()?.get(key)?;
        }
        (at != "null").then_some(at)
    }
}

/// An integer in the safe range, also where it is spelled `42.0` or `4.2e1`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "checked to be whole and in range"
)]
#[expect(clippy::cast_precision_loss, reason = "the safe range is exact in f64")]
fn integer(text: &str) -> Option<i64> {
    let number = if let Ok(number) = text.parse::<i64>() {
        number
    } else {
        let float: f64 = text.parse().ok()?;
        let exact = float.fract() == 0.0 && float.abs() <= SAFE_INTEGER as f64;
        exact.then_some(float as i64)?
    };
    (-SAFE_INTEGER..=SAFE_INTEGER)
        .contains(&number)
        .then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{"type":"object","properties":{
        "region":{"type":"string","x-mcp-header":"Region"},
        "limit":{"type":"integer","x-mcp-header":"Limit"},
        "deep":{"type":"object","properties":{"dry":{"type":"boolean","x-mcp-header":"Dry-Run"}}},
        "plain":{"type":"string"}}}"#;

    #[test]
    fn values_come_from_their_exact_path() {
        let params = of_schema(SCHEMA).unwrap();
        let arguments = r#"{"region":"São Paulo","limit":42.0,"deep":{"dry":true},"plain":"x"}"#;
        let values: Vec<_> = params
            .iter()
            .map(|p| (p.header.as_str(), p.value(arguments).unwrap()))
            .collect();
        assert_eq!(
            values,
            [
                ("mcp-param-region", "=?base64?U8OjbyBQYXVsbw==?=".into()),
                ("mcp-param-limit", "42".into()),
                ("mcp-param-dry-run", "true".into()),
            ]
        );
        assert_eq!(params[0].value(r#"{"region":null}"#), None);
        assert_eq!(params[1].value(r#"{"limit":9007199254740993}"#), None);
    }

    #[test]
    fn definitions_against_the_rules_are_refused() {
        let property = |annotation: &str| format!(r#"{{"properties":{{"a":{annotation}}}}}"#);
        for (schema, why) in [
            (
                property(r#"{"type":"string","x-mcp-header":""}"#),
                InvalidAnnotation::Name,
            ),
            (
                property(r#"{"type":"string","x-mcp-header":7}"#),
                InvalidAnnotation::Name,
            ),
            (
                property(r#"{"type":"string","x-mcp-header":"a b"}"#),
                InvalidAnnotation::Name,
            ),
            (
                property(r#"{"type":"string","x-mcp-header":"a\r\nb"}"#),
                InvalidAnnotation::Name,
            ),
            (
                property(r#"{"type":"number","x-mcp-header":"A"}"#),
                InvalidAnnotation::Type,
            ),
            (property(r#"{"x-mcp-header":"A"}"#), InvalidAnnotation::Type),
            (
                property(r#"{"type":"array","items":{"type":"string","x-mcp-header":"A"}}"#),
                InvalidAnnotation::Unreachable,
            ),
            (
                property(r#"{"anyOf":[{"type":"string","x-mcp-\u0068eader":"A"}]}"#),
                InvalidAnnotation::Unreachable,
            ),
            (
                r#"{"properties":[{"x-mcp-header":"A"}]}"#.to_owned(),
                InvalidAnnotation::Unreachable,
            ),
            (
                r#"{"$defs":{"a":{"type":"string","x-mcp-header":"A"}}}"#.to_owned(),
                InvalidAnnotation::Unreachable,
            ),
            // Read by its first or by its second key, it is another tool.
            (
                r#"{"properties":{"a":{},"a":{"type":"string","x-mcp-header":"A"}}}"#.to_owned(),
                InvalidAnnotation::Schema,
            ),
            (
                property(r#"{"items":{"a":1,"a":2,"x-mcp-header":"A"}}"#),
                InvalidAnnotation::Schema,
            ),
        ] {
            assert_eq!(of_schema(&schema), Err(why), "{schema}");
        }
        let twice = r#"{"properties":{"a":{"type":"string","x-mcp-header":"X"},"b":{"type":"string","x-mcp-header":"x"}}}"#;
        assert_eq!(
            of_schema(twice),
            Err(InvalidAnnotation::Twice("mcp-param-x".into()))
        );
    }

    #[test]
    fn names_and_values_like_the_annotation_are_none() {
        for schema in [
            r#"{"properties":{"x-mcp-header":{"type":"string"}}}"#,
            r#"{"dependentRequired":{"x-mcp-header":["tenant"]}}"#,
            r#"{"$defs":{"x-mcp-header":{"type":"string"}}}"#,
            r#"{"properties":{"a":{"default":{"x-mcp-header":"A"},"description":"x-mcp-header"}}}"#,
            r#"{"items":{"const":{"x-mcp-header":"A"}}}"#,
        ] {
            assert_eq!(of_schema(schema), Ok(Vec::new()), "{schema}");
        }
    }

    #[test]
    fn header_and_argument_must_agree() {
        let params = of_schema(SCHEMA).unwrap();
        let (region, limit) = (&params[0], &params[1]);
        let arguments = Some(r#"{"region":"us","limit":42}"#);
        assert_eq!(region.verify(Some(b"us"), arguments), Ok(()));
        assert_eq!(region.verify(Some(b"=?base64?dXM=?="), arguments), Ok(()));
        assert!(matches!(
            region.verify(Some(b"eu"), arguments),
            Err(Mismatch::Different(_))
        ));
        assert!(matches!(
            region.verify(None, arguments),
            Err(Mismatch::Missing(_))
        ));
        assert!(matches!(
            region.verify(Some(b"us"), Some("{}")),
            Err(Mismatch::Unexpected(_))
        ));
        assert_eq!(limit.verify(Some(b"42.0"), arguments), Ok(()));
        assert_eq!(limit.verify(None, None), Ok(()));
    }
}
