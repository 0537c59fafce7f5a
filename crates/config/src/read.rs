//! From the tree to typed values: a serde deserializer over [`Node`] whose errors know their path,
//! and the loop that finds all problems instead of the first.

mod reader;

use std::fmt;

use serde::de::{self, Unexpected};

use self::reader::Reader;
use crate::{
    error::is_secret_path,
    nearest::nearest,
    node::{Node, Place, Segment, Value, show},
    reference::Lookup,
};

/// The most problems that are looked for: after that many, reading on helps nobody.
const MOST_PROBLEMS: usize = 50;

/// Something in the tree that the types refuse.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Where, as the file counts.
    pub(crate) path: Vec<Segment>,
    pub(crate) place: Place,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

/// Reads the tree. What the types refuse is reported and taken out of the tree, until the rest can
/// be read; `None` if nothing is left to read.
pub(crate) fn read<T: de::DeserializeOwned>(
    tree: &mut Node,
    lookup: &Lookup<'_>,
) -> (Option<T>, Vec<Refused>) {
    let mut refused = Vec::new();
    // Every round takes a value out or ends, and one report may take several rounds.
    while refused.len() < MOST_PROBLEMS {
        let mut error = match T::deserialize(Reader { node: tree, lookup }) {
            Ok(value) => return (Some(value), refused),
            Err(error) => error,
        };
        error.path.reverse();
        let follows =
            matches!(error.what, What::Missing(field) if was_removed(tree, &error.path, field));
        if !follows {
            refused.push(describe(tree, &error));
        }
        if error.path.is_empty() || !tree.remove(&error.path) {
            return (None, refused);
        }
    }
    (None, refused)
}

/// Whether a missing key is only missing because it was reported and taken out.
fn was_removed(tree: &Node, path: &[Segment], field: &str) -> bool {
    let path = [path, &[Segment::Key(field.to_owned())]].concat();
    tree.get(&path)
        .is_some_and(|node| matches!(node.value, Value::Removed))
}

/// An error with the path it happened at, innermost step first.
#[derive(Debug)]
pub(crate) struct ReadError {
    path: Vec<Segment>,
    what: What,
}

#[derive(Debug)]
enum What {
    Unknown(&'static [&'static str]),
    Missing(&'static str),
    Variant {
        found: String,
        known: &'static [&'static str],
    },
    Type {
        found: String,
        kind: &'static str,
        expected: String,
    },
    Custom(String),
}

impl ReadError {
    fn new(what: What) -> Self {
        Self {
            path: Vec::new(),
            what,
        }
    }

    fn under(mut self, segment: Segment) -> Self {
        self.path.push(segment);
        self
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.what)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(What::Custom(message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let (kind, found) = name(found);
        Self::new(What::Type {
            found,
            kind,
            expected: expected.to_string(),
        })
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Self::new(What::Unknown(known))
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        Self::new(What::Variant {
            found: found.to_owned(),
            known,
        })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(What::Missing(field))
    }
}

/// What was found: its kind, and the value where it is short enough to repeat.
fn name(found: Unexpected<'_>) -> (&'static str, String) {
    match found {
        Unexpected::Bool(value) => ("true or false", value.to_string()),
        Unexpected::Unsigned(value) => ("a number", value.to_string()),
        Unexpected::Signed(value) => ("a number", value.to_string()),
        Unexpected::Float(value) => ("a number", value.to_string()),
        Unexpected::Str(text) => ("a text", text.to_owned()),
        Unexpected::Unit | Unexpected::Option => ("nothing", String::new()),
        Unexpected::Seq => ("a list", String::new()),
        Unexpected::Map => ("a group of keys", String::new()),
        _ => ("something else", String::new()),
    }
}

fn describe(tree: &Node, error: &ReadError) -> Refused {
    let path = error.path.clone();
    let secret = is_secret_path(&show(&path));
    let quote = |text: &str| {
        let fits = !secret && text.chars().count() <= 60 && !text.contains(char::is_control);
        if fits && !text.is_empty() {
            Some(format!("`{text}`"))
        } else {
            None
        }
    };
    let value_place = || tree.get(&path).map(|node| node.place.clone());
    let mut place = value_place();
    let (message, help) = match &error.what {
        What::Unknown(known) => {
            place = tree.key_place(&path).cloned().or(place);
            let key = match path.last() {
                Some(Segment::Key(key)) => key.as_str(),
                _ => "",
            };
            let shown = quote(key).map_or_else(|| "unknown key".into(), |k| format!("unknown key {k}"));
            (shown, Some(did_you_mean(key, known)))
        }
        What::Missing(field) => (format!("`{field}` is missing"), Some(format!("add `{field}: …`"))),
        What::Variant { found, known } => {
            let found = quote(found).unwrap_or_else(|| "this text".into());
            (format!("{found} is not possible here"), Some(variants(&found, known)))
        }
        What::Type { found, kind, expected } => {
            let found_text = match quote(found) {
                Some(found) => format!("{found}, {kind}"),
                None => (*kind).to_owned(),
            };
            let (expected, example) = plain_expected(expected);
            (format!("expected {expected}, found {found_text}"), type_help(kind, found, &expected).or(example))
        }
        What::Custom(message) if message == "invalid IP address syntax" => (
            "not an IP address".into(),
            Some("use 127.0.0.1 for this machine only, 0.0.0.0 or :: for all; names are not looked up".into()),
        ),
        What::Custom(message) => (message.clone(), None),
    };
    let place = place.unwrap_or_else(|| tree.place.clone());
    Refused {
        path,
        place,
        message,
        help,
    }
}

fn did_you_mean(word: &str, known: &'static [&'static str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("known keys: {}", known.join(", ")),
    }
}

fn variants(found: &str, known: &'static [&'static str]) -> String {
    let all = format!("use one of {}", known.join(", "));
    match nearest(found.trim_matches('`'), known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`? {all}"),
        None => all,
    }
}

/// serde's word for a type, in words of the configuration; and an example where that helps.
fn plain_expected(expected: &str) -> (String, Option<String>) {
    let text = match expected {
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number",
        "a nonzero u32" | "a nonzero u64" => "a whole number of at least 1",
        "a boolean" => "true or false",
        "a string" => "a text",
        "a sequence" => "a list",
        "a map" => "a group of keys and values",
        "IP address" => "an IP address such as 127.0.0.1",
        _ if expected.starts_with("struct ") => "a group of keys",
        _ if expected.starts_with("variant ") || expected.starts_with("enum ") => "one word",
        _ => expected,
    };
    let example = match text {
        "a list" => Some("write `[a, b]`, or one `- item` a line"),
        "a group of keys" | "a group of keys and values" => {
            Some("write `key: value` lines below it")
        }
        _ => None,
    };
    (text.to_owned(), example.map(str::to_owned))
}

fn type_help(kind: &str, found: &str, expected: &str) -> Option<String> {
    let number = expected.starts_with("a whole number") && found.parse::<i128>().is_ok();
    let boolean = expected == "true or false";
    if kind == "a text" && number {
        return Some("remove the quotes".into());
    }
    if found.contains("${") {
        return Some(
            "references work in command, args, env, cwd, url, headers and secrets; set other \
             values with MCP_ULTRA_… environment variables"
                .into(),
        );
    }
    match found.to_ascii_lowercase().as_str() {
        "yes" | "on" if boolean => Some("write true".into()),
        "no" | "off" if boolean => Some("write false".into()),
        _ => None,
    }
}
