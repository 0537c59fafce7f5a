//! Grants are listed and withdrawn: what people have allowed the gateway to do in their name, without
//! the tokens, which nobody is shown. Links by which they do are made.

mod links;
mod view;

use std::sync::Arc;

use async_trait::async_trait;
use mcp_ultra_domain::{
    Grant,
    ports::{GrantStore, GrantStoreError},
};

pub use links::{LinkError, Links, MadeLink};
pub use view::GrantView;

/// What became of the tokens of a grant that was withdrawn, at the authorization server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked {
    /// It has ended them (RFC 7009).
    Yes,
    /// It does not offer that, so they last as long as they do there.
    NotOffered,
    /// It could not be asked, or the tokens could not be decrypted.
    Failed,
    /// Nobody was there who could have asked it.
    NotAsked,
}

impl Revoked {
    /// Its name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::NotOffered => "not_offered",
            Self::Failed => "failed",
            Self::NotAsked => "not_asked",
        }
    }
}

/// Ends what is left of a grant once it is removed.
#[async_trait]
pub trait Withdraw: Send + Sync {
    /// Forgets its tokens, and asks the authorization server to end them.
    async fn withdraw(&self, grant: &Grant) -> Revoked;
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// The tenant has no such grant.
    #[error("the tenant has no grant `{0}`")]
    Unknown(String),
    /// It has changed meanwhile.
    #[error("the grant has been changed meanwhile; read it again")]
    Changed,
    /// The store failed.
    #[error("{0}")]
    Store(String),
}

impl From<GrantStoreError> for GrantError {
    fn from(error: GrantStoreError) -> Self {
        match error {
            GrantStoreError::Changed => Self::Changed,
            GrantStoreError::Failed(_) => Self::Store(error.to_string()),
        }
    }
}

/// Lists and withdraws grants. Clones share the store.
#[derive(Clone)]
pub struct Grants {
    store: Arc<dyn GrantStore>,
    ended: Arc<dyn Withdraw>,
}

impl std::fmt::Debug for Grants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grants").finish_non_exhaustive()
    }
}

impl Grants {
    /// Those of `store`; `ended` ends what is left of one that is withdrawn.
    pub fn new(store: Arc<dyn GrantStore>, ended: Arc<dyn Withdraw>) -> Self {
        Self { store, ended }
    }

    /// A grant of a tenant.
    ///
    /// # Errors
    /// [`GrantError`]
    pub async fn get(&self, tenant: &str, id: &str) -> Result<Grant, GrantError> {
        let found = self.store.get(tenant, id).await?;
        found.ok_or_else(|| GrantError::Unknown(id.to_owned()))
    }

    /// At most `limit` grants of a tenant, or of one subject in it, from the one after `after`.
    ///
    /// # Errors
    /// [`GrantError`]
    pub async fn list(
        &self,
        tenant: &str,
        subject: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Grant>, GrantError> {
        Ok(self.store.list(tenant, subject, after, limit).await?)
    }

    /// Removes a grant, which must not have changed since it was read, and ends its tokens. It is
    /// removed whatever the authorization server says.
    ///
    /// # Errors
    /// [`GrantError`]
    pub async fn withdraw(&self, grant: &Grant) -> Result<Revoked, GrantError> {
        let removed = self.store.remove(&grant.tenant, &grant.id, grant.revision);
        removed.await?;
        Ok(self.ended.withdraw(grant).await)
    }
}
