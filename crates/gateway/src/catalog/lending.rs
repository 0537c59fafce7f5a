//! Whose grant lists are read with, where callers lend theirs (`credentials.catalog: first_grant`).

use std::time::Duration;

use mcp_ultra_edge::credentials::CredentialError;
use tokio::time::Instant;

use crate::upstream::{Holder, Upstream, UpstreamError};

/// Chooses it. Says whether it is another one than before: what is open was opened with that.
pub(super) async fn choose(upstream: &Upstream) -> Result<bool, UpstreamError> {
    let Some(credentials) = upstream.settings().lent() else {
        return Ok(false);
    };
    let next = match credentials.next_lender().await {
        Ok(next) => Some(next),
        Err(CredentialError::NobodyGranted) => None,
        // The one before is as good as it was.
        Err(error) => return Err(error.into()),
    };
    let before = credentials.lender();
    let id = |lender: &Option<_>| lender.as_ref().map(mcp_ultra_domain::Principal::shared_id);
    let is_other = id(&before) != id(&next);
    let is_nobody = next.is_none();
    if is_other {
        // First, with the token that it was opened with.
        upstream.close(&Holder::Catalog).await;
        credentials.lend(next);
        tracing::info!(upstream = %upstream.name(), is_nobody, "the lists of the upstream are read with what another person has granted from now on");
    }
    if is_nobody {
        return Err(CredentialError::NobodyGranted.into());
    }
    Ok(is_other)
}

/// Takes how a reading came out: where the upstream shows its lists to others than the one whose
/// grant is lent, another one is chosen next.
pub(super) fn note(upstream: &Upstream, error: Option<&UpstreamError>) {
    let is_refused = matches!(
        error,
        Some(
            UpstreamError::Status(401 | 403)
                | UpstreamError::Scope(_)
                | UpstreamError::ScopeInVain(_)
        )
    );
    if is_refused && let Some(credentials) = upstream.settings().lent() {
        credentials.lender_refused();
    }
}

/// How long lists stay that nobody's grant is there for any more. The one whose grant has ended by
/// itself can call, and be asked for another one, until then.
#[derive(Default)]
pub(super) struct Patience {
    since: Option<Instant>,
}

impl Patience {
    /// Takes how a reading came out, and says whether what was read before has to go, after `longest`.
    pub(super) fn is_over(&mut self, error: Option<&UpstreamError>, longest: Duration) -> bool {
        let nobody = UpstreamError::Credentials(CredentialError::NobodyGranted);
        if error != Some(&nobody) {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        since.elapsed() >= longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn lists_stay_for_a_while_without_a_grant() {
        let mut patience = Patience::default();
        let longest = Duration::from_mins(5);
        let nobody = UpstreamError::Credentials(CredentialError::NobodyGranted);
        let pass = |minutes| tokio::time::advance(Duration::from_mins(minutes));
        assert!(!patience.is_over(Some(&nobody), longest));
        pass(4).await;
        assert!(!patience.is_over(Some(&nobody), longest));
        pass(1).await;
        assert!(patience.is_over(Some(&nobody), longest));
        assert!(!patience.is_over(Some(&UpstreamError::Closed), longest));
        assert!(!patience.is_over(Some(&nobody), longest), "it begins anew");
        pass(6).await;
        assert!(!patience.is_over(None, longest));
        assert!(!patience.is_over(Some(&nobody), longest));
    }
}
