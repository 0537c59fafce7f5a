//! Calls to an upstream that keeps failing are refused for a while.

use std::{sync::Arc, time::Duration};

use mcp_ultra_domain::breaker::{Breaker, Forced, Pass, Refused, Standing, State, Status, Verdict};
use tokio::sync::Notify;

use super::{Upstream, UpstreamError};

/// A call that may be made. Dropped without a verdict it says nothing about the upstream.
#[derive(Debug)]
pub(crate) struct Trial {
    upstream: Arc<Upstream>,
    pass: Option<Pass>,
}

impl Upstream {
    /// Whether its breaker lets a call pass.
    ///
    /// # Errors
    /// [`UpstreamError::CircuitOpen`]
    pub(crate) fn admit(self: &Arc<Self>) -> Result<Trial, UpstreamError> {
        let pass = match &self.breaker {
            Some(breaker) => Some(breaker.admit(self.age()).map_err(open)?),
            None => None,
        };
        Ok(Trial {
            upstream: self.clone(),
            pass,
        })
    }

    /// How its breaker is; `None` where it has none.
    pub(crate) fn breaker(&self) -> Option<Status> {
        let breaker = self.breaker.as_ref()?;
        Some(breaker.status(self.age()))
    }

    /// How its breaker is, and in how many seconds it lets a call through where it is open.
    pub(crate) fn breaker_for(&self) -> Option<(Status, Option<u64>)> {
        let (status, wait) = self.breaker.as_ref()?.status_for(self.age());
        Some((status, wait.map(seconds)))
    }

    /// Forces its breaker, or no more; `false` where it has none.
    pub(crate) fn force_breaker(&self, forced: Option<Forced>) -> bool {
        let Some(breaker) = &self.breaker else {
            return false;
        };
        breaker.force(forced);
        true
    }

    /// Whether its breaker lets no call pass.
    pub(crate) fn is_left_alone(&self) -> bool {
        let breaker = self.breaker.as_ref();
        breaker.is_some_and(|breaker| {
            !breaker.lets_all_pass() && breaker.status(self.age()).state == State::Open
        })
    }

    /// What other gateways want to know of its breaker; `None` where it has none.
    pub(crate) fn standing(&self) -> Option<Standing> {
        Some(self.breaker.as_ref()?.standing(self.age()))
    }

    /// Whether others say when its breaker may probe.
    pub(crate) fn lead_breaker(&self, led: bool) {
        if let Some(breaker) = &self.breaker {
            breaker.lead(led);
        }
    }

    /// Has `wake` told when its breaker has changed by what its calls find.
    pub(crate) fn tell_changes_of_breaker(&self, wake: &Arc<Notify>) {
        self.breaker_changed.get_or_init(|| wake.clone());
    }

    /// Of all gateways, this one may probe.
    pub(crate) fn permit_probes(&self) {
        if let Some(breaker) = &self.breaker {
            breaker.permit_probes(self.age());
        }
    }

    /// The breaker of another gateway is open, for so long from now.
    pub(crate) fn open_with_others(&self, time: Duration) {
        let Some(breaker) = &self.breaker else { return };
        if breaker.open_with_others(time, self.age()) {
            tracing::warn!(upstream = %self.name(), "the circuit breaker of the upstream has opened at another gateway, and here with it");
        }
    }

    /// The probes of another gateway were good.
    pub(crate) fn close_with_others(&self) {
        if let Some(breaker) = &self.breaker {
            breaker.close_with_others();
        }
    }

    /// What its breaker is told as the time.
    fn age(&self) -> Duration {
        self.since.elapsed()
    }
}

impl Trial {
    /// It was answered after so long, whatever with.
    pub(crate) fn answered(&mut self, took: Duration) {
        self.note(Verdict::Answered(took));
    }

    /// It was asked something after so long. A server that asks works, which is what a probe is to find
    /// out: others do not wait for the person who is asked.
    pub(crate) fn asked(&mut self, took: Duration) {
        if self.pass.as_ref().is_some_and(Pass::is_probe) {
            self.answered(took);
        }
    }

    /// It has ended in a way that says nothing of the upstream.
    pub(crate) fn says_nothing(&mut self) {
        self.note(Verdict::Unknown);
    }

    /// It ended with `error`.
    pub(crate) fn failed(&mut self, error: &UpstreamError) {
        self.note(if error.is_failure() {
            Verdict::Failed
        } else {
            Verdict::Unknown
        });
    }

    /// Only the first verdict counts.
    fn note(&mut self, verdict: Verdict) {
        let (Some(pass), Some(breaker)) = (self.pass.take(), self.breaker()) else {
            return;
        };
        let change = breaker.note(pass, verdict, self.upstream.age());
        if let Some(state) = change {
            let upstream = self.upstream.name();
            tracing::warn!(%upstream, state = state.as_str(), "the circuit breaker of the upstream has changed");
            if let Some(wake) = self.upstream.breaker_changed.get() {
                wake.notify_one();
            }
        }
    }

    fn breaker(&self) -> Option<&Breaker> {
        self.upstream.breaker.as_ref()
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.note(Verdict::Unknown);
    }
}

fn open(refused: Refused) -> UpstreamError {
    UpstreamError::CircuitOpen(refused.retry_after.map(seconds))
}

/// Rounded up: who comes back then is not too early.
pub(crate) fn seconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
}
