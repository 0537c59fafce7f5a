//! Of all gateways one refreshes the tokens of a grant, and the others wait for what it gets: a
//! refresh token that rotates and is shown twice ends the whole grant (OAuth 2.1, 4.3.1).
//!
//! Who claims it has it for a time, so that nobody waits for ever for one that has died.

use std::time::Duration;

use mcp_ultra_domain::{Grant, ports::GrantStoreError};
use mcp_ultra_edge::credentials::CredentialError;
use tokio::time::Instant;

use super::Grants;
use crate::random;

/// How much longer a claim is good than a request for a token takes at most: what was got has to be
/// kept meanwhile, and clocks differ.
const MARGIN: Duration = Duration::from_secs(5);
/// How soon who waits looks again: at first, and at most. It doubles in between.
const PACE: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(500));

/// The right to refresh the tokens of one revision of a grant.
pub(super) struct Claim(String);

impl Grants {
    /// Claims to refresh the tokens of a grant at an authorization server that is asked for
    /// `timeout` at most; waits while somebody else does it. `None` where the grant has changed:
    /// what is there now counts. Whoever waits for longer than anybody could have it gives up.
    pub(super) async fn claim(
        &self,
        grant: &Grant,
        timeout: Duration,
    ) -> Result<Option<Claim>, CredentialError> {
        let lease = timeout.saturating_add(MARGIN);
        let patience = Instant::now() + lease + PACE.1;
        let claim = Claim(random::identifier());
        let mut pace = PACE.0;
        loop {
            if self.try_claim(grant, &claim, lease).await? {
                return Ok(Some(claim));
            }
            if self.find(&grant.principal).await?.as_ref() != Some(grant) {
                return Ok(None);
            }
            if Instant::now() > patience {
                tracing::warn!(server = %self.server, grant = grant.id, "another gateway has not refreshed the tokens of a grant in the time for it; it is tried again with the next call");
                return Err(CredentialError::Unavailable);
            }
            tokio::time::sleep(pace).await;
            pace = (pace * 2).min(PACE.1);
        }
    }

    async fn try_claim(
        &self,
        grant: &Grant,
        claim: &Claim,
        lease: Duration,
    ) -> Result<bool, CredentialError> {
        let now = self.shared.clock.now();
        let store = &self.shared.store;
        let claimed = store.claim_refresh(grant, &claim.0, now, now.saturating_add(lease));
        claimed.await.map_err(|error| {
            self.unclaimable(&error);
            CredentialError::Unavailable
        })
    }

    /// Gives a claim back that came to nothing, so that nobody waits for its end.
    pub(super) async fn unclaim(&self, grant: &Grant, claim: &Claim) {
        if let Err(error) = self.shared.store.unclaim_refresh(grant, &claim.0).await {
            self.unclaimable(&error);
        }
    }

    /// Where nobody can say that they refresh it, nobody does: what they would get could not be kept
    /// either.
    fn unclaimable(&self, error: &GrantStoreError) {
        tracing::error!(server = %self.server, %error, "it can't be written who refreshes what people have granted");
    }
}
