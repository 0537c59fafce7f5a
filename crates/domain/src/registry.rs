//! The registry: servers, policies and feature flags that operators change while the gateway runs.
//!
//! An entry is the text that a file would have: the section of one server, one policy, the definition
//! of one flag. What a text means is for those to say who read such files; here is only what is kept,
//! and what becomes of it by a [`Change`]. It is above tenants, as servers and policies are.

use std::time::Duration;

/// How many of the last changes are kept.
pub const KEPT_CHANGES: u64 = 1_000;
/// The most entries: every gateway has all of them in memory.
pub const MOST_ENTRIES: usize = 2_000;
/// The longest text of an entry, in bytes.
pub const LONGEST_TEXT: usize = 48 * 1024;
/// The longest name of an entry, in bytes.
pub const LONGEST_NAME: usize = 128;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An MCP server: its section of the configuration.
    Server,
    /// A policy in Cedar.
    Policy,
    /// A feature flag in flagd's JSON.
    Flag,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Server, Self::Policy, Self::Flag];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Policy => "policy",
            Self::Flag => "flag",
        }
    }

    /// The name of many of them.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Server => "servers",
            Self::Policy => "policies",
            Self::Flag => "flags",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Something in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Its name, unique among those of its kind.
    pub name: String,
    /// What a file would have.
    pub text: String,
    /// The revision of the registry that it was put in, or changed, by.
    pub revision: u64,
    /// The revision that it is there since.
    pub created: u64,
    /// Who has changed it last.
    pub by: String,
    /// When, since the Unix epoch, in whole milliseconds.
    pub at: Duration,
}

impl Entry {
    /// How messages name it, as they name files.
    pub fn place(&self) -> String {
        place(self.kind, &self.name)
    }
}

/// How messages name an entry, as they name files.
pub fn place(kind: Kind, name: &str) -> String {
    format!("registry/{}/{name}", kind.plural())
}

/// All entries at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registry {
    /// Counts the changes that there were, of all entries together.
    pub revision: u64,
    /// The entries, in the order in which they came.
    pub entries: Vec<Entry>,
}

/// What is to become of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its new text; `None` where it goes.
    pub text: Option<String>,
    /// Who wants it.
    pub by: String,
    /// When, since the Unix epoch, in whole milliseconds.
    pub at: Duration,
}

/// A change that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// The revision of the registry that it made.
    pub revision: u64,
    /// What was changed.
    pub change: Change,
}

impl Registry {
    /// The entry of that name.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Entry> {
        self.of(kind).find(|entry| entry.name == name)
    }

    /// All of one kind, in the order in which they came.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.kind == kind)
    }

    /// What the registry is after this change, as the next revision.
    #[must_use]
    pub fn with(&self, change: &Change) -> Self {
        let mut next = self.clone();
        next.revision += 1;
        let is_meant = |entry: &Entry| entry.kind == change.kind && entry.name == change.name;
        let Some(text) = &change.text else {
            next.entries.retain(|entry| !is_meant(entry));
            return next;
        };
        let there = next.entries.iter().position(is_meant);
        let created = there.and_then(|at| next.entries.get(at));
        let entry = Entry {
            kind: change.kind,
            name: change.name.clone(),
            text: text.clone(),
            revision: next.revision,
            created: created.map_or(next.revision, |entry| entry.created),
            by: change.by.clone(),
            at: change.at,
        };
        match there.and_then(|at| next.entries.get_mut(at)) {
            Some(there) => *there = entry,
            None => next.entries.push(entry),
        }
        next
    }

    /// How many bytes all texts have together.
    pub fn size(&self) -> usize {
        self.entries.iter().map(|entry| entry.text.len()).sum()
    }
}
