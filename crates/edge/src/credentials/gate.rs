use std::time::Duration;

use parking_lot::Mutex;

use super::CredentialError;

/// The first and the longest wait after a failure before the next request.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// That there is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    /// Why.
    pub error: CredentialError,
    /// Until when the authorization server is left alone, where it was not asked for that reason.
    pub(super) until: Option<Duration>,
}

impl From<CredentialError> for Failure {
    fn from(error: CredentialError) -> Self {
        Self { error, until: None }
    }
}

/// Failures one after the other, and how long nobody asks again after the last one.
#[derive(Default)]
pub(super) struct Failures {
    count: u32,
    pub(super) last: Option<(CredentialError, Duration)>,
}

impl Failures {
    /// Notes a failure: nobody asks for twice as long as after the one before.
    pub(super) fn count(&mut self, error: CredentialError, now: Duration) {
        let pause = PAUSE
            .0
            .saturating_mul(2_u32.saturating_pow(self.count.min(16)));
        self.count += 1;
        self.tell(error, now.saturating_add(pause.min(PAUSE.1)));
    }

    /// Notes a failure because of which nobody asks until then.
    pub(super) fn tell(&mut self, error: CredentialError, until: Duration) {
        self.last = Some((error, until));
    }

    /// The failure that still counts, and until when it does.
    pub(super) fn standing(&self, now: Duration) -> Option<(CredentialError, Duration)> {
        self.last.filter(|(_, until)| now < *until)
    }
}

/// Whether an authorization server is asked at all. Where it is not there, or answers nonsense, that
/// is so whoever asks: nobody does for a while. What is not about it (a store that can't be read)
/// does not belong here.
#[derive(Default)]
pub(super) struct Gate(Mutex<Failures>);

impl Gate {
    /// Lets a request pass, or says why not. After a failure one passes at a time.
    pub(super) fn pass(&self, now: Duration) -> Result<(), Failure> {
        let mut failures = self.0.lock();
        if let Some((error, until)) = failures.standing(now) {
            return Err(Failure {
                error,
                until: Some(until),
            });
        }
        if let Some((_, until)) = &mut failures.last {
            *until = now.saturating_add(PAUSE.0);
        }
        Ok(())
    }

    /// Learns how a request came out that has passed. A refusal is an answer too.
    pub(super) fn take(&self, failed: Option<CredentialError>, now: Duration) {
        let mut failures = self.0.lock();
        match failed {
            Some(error @ CredentialError::Unavailable) => failures.count(error, now),
            _ => *failures = Failures::default(),
        }
    }

    /// Forgets failures, since what they were about has changed.
    pub(super) fn forgive(&self) {
        *self.0.lock() = Failures::default();
    }
}
