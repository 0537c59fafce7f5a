//! The configuration as a tree in which every value knows where it came from: what file,
//! environment and flags are merged into before it becomes a [`crate::Config`].

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, de};
use serde_saphyr::{DuplicateKeyPolicy, Location, Spanned};

use crate::{
    error::{ConfigError, Problem, snippet},
    origin::Origin,
};

/// The largest file that is read; the smallest useful one has 300 bytes.
pub(crate) const LARGEST_FILE: usize = 4 * 1024 * 1024;

/// Where a value stands.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) origin: Origin,
    /// How many characters it takes.
    pub(crate) width: usize,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) place: Place,
}

/// A value as the file has it.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    /// Anything but a text, with its spelling: `1.10` is a fine text and another number.
    Typed(Scalar, String),
    Str(String),
    /// From a variable or a flag: a text that becomes whatever is asked for.
    Loose(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// Found wrong and reported; read as if it were not there.
    Removed,
}

/// A value that is not a text.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scalar {
    Bool(bool),
    Int(i128),
    Float(f64),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) node: Node,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Key(String),
    Index(usize),
}

/// A path as it is shown: `servers[1].url`.
pub(crate) fn show(path: &[Segment]) -> String {
    let segment = |(position, segment): (usize, &Segment)| match segment {
        Segment::Key(key) if position == 0 => key.clone(),
        Segment::Key(key) => format!(".{key}"),
        Segment::Index(index) => format!("[{index}]"),
    };
    path.iter().enumerate().map(segment).collect()
}

impl Node {
    /// A tree without anything in it.
    pub(crate) fn empty() -> Self {
        Self {
            value: Value::Map(Vec::new()),
            place: Place {
                origin: Origin::Default,
                width: 1,
            },
        }
    }

    /// The value at a path.
    pub(crate) fn get(&self, path: &[Segment]) -> Option<&Node> {
        path.iter()
            .try_fold(self, |node, segment| match (&node.value, segment) {
                (Value::Map(entries), Segment::Key(key)) => entries
                    .iter()
                    .find(|entry| entry.key == *key)
                    .map(|entry| &entry.node),
                (Value::List(items), Segment::Index(index)) => items.get(*index),
                _ => None,
            })
    }

    fn get_mut(&mut self, path: &[Segment]) -> Option<&mut Node> {
        path.iter()
            .try_fold(self, |node, segment| match (&mut node.value, segment) {
                (Value::Map(entries), Segment::Key(key)) => entries
                    .iter_mut()
                    .find(|entry| entry.key == *key)
                    .map(|entry| &mut entry.node),
                (Value::List(items), Segment::Index(index)) => items.get_mut(*index),
                _ => None,
            })
    }

    /// The key at the end of a path.
    pub(crate) fn key_place(&self, path: &[Segment]) -> Option<&Place> {
        let (last, parent) = path.split_last()?;
        match (&self.get(parent)?.value, last) {
            (Value::Map(entries), Segment::Key(key)) => entries
                .iter()
                .find(|entry| entry.key == *key)
                .map(|entry| &entry.place),
            _ => None,
        }
    }

    /// Takes a value out without moving its neighbours, so that their paths stay true. Says
    /// whether there was one.
    pub(crate) fn remove(&mut self, path: &[Segment]) -> bool {
        match self.get_mut(path) {
            Some(node) if !matches!(node.value, Value::Removed) => {
                node.value = Value::Removed;
                true
            }
            _ => false,
        }
    }

    /// Whether something directly below was taken out.
    pub(crate) fn has_removed(&self) -> bool {
        let removed = |node: &Node| matches!(node.value, Value::Removed);
        match &self.value {
            Value::Map(entries) => entries.iter().any(|entry| removed(&entry.node)),
            Value::List(items) => items.iter().any(removed),
            _ => false,
        }
    }

    /// Sets a value at a path of keys; sections on the way are made. A section that is no section
    /// is left as it is: reading it reports that.
    pub(crate) fn set(&mut self, path: &[&str], text: &str, origin: &Origin) {
        let place = Place {
            origin: origin.clone(),
            width: 1,
        };
        let mut node = self;
        for key in path {
            if matches!(node.value, Value::Null) {
                node.value = Value::Map(Vec::new());
            }
            let Value::Map(entries) = &mut node.value else {
                return;
            };
            let index = entries
                .iter()
                .position(|entry| entry.key == *key)
                .unwrap_or_else(|| {
                    entries.push(Entry {
                        key: (*key).to_owned(),
                        place: place.clone(),
                        node: Node {
                            value: Value::Null,
                            place: place.clone(),
                        },
                    });
                    entries.len() - 1
                });
            let Some(entry) = entries.get_mut(index) else {
                return;
            };
            node = &mut entry.node;
        }
        *node = Node {
            value: Value::Loose(text.to_owned()),
            place,
        };
    }

    /// Finds what a shown path of the *read* configuration leads to: the value or, where nothing
    /// was written, the nearest one around it; with the path as the file counts, in which items
    /// that were taken out still have their number.
    pub(crate) fn find(&self, shown: &str) -> (Vec<Segment>, &Node) {
        let mut path = Vec::new();
        let mut node = self;
        let mut rest = shown;
        loop {
            let step = match &node.value {
                Value::Map(entries) => find_key(entries, rest),
                Value::List(items) => find_index(items, rest),
                _ => None,
            };
            let Some((segment, next, left)) = step else {
                return (path, node);
            };
            path.push(segment);
            node = next;
            rest = left;
        }
    }
}

/// The entry whose key the path begins with; keys may contain dots, so the longest one.
fn find_key<'a, 'p>(entries: &'a [Entry], path: &'p str) -> Option<(Segment, &'a Node, &'p str)> {
    let path = path.strip_prefix('.').unwrap_or(path);
    entries
        .iter()
        .filter_map(|entry| Some((entry, path.strip_prefix(entry.key.as_str())?)))
        .filter(|(entry, rest)| {
            !entry.key.is_empty() && (rest.is_empty() || rest.starts_with(['.', '[']))
        })
        .max_by_key(|(entry, _)| entry.key.len())
        .map(|(entry, rest)| (Segment::Key(entry.key.clone()), &entry.node, rest))
}

fn find_index<'a, 'p>(items: &'a [Node], path: &'p str) -> Option<(Segment, &'a Node, &'p str)> {
    let (number, rest) = path.strip_prefix('[')?.split_once(']')?;
    let (index, node) = items
        .iter()
        .enumerate()
        .filter(|(_, item)| !matches!(item.value, Value::Removed))
        .nth(number.parse().ok()?)?;
    Some((Segment::Index(index), node, rest))
}

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
