use std::collections::VecDeque;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::registry::{Change, KEPT_CHANGES, Kind, Past, Registry};

/// Why the registry could not be read or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryStoreError {
    /// It has another revision than the change was made for.
    #[error("the registry has been changed meanwhile")]
    Changed,
    /// The store can't be reached, or its data can't be read.
    #[error("the store of the registry failed: {0}")]
    Failed(String),
}

/// Where servers, policies and flags are kept that are changed at run time. What was changed is durable
/// when the call returns.
#[async_trait]
pub trait RegistryStore: Send + Sync {
    /// Its revision, which grows with each change and never goes back: what polls asks for it.
    async fn revision(&self) -> Result<u64, RegistryStoreError>;

    /// All of it, at one moment.
    async fn read(&self) -> Result<Registry, RegistryStoreError>;

    /// Makes a change, if the registry still has the revision `on`, that it was checked together
    /// with: two changes that are each fine may not be so together. Returns the new revision.
    ///
    /// # Errors
    /// [`RegistryStoreError::Changed`] where it has another one; nothing has changed then.
    async fn apply(&self, on: u64, change: &Change) -> Result<u64, RegistryStoreError>;

    /// The changes of one entry before the revision `before`, the last one first, at most `limit`.
    /// Of all entries together the last [`KEPT_CHANGES`] are kept.
    async fn history(
        &self,
        kind: Kind,
        name: &str,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Past>, RegistryStoreError>;
}

/// The registry of a single process, which forgets everything when it ends.
#[derive(Debug, Default)]
pub struct MemoryRegistryStore(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    registry: Registry,
    changes: VecDeque<Past>,
}

#[async_trait]
impl RegistryStore for MemoryRegistryStore {
    async fn revision(&self) -> Result<u64, RegistryStoreError> {
        Ok(self.0.lock().registry.revision)
    }

    async fn read(&self) -> Result<Registry, RegistryStoreError> {
        Ok(self.0.lock().registry.clone())
    }

    async fn apply(&self, on: u64, change: &Change) -> Result<u64, RegistryStoreError> {
        let mut kept = self.0.lock();
        if kept.registry.revision != on {
            return Err(RegistryStoreError::Changed);
        }
        kept.registry = kept.registry.with(change);
        let revision = kept.registry.revision;
        kept.changes.push_back(Past {
            revision,
            change: change.clone(),
        });
        kept.changes
            .retain(|past| past.revision + KEPT_CHANGES > revision);
        Ok(revision)
    }

    async fn history(
        &self,
        kind: Kind,
        name: &str,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Past>, RegistryStoreError> {
        let kept = self.0.lock();
        let of_entry = kept.changes.iter().rev().filter(|past| {
            past.change.kind == kind
                && past.change.name == name
                && before.is_none_or(|before| past.revision < before)
        });
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(of_entry.take(limit).cloned().collect())
    }
}
