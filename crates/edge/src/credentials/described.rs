//! What an authorization server has said of itself, for a while.

use std::time::Duration;

use parking_lot::Mutex;

use super::{AuthorizationServer, TokenEndpoint, TokenError};

/// How long it is believed: endpoints that have moved are found by then.
const GOOD_FOR: Duration = Duration::from_mins(5);
/// How long nobody asks again after a failure, so that people who try once more do not make a
/// server busy that is not well.
const BAD_FOR: Duration = Duration::from_secs(3);

/// What whoever asks can't do without.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Anything,
    /// PKCE: one that did not offer it is asked again as soon as one that failed.
    Pkce,
}

/// The last answer of one authorization server. One task asks at a time, and the others wait for
/// what it finds.
#[derive(Default)]
pub(super) struct Described {
    last: Mutex<Option<(Result<AuthorizationServer, String>, Duration)>>,
    turn: tokio::sync::Mutex<()>,
}

impl Described {
    /// What it says of itself. Bounded by the timeout of its client, and the same again for the turn
    /// of another one.
    pub(super) async fn get(
        &self,
        endpoint: &TokenEndpoint,
        need: Need,
    ) -> Result<AuthorizationServer, TokenError> {
        if let Some(known) = self.known(endpoint, need) {
            return known;
        }
        let patience = endpoint.settings.timeout;
        let late = |_| TokenError::Timeout(patience);
        let waiting = tokio::time::timeout(patience, self.turn.lock());
        let _turn = waiting.await.map_err(late)?;
        if let Some(known) = self.known(endpoint, need) {
            return known;
        }
        let asking = tokio::time::timeout(patience, endpoint.discover());
        let found = asking.await.map_err(late).and_then(|found| found);
        let kept = match &found {
            Ok(server) => Ok(server.clone()),
            Err(TokenError::Discovery(why)) => Err(why.clone()),
            Err(error) => Err(error.to_string()),
        };
        *self.last.lock() = Some((kept, endpoint.clock.now()));
        found
    }

    /// It may be another one now.
    pub(super) fn forget(&self) {
        *self.last.lock() = None;
    }

    fn known(
        &self,
        endpoint: &TokenEndpoint,
        need: Need,
    ) -> Option<Result<AuthorizationServer, TokenError>> {
        let last = self.last.lock();
        let (found, when) = last.as_ref()?;
        let good = match found {
            Ok(server) => need == Need::Anything || server.proves_codes(),
            Err(_) => false,
        };
        let lasts = if good { GOOD_FOR } else { BAD_FOR };
        let fresh = endpoint.clock.now() < when.saturating_add(lasts);
        fresh.then(|| found.clone().map_err(TokenError::Discovery))
    }
}
