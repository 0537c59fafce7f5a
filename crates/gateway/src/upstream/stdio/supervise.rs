//! How long to wait before a stdio upstream that has ended is started again.

use std::time::{Duration, Instant};

/// The bounds of the waits between restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartPolicy {
    /// The shortest wait.
    pub min: Duration,
    /// The longest wait.
    pub max: Duration,
    /// A run of at least this length counts as healthy: the next wait starts from `min` again.
    pub healthy_after: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            min: Duration::from_millis(200),
            max: Duration::from_secs(30),
            healthy_after: Duration::from_secs(30),
        }
    }
}

/// Exponential backoff with jitter: a pure state machine, time and randomness are passed in.
///
/// The wait after the n-th failure in a row lies between half and all of `min · 2ⁿ`, never under
/// `min` nor over `max`. The jitter keeps replicas that lost the same upstream from starting it in
/// step.
#[derive(Debug, Clone)]
pub struct Backoff {
    policy: RestartPolicy,
    failures: u32,
    started: Option<Instant>,
}

impl Backoff {
    /// A state without failures.
    pub fn new(policy: RestartPolicy) -> Self {
        Self {
            policy,
            failures: 0,
            started: None,
        }
    }

    /// The upstream has been started at `now`. Not called for an attempt that did not even start:
    /// that one is simply a failure.
    pub fn started(&mut self, now: Instant) {
        self.started = Some(now);
    }

    /// The upstream has ended, or could not be started, at `now`: counts the failure and says how
    /// long to wait. `random` gives a number that is uniform over all of `u64`.
    pub fn next_delay(&mut self, now: Instant, random: impl FnOnce() -> u64) -> Duration {
        if self.healthy(now) {
            self.failures = 0;
        }
        self.started = None;
        self.failures = self.failures.saturating_add(1);
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let high = self.policy.min.saturating_mul(factor).min(self.policy.max);
        let low = (high / 2).max(self.policy.min).min(high);
        low + fraction(high.saturating_sub(low), random())
    }

    /// Failures in a row, 0 once a run has been healthy.
    pub fn failures(&self, now: Instant) -> u32 {
        if self.healthy(now) { 0 } else { self.failures }
    }

    fn healthy(&self, now: Instant) -> bool {
        self.started
            .is_some_and(|at| now.saturating_duration_since(at) >= self.policy.healthy_after)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(RestartPolicy::default())
    }
}

/// `random / 2⁶⁴` of `span`, in whole nanoseconds.
fn fraction(span: Duration, random: u64) -> Duration {
    let nanos = (span.as_nanos() * u128::from(random)) >> 64;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: fn() -> u64 = || 0;
    const HIGH: fn() -> u64 = || u64::MAX;

    #[test]
    fn waits_double_up_to_the_maximum() {
        let now = Instant::now();
        let (mut low, mut high) = (Backoff::default(), Backoff::default());
        let lows: Vec<_> = (0..10)
            .map(|_| low.next_delay(now, LOW).as_millis())
            .collect();
        let highs: Vec<_> = (0..10)
            .map(|_| high.next_delay(now, HIGH).as_millis())
            .collect();
        assert_eq!(
            lows,
            [200, 400, 800, 1600, 3200, 6400, 12800, 15000, 15000, 15000]
        );
        assert_eq!(
            highs,
            [
                399, 799, 1599, 3199, 6399, 12799, 25599, 29999, 29999, 29999
            ]
        );
    }

    #[test]
    fn only_a_healthy_run_resets() {
        let t0 = Instant::now();
        let mut backoff = Backoff::default();
        for _ in 0..5 {
            backoff.started(t0);
            backoff.next_delay(t0 + Duration::from_secs(29), LOW);
        }
        assert_eq!(backoff.failures(t0), 5);
        backoff.started(t0);
        let later = t0 + Duration::from_secs(30);
        assert_eq!(backoff.failures(later), 0);
        assert_eq!(backoff.next_delay(later, LOW), Duration::from_millis(200));
        assert_eq!(backoff.failures(later), 1);
    }

    #[test]
    fn extremes_stay_in_bounds() {
        let mut backoff = Backoff::new(RestartPolicy {
            min: Duration::from_secs(5),
            max: Duration::from_secs(5),
            healthy_after: Duration::ZERO,
        });
        let now = Instant::now();
        for _ in 0..100 {
            assert_eq!(backoff.next_delay(now, HIGH), Duration::from_secs(5));
        }
    }
}
