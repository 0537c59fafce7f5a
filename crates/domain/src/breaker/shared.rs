//! What a breaker is told of those of other processes that call the same.
//!
//! A breaker that is led by what all of them say does not begin to probe by itself: one of them is
//! permitted to. It opens with the others unless its own calls show that all is well here, and it
//! closes with them.

use std::time::Duration;

use super::{Breaker, Inner, Phase, Tally};

/// What others want to know of a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How often it has opened by itself.
    pub opened: u64,
    /// How often its probes have closed it.
    pub closed: u64,
    /// How long it is open from now, where it is.
    pub open_for: Option<Duration>,
    /// For how long it would probe: calls came after it was open for long enough, or probes are under
    /// way.
    pub wants_probes: Option<Duration>,
}

impl Breaker {
    /// Whether it is led by others, or decides all by itself.
    pub fn lead(&self, led: bool) {
        self.inner.lock().led = led;
    }

    /// What others want to know of it.
    pub fn standing(&self, now: Duration) -> Standing {
        let inner = self.inner.lock();
        let open_for = match inner.phase {
            Phase::Open { until } => Some(until.saturating_sub(now)),
            Phase::Closed | Phase::HalfOpen { .. } => None,
        };
        let wants = (inner.wanted || inner.is_probing(now)) && inner.forced.is_none();
        Standing {
            opened: inner.opened,
            closed: inner.closed,
            open_for,
            wants_probes: wants.then(|| self.pause(inner.times)),
        }
    }

    /// Lets as many calls pass as decide whether it closes. Those that are under way go on.
    pub fn permit_probes(&self, now: Duration) {
        let mut inner = self.inner.lock();
        if !matches!(inner.phase, Phase::Closed) && !inner.is_probing(now) {
            self.half_open(&mut inner, now);
        }
    }

    /// Others are open for so long from `now`. Whether it has opened with them: not where most of the
    /// calls that came back here lately were good.
    pub fn open_with_others(&self, time: Duration, now: Duration) -> bool {
        let mut inner = self.inner.lock();
        let until = now.saturating_add(time);
        match inner.phase {
            Phase::Closed if inner.forced.is_none() => {
                let Tally {
                    calls,
                    failed,
                    slow,
                } = self.window.lately(now);
                if calls > 2 * failed.max(slow) {
                    return false;
                }
                inner.phase = Phase::Open { until };
                inner.wanted = false;
                self.settle(&inner);
                true
            }
            Phase::Open { .. } => {
                inner.phase = Phase::Open { until };
                false
            }
            Phase::Closed | Phase::HalfOpen { .. } => false,
        }
    }

    /// The probes of another one were good.
    pub fn close_with_others(&self) {
        let mut inner = self.inner.lock();
        if matches!(inner.phase, Phase::Closed) {
            return;
        }
        self.close(&mut inner);
    }
}

impl Inner {
    /// Whether probes are under way that are not given up.
    fn is_probing(&self, now: Duration) -> bool {
        matches!(self.phase, Phase::HalfOpen { under_way, until, .. } if under_way > 0 && now < until)
    }
}
