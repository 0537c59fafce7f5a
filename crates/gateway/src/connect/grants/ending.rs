//! How grants end: withdrawn, revoked, or as the authorization server says.

use std::{sync::Arc, time::Duration};

use mcp_ultra_domain::{Grant, ports::GrantStoreError};
use mcp_ultra_edge::credentials::{AccessToken, CredentialError, Failure, TokenEndpoint};

use super::Grants;

/// How long another process may take to keep what it has refreshed.
const OTHERS: Duration = Duration::from_millis(1500);

/// What became of the tokens of a grant at the authorization server (RFC 7009).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// It has ended them.
    Done,
    /// It does not offer that.
    NotOffered,
    /// It was not reached, or they are not its own or can't be decrypted.
    Failed,
}

impl Grants {
    /// Ends what goes on with what a principal has granted, since it was withdrawn.
    pub(crate) fn ends(&self, principal: &str) {
        self.shared.lives.end(principal, &self.server);
    }

    /// The principals with whose grants something goes on.
    pub(crate) fn in_use(&self) -> Vec<Arc<str>> {
        self.shared.lives.in_use(&self.server)
    }

    /// Whether a principal has no grant (any more). Not where the store can't be read.
    pub(crate) async fn is_gone(&self, principal: &str) -> bool {
        let found = self.shared.store.find(principal, &self.server).await;
        matches!(found, Ok(None))
    }

    /// Ends the tokens of a grant at the authorization server: with the refresh token all that came
    /// of it ends (RFC 7009, 2.1).
    pub(crate) async fn revoke(&self, grant: &Grant, endpoint: &TokenEndpoint) -> Revocation {
        let tokens = match self.opened(grant, endpoint) {
            Ok(tokens) => tokens,
            Err(why) => {
                tracing::warn!(server = %self.server, grant = grant.id, why, "the tokens of a grant can't be revoked");
                return Revocation::Failed;
            }
        };
        let (token, hint) = match &tokens.refresh {
            Some(refresh) => (refresh, "refresh_token"),
            None => (&tokens.access, "access_token"),
        };
        match endpoint.revoke(token, hint).await {
            Ok(true) => Revocation::Done,
            Ok(false) => Revocation::NotOffered,
            Err(error) => {
                tracing::warn!(server = %self.server, grant = grant.id, %error, "the tokens of a grant could not be revoked");
                Revocation::Failed
            }
        }
    }

    /// The authorization server says that a grant has ended. It says so too where another process
    /// has used the refresh token first, and that one may be about to keep what it got.
    pub(super) async fn has_ended(&self, grant: &Grant) -> Result<Option<AccessToken>, Failure> {
        tokio::time::sleep(OTHERS).await;
        let now = self.find(&grant.principal).await?;
        if now.is_some_and(|now| now != *grant) {
            return Ok(None);
        }
        let why = "the authorization server says that it has ended";
        self.end(grant, why).await
    }

    /// Removes a grant that is of no more use; `None` where it has changed meanwhile.
    pub(super) async fn end(
        &self,
        grant: &Grant,
        why: &'static str,
    ) -> Result<Option<AccessToken>, Failure> {
        let store = &self.shared.store;
        let removed = store.remove(&grant.tenant, &grant.id, grant.revision);
        match removed.await {
            Ok(()) => {
                tracing::info!(server = %self.server, grant = grant.id, why, "a grant has ended; its person is asked again");
            }
            Err(GrantStoreError::Changed) => return Ok(None),
            Err(error) => {
                tracing::warn!(server = %self.server, grant = grant.id, %error, "a grant that has ended could not be removed");
            }
        }
        Err(CredentialError::NotGranted.into())
    }
}
