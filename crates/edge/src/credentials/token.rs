use std::{fmt, time::Duration};

use http::HeaderValue;
use secrecy::ExposeSecret;

use super::{GrantLife, TokenAnswer, TokenError};

/// How long a token is used whose end the authorization server does not tell (RFC 6749, 5.1:
/// `expires_in` is recommended).
const ASSUMED_LIFETIME: Duration = Duration::from_mins(5);
/// The longest that a token is used, whatever is said of it.
const LONGEST_LIFETIME: Duration = Duration::from_hours(24);
/// How long before its end a token is no longer sent, at most: it has to be good when it arrives,
/// by the clock of the upstream.
const MARGIN: Duration = Duration::from_secs(10);
/// How long before that a new one is asked for, at most.
const AHEAD: Duration = Duration::from_mins(5);

/// An access token for an upstream. Its times are those of the clock that it was fetched by.
pub struct AccessToken {
    header: HeaderValue,
    fetched: Duration,
    due: Duration,
    end: Duration,
    life: Option<GrantLife>,
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("fetched", &self.fetched)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl AccessToken {
    /// The token of an answer to a request that was made at `asked`. `until` is the end of whom it
    /// is for, where that has one.
    ///
    /// # Errors
    /// [`TokenError::Form`] where it can't stand in a header.
    pub fn new(
        answer: &TokenAnswer,
        asked: Duration,
        until: Option<Duration>,
    ) -> Result<Self, TokenError> {
        let mut header =
            HeaderValue::from_str(&format!("Bearer {}", answer.access_token.expose_secret()))
                .map_err(|_| TokenError::Form("an access_token that can't be sent"))?;
        header.set_sensitive(true);
        let lifetime = answer.expires_in.unwrap_or(ASSUMED_LIFETIME);
        let lifetime = lifetime.min(LONGEST_LIFETIME);
        let margin = MARGIN.min(lifetime / 10);
        let end = asked.saturating_add(lifetime.saturating_sub(margin));
        let due = end.saturating_sub(AHEAD.min(lifetime / 5));
        let last = until.unwrap_or(Duration::MAX);
        Ok(Self {
            header,
            fetched: asked,
            // Nobody is there for another one once the caller's own token has ended.
            due: if end > last { last } else { due },
            end: end.min(last),
            life: None,
        })
    }

    /// A token that a person has granted. It serves until its end, where that was said, and else
    /// until the upstream does not accept it: nobody but the person can give another one. With a
    /// refresh token (`refreshable`) it is due as any other is, and without one not before its end.
    ///
    /// # Errors
    /// As of [`AccessToken::new`].
    pub fn granted(
        answer: &TokenAnswer,
        asked: Duration,
        refreshable: bool,
    ) -> Result<Self, TokenError> {
        let token = Self::new(answer, asked, None)?;
        let end = answer.expires_in.map_or(Duration::MAX, |lifetime| {
            let margin = MARGIN.min(lifetime / 10);
            asked.saturating_add(lifetime.saturating_sub(margin))
        });
        let due = if refreshable { token.due } else { end };
        Ok(Self { due, end, ..token })
    }

    /// The same, due at `time` at the latest.
    #[must_use]
    pub fn due_at(self, time: Duration) -> Self {
        Self {
            due: self.due.min(time),
            ..self
        }
    }

    /// The same, as a token of the grant that has this life.
    #[must_use]
    pub fn of(self, life: GrantLife) -> Self {
        Self {
            life: Some(life),
            ..self
        }
    }

    /// The life of the grant that it is of, where a person has granted it.
    pub fn life(&self) -> Option<&GrantLife> {
        self.life.as_ref()
    }

    /// Whether it is the same token of the same answer as `other`, when ever each is due.
    pub fn is(&self, other: &Self) -> bool {
        self.fetched == other.fetched && self.header == other.header
    }

    /// What stands in `Authorization` (RFC 6750, 2.1).
    pub fn header(&self) -> &HeaderValue {
        &self.header
    }

    /// When it was asked for, since the Unix epoch.
    pub fn fetched(&self) -> Duration {
        self.fetched
    }

    /// Whether it can be sent.
    pub fn is_good(&self, now: Duration) -> bool {
        now < self.end
    }

    /// Whether it is time for another one.
    pub fn is_due(&self, now: Duration) -> bool {
        now >= self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(expires_in: Option<u64>, until: Option<u64>) -> AccessToken {
        let answer = TokenAnswer {
            access_token: "t".into(),
            expires_in: expires_in.map(Duration::from_secs),
            refresh_token: None,
            issued_token_type: None,
            scope: None,
            id_token: None,
        };
        let at = Duration::from_secs(1000);
        AccessToken::new(&answer, at, until.map(Duration::from_secs)).unwrap()
    }

    fn times(expires_in: Option<u64>, until: Option<u64>) -> (u64, u64) {
        let token = token(expires_in, until);
        (token.due.as_secs(), token.end.as_secs())
    }

    #[test]
    fn a_token_is_replaced_before_it_ends_and_not_sent_at_its_end() {
        assert_eq!(times(Some(3600), None), (1000 + 3590 - 300, 1000 + 3590));
        assert_eq!(times(Some(100), None), (1000 + 90 - 20, 1000 + 90));
        assert_eq!(times(None, None), (1000 + 290 - 60, 1000 + 290));
        let day = 24 * 3600;
        assert_eq!(times(Some(u64::MAX), None).1, 1000 + day - 10);
        let one = token(Some(1), None);
        assert!(one.is_good(Duration::from_millis(1_000_800)));
        assert!(!one.is_good(Duration::from_millis(1_000_900)));
    }

    #[test]
    fn a_token_ends_with_whom_it_is_for() {
        assert_eq!(times(Some(3600), Some(1100)), (1100, 1100));
        assert_eq!(times(Some(60), Some(9000)), times(Some(60), None));
    }

    #[test]
    fn what_was_granted_serves_until_its_end() {
        let granted = |expires_in: Option<u64>, refreshable| {
            let answer = TokenAnswer {
                access_token: "t".into(),
                expires_in: expires_in.map(Duration::from_secs),
                refresh_token: None,
                issued_token_type: None,
                scope: None,
                id_token: None,
            };
            let token = AccessToken::granted(&answer, Duration::from_secs(1000), refreshable);
            let token = token.unwrap();
            (token.due, token.end)
        };
        let month = 30 * 24 * 3600;
        let end = Duration::from_secs(1000 + month - 10);
        assert_eq!(granted(Some(month), false), (end, end));
        let due = Duration::from_secs(times(Some(month), None).0);
        assert_eq!(granted(Some(month), true), (due, end));
        let due = Duration::from_secs(times(None, None).0);
        assert_eq!(granted(None, true), (due, Duration::MAX));
        assert_eq!(granted(None, false), (Duration::MAX, Duration::MAX));
        assert_eq!(granted(Some(u64::MAX), false).1, Duration::MAX);
    }

    #[test]
    fn a_token_is_shown_nowhere() {
        let answer = TokenAnswer {
            access_token: "very-private".into(),
            expires_in: None,
            refresh_token: Some("also-private".into()),
            issued_token_type: None,
            scope: None,
            id_token: None,
        };
        let token = AccessToken::new(&answer, Duration::ZERO, None).unwrap();
        let shown = format!("{token:?} {answer:?} {:?}", token.header());
        assert!(!shown.contains("private"), "{shown}");
    }
}
