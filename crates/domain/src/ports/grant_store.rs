use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::Grant;

/// Why a store of grants did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantStoreError {
    /// The grant is not of the revision that the change was made for, or is there no more.
    #[error("the grant has been changed meanwhile")]
    Changed,
    /// The store can't be reached, or its data can't be read.
    #[error("the store of grants failed: {0}")]
    Failed(String),
}

/// Where grants are kept: one for each principal and server. What is put or replaced is durable when
/// the call returns, since an authorization server may have ended the tokens before.
#[async_trait]
pub trait GrantStore: Send + Sync {
    /// The grant of a principal for a server.
    async fn find(&self, principal: &str, server: &str) -> Result<Option<Grant>, GrantStoreError>;

    /// Keeps a grant that was given now, in the place of the one that its principal has for that
    /// server.
    async fn put(&self, grant: &Grant) -> Result<(), GrantStoreError>;

    /// Replaces a grant of which `revision` is kept; the new one must have the next revision. Of
    /// several that try at once, one does it.
    async fn replace(&self, grant: &Grant, revision: u64) -> Result<(), GrantStoreError>;

    /// Claims to refresh the tokens of a grant, until `until`: of several who would do so at once,
    /// one does. `by` names the claim, and is another one each time. `false` where somebody else has
    /// a claim that has not ended `now`, or where the grant is not of this revision (any more). A
    /// claim ends with the grant's revision, too: whoever keeps new tokens needs not give it back.
    ///
    /// Times are those of whoever asks, so that clocks which differ by less than a claim is longer
    /// than a refresh do no harm.
    async fn claim_refresh(
        &self,
        grant: &Grant,
        by: &str,
        now: Duration,
        until: Duration,
    ) -> Result<bool, GrantStoreError>;

    /// Gives a claim back that came to nothing, where it still is the one of that name.
    async fn unclaim_refresh(&self, grant: &Grant, by: &str) -> Result<(), GrantStoreError>;

    /// A grant of a tenant.
    async fn get(&self, tenant: &str, id: &str) -> Result<Option<Grant>, GrantStoreError>;

    /// At most `limit` grants of a tenant, or of those that one subject has given, in the order of
    /// their identifiers, from the one after `after`.
    async fn list(
        &self,
        tenant: &str,
        subject: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Grant>, GrantStoreError>;

    /// At most `limit` grants for a server, of all tenants, the oldest first: from the one after
    /// `after`, by when that was given and its identifier.
    async fn oldest(
        &self,
        server: &str,
        after: Option<(Duration, &str)>,
        limit: u32,
    ) -> Result<Vec<Grant>, GrantStoreError>;

    /// Removes a grant of which `revision` is kept.
    async fn remove(&self, tenant: &str, id: &str, revision: u64) -> Result<(), GrantStoreError>;
}

/// The store of a single process, which forgets everything when it ends.
#[derive(Debug, Default)]
pub struct MemoryGrantStore {
    grants: Mutex<BTreeMap<String, Grant>>,
    /// Who refreshes which, by its identifier.
    claims: Mutex<BTreeMap<String, Claim>>,
}

/// Of one revision of a grant.
#[derive(Debug)]
struct Claim {
    by: String,
    revision: u64,
    until: Duration,
}

#[async_trait]
impl GrantStore for MemoryGrantStore {
    async fn find(&self, principal: &str, server: &str) -> Result<Option<Grant>, GrantStoreError> {
        let grants = self.grants.lock();
        let is = |grant: &&Grant| grant.principal == principal && grant.server == server;
        Ok(grants.values().find(is).cloned())
    }

    async fn put(&self, grant: &Grant) -> Result<(), GrantStoreError> {
        let mut grants = self.grants.lock();
        grants.retain(|_, kept| kept.principal != grant.principal || kept.server != grant.server);
        grants.insert(grant.id.clone(), grant.clone());
        Ok(())
    }

    async fn replace(&self, grant: &Grant, revision: u64) -> Result<(), GrantStoreError> {
        let mut grants = self.grants.lock();
        let kept = grants.get_mut(&grant.id);
        let kept = kept.filter(|kept| kept.revision == revision && kept.tenant == grant.tenant);
        *kept.ok_or(GrantStoreError::Changed)? = grant.clone();
        Ok(())
    }

    async fn claim_refresh(
        &self,
        grant: &Grant,
        by: &str,
        now: Duration,
        until: Duration,
    ) -> Result<bool, GrantStoreError> {
        let (grants, mut claims) = (self.grants.lock(), self.claims.lock());
        claims.retain(|id, claim| {
            let kept = grants.get(id);
            claim.until > now && kept.is_some_and(|kept| kept.revision == claim.revision)
        });
        let kept = grants.get(&grant.id);
        let is_there =
            kept.is_some_and(|kept| kept.revision == grant.revision && kept.tenant == grant.tenant);
        if !is_there || claims.contains_key(&grant.id) {
            return Ok(false);
        }
        let (by, revision) = (by.to_owned(), grant.revision);
        let claim = Claim {
            by,
            revision,
            until,
        };
        claims.insert(grant.id.clone(), claim);
        Ok(true)
    }

    async fn unclaim_refresh(&self, grant: &Grant, by: &str) -> Result<(), GrantStoreError> {
        let mut claims = self.claims.lock();
        claims.retain(|id, claim| *id != grant.id || claim.by != by);
        Ok(())
    }

    async fn get(&self, tenant: &str, id: &str) -> Result<Option<Grant>, GrantStoreError> {
        let grants = self.grants.lock();
        let grant = grants.get(id).filter(|grant| grant.tenant == tenant);
        Ok(grant.cloned())
    }

    async fn list(
        &self,
        tenant: &str,
        subject: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Grant>, GrantStoreError> {
        let grants = self.grants.lock();
        let listed = grants.values().filter(|grant| {
            grant.tenant == tenant
                && subject.is_none_or(|subject| grant.subject == subject)
                && after.is_none_or(|after| *grant.id > *after)
        });
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(listed.take(limit).cloned().collect())
    }

    async fn oldest(
        &self,
        server: &str,
        after: Option<(Duration, &str)>,
        limit: u32,
    ) -> Result<Vec<Grant>, GrantStoreError> {
        let grants = self.grants.lock();
        let age = |grant: &Grant| (grant.created, grant.id.clone());
        let after = after.map(|(created, id)| (created, id.to_owned()));
        let of_server = grants.values().filter(|grant| grant.server == server);
        let mut found: Vec<Grant> = of_server
            .filter(|grant| after.as_ref().is_none_or(|after| age(grant) > *after))
            .cloned()
            .collect();
        found.sort_by_key(age);
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(found)
    }

    async fn remove(&self, tenant: &str, id: &str, revision: u64) -> Result<(), GrantStoreError> {
        let mut grants = self.grants.lock();
        let kept = grants.get(id);
        let kept = kept.filter(|kept| kept.revision == revision && kept.tenant == tenant);
        kept.ok_or(GrantStoreError::Changed)?;
        grants.remove(id);
        Ok(())
    }
}
