use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;

/// The store failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store of idempotency keys failed: {0}")]
pub struct IdempotencyError(pub String);

/// What an idempotency key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Nothing was asked under this key before: what is made has the identifier that was proposed.
    New,
    /// The same was asked before: what was, or is being, made has this identifier.
    Same(String),
    /// Something else was asked under this key.
    Other,
}

/// What was asked under which idempotency key (draft-ietf-httpapi-idempotency-key-header), so that
/// a create that is sent again makes nothing a second time.
///
/// What is kept is the identifier of what is to be made, before it is made: whoever finds it and
/// nothing of that identifier makes it.
#[async_trait]
pub trait IdempotencyStore: Send + Sync {
    /// Claims `key` of `owner`, for a request with this digest that would make `id`. `now` is the
    /// time since the Unix epoch.
    async fn claim(
        &self,
        owner: &str,
        key: &str,
        digest: &[u8; 32],
        id: &str,
        now: Duration,
    ) -> Result<Claim, IdempotencyError>;

    /// Forgets what was claimed before `before`. Returns how many.
    async fn expire(&self, before: Duration) -> Result<u64, IdempotencyError>;
}

/// The store of a single process.
#[derive(Debug, Default)]
pub struct MemoryIdempotencyStore {
    claims: Mutex<HashMap<(String, String), Claimed>>,
}

#[derive(Debug)]
struct Claimed {
    digest: [u8; 32],
    id: String,
    at: Duration,
}

#[async_trait]
impl IdempotencyStore for MemoryIdempotencyStore {
    async fn claim(
        &self,
        owner: &str,
        key: &str,
        digest: &[u8; 32],
        id: &str,
        now: Duration,
    ) -> Result<Claim, IdempotencyError> {
        let mut claims = self.claims.lock();
        let at = (owner.to_owned(), key.to_owned());
        if let Some(claimed) = claims.get(&at) {
            return Ok(if claimed.digest == *digest {
                Claim::Same(claimed.id.clone())
            } else {
                Claim::Other
            });
        }
        let claimed = Claimed {
            digest: *digest,
            id: id.to_owned(),
            at: now,
        };
        claims.insert(at, claimed);
        Ok(Claim::New)
    }

    async fn expire(&self, before: Duration) -> Result<u64, IdempotencyError> {
        let mut claims = self.claims.lock();
        let count = claims.len();
        claims.retain(|_, claimed| claimed.at >= before);
        Ok(u64::try_from(count - claims.len()).unwrap_or(u64::MAX))
    }
}
