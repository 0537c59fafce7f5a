use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::ApiKey;

/// Why a store of API keys did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyStoreError {
    /// The tenant has a key of that name already, or another key has the identifier or a secret's
    /// part that it is found by.
    #[error("there is an API key of that name already")]
    Exists,
    /// The key is not of the revision that the change was made for.
    #[error("the API key has been changed meanwhile")]
    Changed,
    /// The store can't be reached, or its data can't be read.
    #[error("the store of API keys failed: {0}")]
    Failed(String),
}

/// Where API keys are kept. What is added is durable when the call returns.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Keeps a new key.
    async fn add(&self, key: &ApiKey) -> Result<(), KeyStoreError>;

    /// The key that has a secret with this part, of whatever tenant and whether it has ended or
    /// not.
    async fn find(&self, lookup: &str) -> Result<Option<ApiKey>, KeyStoreError>;

    /// A key of a tenant.
    async fn get(&self, tenant: &str, id: &str) -> Result<Option<ApiKey>, KeyStoreError>;

    /// At most `limit` keys of a tenant, in the order of their identifiers, from the one after
    /// `after`.
    async fn list(
        &self,
        tenant: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ApiKey>, KeyStoreError>;

    /// Replaces a key of which `revision` is kept; the new one must have the next revision.
    async fn replace(&self, key: &ApiKey, revision: u64) -> Result<(), KeyStoreError>;

    /// Notes when secrets were used for the last time. Unknown ones are passed over, and no
    /// revision changes.
    async fn used(&self, uses: &[(String, Duration)]) -> Result<(), KeyStoreError>;
}

/// The store of a single process, which forgets everything when it ends.
#[derive(Debug, Default)]
pub struct MemoryKeyStore {
    keys: Mutex<BTreeMap<String, ApiKey>>,
}

#[async_trait]
impl KeyStore for MemoryKeyStore {
    async fn add(&self, key: &ApiKey) -> Result<(), KeyStoreError> {
        let mut keys = self.keys.lock();
        let taken = keys.values().any(|other| {
            other.id == key.id
                || (other.tenant == key.tenant && other.name == key.name)
                || shares_a_secret(other, key)
        });
        if taken {
            return Err(KeyStoreError::Exists);
        }
        keys.insert(key.id.clone(), key.clone());
        Ok(())
    }

    async fn find(&self, lookup: &str) -> Result<Option<ApiKey>, KeyStoreError> {
        let keys = self.keys.lock();
        let has = |key: &&ApiKey| key.secrets.iter().any(|one| one.lookup == lookup);
        Ok(keys.values().find(has).cloned())
    }

    async fn get(&self, tenant: &str, id: &str) -> Result<Option<ApiKey>, KeyStoreError> {
        let keys = self.keys.lock();
        Ok(keys.get(id).filter(|key| key.tenant == tenant).cloned())
    }

    async fn list(
        &self,
        tenant: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ApiKey>, KeyStoreError> {
        let keys = self.keys.lock();
        let later = keys
            .values()
            .filter(|key| key.tenant == tenant && after.is_none_or(|after| *key.id > *after));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(later.take(limit).cloned().collect())
    }

    async fn replace(&self, key: &ApiKey, revision: u64) -> Result<(), KeyStoreError> {
        let mut keys = self.keys.lock();
        let others = keys.values().filter(|other| other.id != key.id);
        let mut others = others.into_iter();
        if others.any(|other| {
            (other.tenant == key.tenant && other.name == key.name) || shares_a_secret(other, key)
        }) {
            return Err(KeyStoreError::Exists);
        }
        let kept = keys.get_mut(&key.id);
        let kept = kept.filter(|kept| kept.revision == revision && kept.tenant == key.tenant);
        let kept = kept.ok_or(KeyStoreError::Changed)?;
        let before = std::mem::replace(kept, key.clone());
        // What was used meanwhile stays noted.
        for secret in &mut kept.secrets {
            let mut before = before.secrets.iter();
            if let Some(one) = before.find(|one| one.lookup == secret.lookup) {
                secret.last_used = one.last_used;
            }
        }
        Ok(())
    }

    async fn used(&self, uses: &[(String, Duration)]) -> Result<(), KeyStoreError> {
        let mut keys = self.keys.lock();
        for (lookup, at) in uses {
            let secrets = keys.values_mut().flat_map(|key| &mut key.secrets);
            for secret in secrets.filter(|one| one.lookup == *lookup) {
                secret.last_used = secret.last_used.max(Some(*at));
            }
        }
        Ok(())
    }
}

fn shares_a_secret(one: &ApiKey, other: &ApiKey) -> bool {
    let has = |lookup: &str| other.secrets.iter().any(|secret| secret.lookup == lookup);
    one.secrets.iter().any(|secret| has(&secret.lookup))
}
