//! Callers are blocked for a time: whatever credential they show is refused as a bad one, and what they
//! have open ends.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use mcp_ultra_domain::{
    Block, Clock,
    ports::{BlockStore, BlockStoreError},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time::timestamp;

/// The longest time that a caller is blocked for. Who is to stay out for good loses their account at
/// the issuer, their API key or what the policies permit them.
pub const LONGEST: Duration = Duration::from_hours(30 * 24);

/// A caller who is blocked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Block)]
pub struct BlockView {
    /// Its identifier: of one caller always the same.
    pub id: String,
    /// Whose the caller is.
    pub tenant: String,
    /// Who vouches for the caller.
    pub issuer: String,
    /// Who the caller is for the issuer.
    pub subject: String,
    /// Since when (RFC 3339).
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
}

impl From<&Block> for BlockView {
    fn from(block: &Block) -> Self {
        Self {
            id: block.id.clone(),
            tenant: block.tenant.clone(),
            issuer: block.issuer.clone(),
            subject: block.subject.clone(),
            since: timestamp(block.since),
            until: timestamp(block.until),
        }
    }
}

/// Why nobody can be blocked until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it must be later than now, and at most 30 days later")]
pub struct NoSuchTime;

/// Blocks callers and lets them in again. Clones share the store.
#[derive(Clone)]
pub struct Blocks {
    store: Arc<dyn BlockStore>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Blocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blocks").finish_non_exhaustive()
    }
}

impl Blocks {
    /// Those of `store`.
    pub fn new(store: Arc<dyn BlockStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// A block of a caller from now on; nothing is done yet.
    ///
    /// # Errors
    /// [`NoSuchTime`]
    pub fn of(
        &self,
        tenant: &str,
        issuer: &str,
        subject: &str,
        until: Timestamp,
    ) -> Result<Block, NoSuchTime> {
        let millis = u64::try_from(until.as_millisecond()).map_err(|_| NoSuchTime)?;
        let (since, until) = (self.now(), Duration::from_millis(millis));
        if until <= since || until > since + LONGEST {
            return Err(NoSuchTime);
        }
        Ok(Block {
            id: id(tenant, issuer, subject),
            tenant: tenant.to_owned(),
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            since,
            until,
        })
    }

    /// Keeps it, in the place of another one of the same caller. Gateways refuse the caller once they
    /// have read it.
    ///
    /// # Errors
    /// The store failed.
    pub async fn put(&self, block: &Block) -> Result<(), BlockStoreError> {
        self.store.put(block).await
    }

    /// Those of a tenant that are not over, in the order of their identifiers.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list(&self, tenant: &str) -> Result<Vec<Block>, BlockStoreError> {
        let mut all = self.store.in_force(self.now()).await?;
        all.retain(|block| block.tenant == tenant);
        Ok(all)
    }

    /// One of a tenant that is not over.
    ///
    /// # Errors
    /// The store failed.
    pub async fn get(&self, tenant: &str, id: &str) -> Result<Option<Block>, BlockStoreError> {
        let mut all = self.list(tenant).await?.into_iter();
        Ok(all.find(|block| block.id == id))
    }

    /// Ends a block before its time; `false` where it is another one meanwhile.
    ///
    /// # Errors
    /// The store failed.
    pub async fn remove(&self, block: &Block) -> Result<bool, BlockStoreError> {
        self.store.remove(block).await
    }

    /// In whole milliseconds, as it is kept.
    fn now(&self) -> Duration {
        let millis = u64::try_from(self.clock.now().as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(millis)
    }
}

/// No two callers have one: lengths stand in front of what an issuer has chosen.
fn id(tenant: &str, issuer: &str, subject: &str) -> String {
    let (tenants, issuers) = (tenant.len(), issuer.len());
    let text = format!("{tenants}:{tenant}:{issuers}:{issuer}:{subject}");
    let digest = digest(&SHA256, text.as_bytes());
    let bytes = digest.as_ref().iter().take(16);
    bytes.fold(String::new(), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    })
}

#[cfg(test)]
mod tests {
    use mcp_ultra_domain::{ManualClock, ports::MemoryBlockStore};

    use super::*;

    #[test]
    fn nobody_is_blocked_in_the_past_or_for_good() {
        let now = Duration::from_hours(500_000);
        let clock = Arc::new(ManualClock::at(now));
        let blocks = Blocks::new(Arc::new(MemoryBlockStore::default()), clock);
        let until = |until| blocks.of("acme", "idp", "ana", timestamp(until));
        assert_eq!(until(now), Err(NoSuchTime));
        assert_eq!(
            until(now + LONGEST + Duration::from_millis(1)),
            Err(NoSuchTime)
        );
        assert_eq!(until(now + LONGEST).unwrap().until, now + LONGEST);
        assert_ne!(id("acme", "a", "b:1:c"), id("acme", "a:b:1", "c"));
        // Nor does the block of one take the place of that of a namesake in another tenant.
        assert_ne!(id("acme", "idp", "ana"), id("other", "idp", "ana"));
    }
}
