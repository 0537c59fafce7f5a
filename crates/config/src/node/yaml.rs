//! From the text of a file to the tree.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, de};
use serde_saphyr::{DuplicateKeyPolicy, Location, Spanned};

use super::{Entry, Node, Place, Scalar, Value};
use crate::{
    error::{ConfigError, Problem, snippet},
    origin::Origin,
};

/// The largest file that is read; the smallest useful one has 300 bytes.
pub(crate) const LARGEST_FILE: usize = 4 * 1024 * 1024;

/// Reads a YAML (or JSON) text into a tree.
pub(crate) fn parse(file: &Arc<str>, text: &str) -> Result<Node, ConfigError> {
    if text.len() > LARGEST_FILE {
        return Err(ConfigError::one(Problem {
            origin: Origin::File {
                file: Arc::clone(file),
                line: 0,
                column: 0,
            },
            path: String::new(),
            message: "the file is larger than 4MiB".into(),
            help: None,
            snippet: None,
            width: 1,
        }));
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 32,
            max_documents: 1,
            max_events: 400_000,
            max_nodes: 100_000,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_merge_keys: 1_000,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 50_000,
            max_replay_stack_depth: 16,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        strict_booleans: true,
        with_snippet: false,
    };
    let tree: Spanned<Raw> = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| ConfigError::one(syntax_problem(file, text, &error)))?;
    let root = Source { file, text }.node(tree);
    Ok(match root.value {
        Value::Null => Node {
            value: Value::Map(Vec::new()),
            ..root
        },
        _ => root,
    })
}

fn syntax_problem(file: &Arc<str>, text: &str, error: &serde_saphyr::Error) -> Problem {
    let location = error.location().filter(|location| location.line() > 0);
    let (line, column) = location.map_or((0, 0), |location| position(&location));
    let shown = error.render_with_options(serde_saphyr::render_options! {
        formatter: &serde_saphyr::UserMessageFormatter,
        snippets: serde_saphyr::SnippetMode::Off,
    });
    Problem {
        origin: Origin::File {
            file: Arc::clone(file),
            line,
            column,
        },
        path: String::new(),
        message: without_position(&shown),
        help: None,
        snippet: snippet(text, line),
        width: 1,
    }
}

/// The parser's message without its own position, which would stand twice, on one line.
fn without_position(message: &str) -> String {
    let message = message.lines().next().unwrap_or_default();
    let message = message.split(" at line ").next().unwrap_or(message);
    let message = message.strip_prefix("error: ").unwrap_or(message);
    message
        .chars()
        .filter(|c| !c.is_control())
        .take(300)
        .collect()
}

fn position(location: &Location) -> (u32, u32) {
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    (narrow(location.line()), narrow(location.column()))
}

struct Source<'a> {
    file: &'a Arc<str>,
    text: &'a str,
}

impl Source<'_> {
    fn place(&self, location: &Location) -> Place {
        let (line, column) = position(location);
        let width = usize::try_from(location.span().len()).unwrap_or(1).max(1);
        Place {
            origin: Origin::File {
                file: Arc::clone(self.file),
                line,
                column,
            },
            width,
        }
    }

    /// How a value is spelled in the file; `fallback` where the parser does not say.
    fn spelling(&self, location: &Location, fallback: impl fmt::Display) -> String {
        let span = location.span();
        let spelled = span
            .byte_offset()
            .zip(span.byte_len())
            .and_then(|(offset, len)| {
                let start = usize::try_from(offset).ok()?;
                let end = start.checked_add(usize::try_from(len).ok()?)?;
                self.text.get(start..end)
            });
        match spelled.map(str::trim) {
            // A tag or an anchor before the value belongs to the span.
            Some(text) if !text.is_empty() && !text.contains([' ', '\n', '!', '&']) => text.into(),
            _ => fallback.to_string(),
        }
    }

    fn node(&self, raw: Spanned<Raw>) -> Node {
        let mut place = self.place(&raw.referenced);
        let typed = |scalar, fallback: &dyn fmt::Display| {
            Value::Typed(scalar, self.spelling(&raw.defined, fallback))
        };
        let value = match raw.value {
            Raw::Null => Value::Null,
            Raw::Bool(value) => typed(Scalar::Bool(value), &value),
            Raw::Int(value) => typed(Scalar::Int(value), &value),
            Raw::Float(value) => typed(Scalar::Float(value), &value),
            Raw::Str(text) => Value::Str(text),
            Raw::List(items) => {
                place.width = 1;
                Value::List(items.into_iter().map(|item| self.node(item)).collect())
            }
            Raw::Map(entries) => {
                place.width = 1;
                let entry = |(key, node): (Spanned<String>, Spanned<Raw>)| Entry {
                    place: self.place(&key.referenced),
                    key: key.value,
                    node: self.node(node),
                };
                Value::Map(entries.into_iter().map(entry).collect())
            }
        };
        Node { value, place }
    }
}

/// A value of the file before its places are worked out.
enum Raw {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> de::Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Int(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Int(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Int(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        // No field is that large: the greatest number says so as well as the number itself.
        Ok(Raw::Int(i128::try_from(value).unwrap_or(i128::MAX)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Str(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Raw, E> {
        Ok(Raw::Str(text))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}
