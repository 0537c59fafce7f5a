//! From the tree to typed values: a serde deserializer over [`Node`] whose errors know their path,
//! and the loop that finds all problems instead of the first.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, IntoDeserializer, Unexpected, value::SeqDeserializer},
    forward_to_deserialize_any,
};

use crate::{
    error::is_secret_path,
    nearest::nearest,
    node::{Entry, Node, Place, Scalar, Segment, Value, show},
    reference::Lookup,
    text::REFERENCES,
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

/// Reads one value of the tree.
#[derive(Clone, Copy)]
struct Reader<'a> {
    node: &'a Node,
    lookup: &'a Lookup<'a>,
}

impl<'a> Reader<'a> {
    /// The value as text, if it has a spelling.
    fn text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Typed(_, text) | Value::Str(text) | Value::Loose(text) => Some(text),
            _ => None,
        }
    }

    fn number<'de, V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Loose(text) => match text.trim().parse() {
                Ok(number) => visit_int(number, visitor),
                Err(_) => visitor.visit_str(text),
            },
            _ => self.deserialize_any(visitor),
        }
    }
}

fn visit_int<'de, V: de::Visitor<'de>>(number: i128, visitor: V) -> Result<V::Value, ReadError> {
    if let Ok(number) = u64::try_from(number) {
        visitor.visit_u64(number)
    } else if let Ok(number) = i64::try_from(number) {
        visitor.visit_i64(number)
    } else {
        // Past every field: 64 bits are enough to say that it is too large.
        visitor.visit_u64(u64::MAX)
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            self.number(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Null | Value::Removed => visitor.visit_unit(),
            Value::Typed(Scalar::Bool(value), _) => visitor.visit_bool(*value),
            Value::Typed(Scalar::Int(value), _) => visit_int(*value, visitor),
            Value::Typed(Scalar::Float(value), _) => visitor.visit_f64(*value),
            Value::Str(text) | Value::Loose(text) => visitor.visit_str(text),
            Value::List(items) => visitor.visit_seq(Items {
                items: items.iter().enumerate(),
                lookup: self.lookup,
            }),
            Value::Map(entries) => visitor.visit_map(Entries {
                iter: entries.iter(),
                current: None,
                lookup: self.lookup,
            }),
        }
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    fn deserialize_bool<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Loose(text) => match text.trim() {
                "true" | "1" => visitor.visit_bool(true),
                "false" | "0" => visitor.visit_bool(false),
                _ => visitor.visit_str(text),
            },
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_str<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.text() {
            Some(text) => visitor.visit_str(text),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            // `servers:` with every item commented out.
            Value::Null => visitor.visit_seq(Items {
                items: [].iter().enumerate(),
                lookup: self.lookup,
            }),
            Value::Loose(text) => {
                let items = text
                    .split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty());
                visitor.visit_seq(SeqDeserializer::new(items))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_map<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            // `server:` with every key commented out.
            Value::Null => visitor.visit_map(Entries {
                iter: [].iter(),
                current: None,
                lookup: self.lookup,
            }),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: de::Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.node.value {
            // serde's structs can be read from lists, by position: nobody means that here.
            Value::List(_) => Err(de::Error::invalid_type(
                Unexpected::Seq,
                &format!("struct {name}").as_str(),
            )),
            _ => self.deserialize_map(visitor),
        }
    }

    fn deserialize_newtype_struct<V: de::Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if name != REFERENCES {
            return visitor.visit_newtype_struct(self);
        }
        let Some(written) = self.text() else {
            return String::deserialize(self).and_then(|text| visitor.visit_string(text));
        };
        let value = self
            .lookup
            .expand(written)
            .map_err(<ReadError as de::Error>::custom)?;
        visitor.visit_seq(SeqDeserializer::new(
            [written.to_owned(), value].into_iter(),
        ))
    }

    fn deserialize_enum<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match self.text() {
            Some(text) => visitor.visit_enum(text.into_deserializer()),
            None => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! { char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any }
}

struct Items<'a, I> {
    items: I,
    lookup: &'a Lookup<'a>,
}

impl<'de, 'a, I: Iterator<Item = (usize, &'a Node)>> de::SeqAccess<'de> for Items<'a, I> {
    type Error = ReadError;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let next = self
            .items
            .find(|(_, node)| !matches!(node.value, Value::Removed));
        let Some((index, node)) = next else {
            return Ok(None);
        };
        seed.deserialize(Reader {
            node,
            lookup: self.lookup,
        })
        .map(Some)
        .map_err(|error| error.under(Segment::Index(index)))
    }
}

struct Entries<'a, I> {
    iter: I,
    current: Option<&'a Entry>,
    lookup: &'a Lookup<'a>,
}

impl<'de, 'a, I: Iterator<Item = &'a Entry>> de::MapAccess<'de> for Entries<'a, I> {
    type Error = ReadError;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        self.current = self
            .iter
            .find(|entry| !matches!(entry.node.value, Value::Removed));
        let Some(entry) = self.current else {
            return Ok(None);
        };
        seed.deserialize(entry.key.as_str().into_deserializer())
            .map(Some)
            .map_err(|error: ReadError| error.under(Segment::Key(entry.key.clone())))
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, ReadError> {
        let Some(entry) = self.current.take() else {
            return Err(de::Error::custom("a value without its key"));
        };
        seed.deserialize(Reader {
            node: &entry.node,
            lookup: self.lookup,
        })
        .map_err(|error| error.under(Segment::Key(entry.key.clone())))
    }
}
