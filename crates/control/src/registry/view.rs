use jiff::Timestamp;
use mcp_ultra_domain::registry::{Entry, Past};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::FileEntry;
use crate::time::timestamp;

/// A server, a policy or a feature flag, and where it is from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RegistryEntry)]
pub struct EntryView {
    /// Its name.
    pub name: String,
    /// Whose definition is in force: `file` or `registry`.
    pub source: String,
    /// Where the file has it, such as `gateway.yaml:12`; null where it has not.
    pub place: Option<String>,
    /// The text that the registry has; null in lists, and where it has none.
    pub text: Option<String>,
    /// The revision of the registry that it was changed by last.
    pub revision: Option<u64>,
    /// Who has changed it last.
    pub changed_by: Option<String>,
    /// When (RFC 3339).
    #[schema(value_type = Option<String>, format = DateTime)]
    pub changed: Option<Timestamp>,
    /// Whether the registry has one that is not used, since the file has one of the same name.
    pub shadowed_by_file: bool,
}

impl EntryView {
    /// An entry of the registry, which the file may have too.
    pub(super) fn of(entry: &Entry, file: Option<&FileEntry>) -> Self {
        Self {
            name: entry.name.clone(),
            source: file.map_or("registry", |_| "file").to_owned(),
            place: file.map(|file| file.place.clone()),
            text: Some(entry.text.clone()),
            revision: Some(entry.revision),
            changed_by: Some(entry.by.clone()),
            changed: Some(timestamp(entry.at)),
            shadowed_by_file: file.is_some(),
        }
    }

    /// What the file alone has.
    pub(super) fn of_file(file: &FileEntry) -> Self {
        Self {
            name: file.name.clone(),
            source: "file".to_owned(),
            place: Some(file.place.clone()),
            text: None,
            revision: None,
            changed_by: None,
            changed: None,
            shadowed_by_file: false,
        }
    }

    pub(super) fn without_text(self) -> Self {
        Self { text: None, ..self }
    }
}

/// A change of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RegistryChange)]
pub struct PastView {
    /// The revision of the registry that it made.
    pub revision: u64,
    /// The text that it was given; null where it was taken away.
    pub text: Option<String>,
    /// Who has changed it.
    pub changed_by: String,
    /// When (RFC 3339).
    #[schema(value_type = String, format = DateTime)]
    pub changed: Timestamp,
}

impl PastView {
    pub(super) fn of(past: &Past) -> Self {
        Self {
            revision: past.revision,
            text: past.change.text.clone(),
            changed_by: past.change.by.clone(),
            changed: timestamp(past.change.at),
        }
    }
}
