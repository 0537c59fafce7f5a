//! The configuration as a tree in which every value knows where it came from: what file,
//! environment and flags are merged into before it becomes a [`crate::Config`].

mod yaml;

pub(crate) use yaml::{LARGEST_FILE, parse};

use crate::origin::Origin;

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
