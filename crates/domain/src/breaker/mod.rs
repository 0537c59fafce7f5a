//! Circuit breakers: what keeps failing is left alone for a while, so that its callers are answered
//! at once and it can recover.
//!
//! | state | calls | leads to |
//! |---|---|---|
//! | closed | pass, and are counted over a sliding window | open, when too many of them fail or are slow, or some fail one after the other |
//! | open | are refused | half-open, after a while that grows with each time in a row |
//! | half-open | a few pass, as probes; the others are refused | closed, when all probes succeed; open, when one does not |
//!
//! An operator can force a breaker open or closed. Nothing here knows what is called: the way in is
//! [`Breaker::admit`], and what came of a call is told to [`Breaker::note`]. While a breaker is
//! closed both work without a lock.

mod row;
mod shared;
mod window;

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;

use row::Row;
pub use shared::Standing;
use window::Window;

/// How long it may take until others say that it may probe.
const PERMITTED: Duration = Duration::from_secs(1);

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The time whose calls are counted.
    pub window: Duration,
    /// It does not open for fewer calls than these in the window.
    pub least_calls: u64,
    /// The share of failed calls that opens it, in percent; over 100 is never.
    pub failed: u64,
    /// So many failures one after the other open it too, however few calls there are, once nothing
    /// has succeeded for a second; 0 is never.
    pub in_a_row: u64,
    /// A call that takes longer is slow.
    pub slow_after: Duration,
    /// The share of slow calls that opens it, in percent; over 100 is never.
    pub slow: u64,
    /// How long it stays open at first. Each time in a row twice as long.
    pub open_for: Duration,
    /// How long it stays open at most.
    pub open_at_most: Duration,
    /// How many calls decide whether it closes again.
    pub probes: u64,
    /// How long these are waited for before it is begun anew: for as long as it was open, and this
    /// long at least. What comes of those that take longer decides nothing. Where some of them were
    /// good, others are let pass sooner in the place of those that take long.
    pub probe_for: Duration,
}

/// What a breaker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It lets calls pass.
    Closed,
    /// It refuses them.
    Open,
    /// It lets a few pass, and decides by them.
    HalfOpen,
}

impl State {
    /// All of them, in the order of their numbers in the metrics.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// Its name in metrics and in the admin API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// What an operator has decided, whatever comes of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forced {
    /// All calls pass.
    Closed,
    /// None passes.
    Open,
}

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was answered, and took so long; an error that is an answer counts as one.
    Answered(Duration),
    /// What was called failed.
    Failed,
    /// Nothing that says how it is: the caller went away, or it was not asked.
    Unknown,
}

/// A call that may be made. It has to be told what came of it ([`Breaker::note`]).
#[derive(Debug)]
#[must_use = "the breaker waits for what comes of it"]
pub struct Pass {
    /// The half-open phase that it probes for.
    probes: Option<u64>,
    /// How often the breaker had closed before.
    closings: u64,
}

impl Pass {
    /// Whether it is one of those that decide if it closes.
    pub fn is_probe(&self) -> bool {
        self.probes.is_some()
    }
}

/// A call that may not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// When it may be tried again; `None` where an operator decides that.
    pub retry_after: Option<Duration>,
}

/// How many calls there were in the window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of them.
    pub calls: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that took too long.
    pub slow: u64,
}

impl Tally {
    fn plus(&self, other: &Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            failed: self.failed + other.failed,
            slow: self.slow + other.slow,
        }
    }
}

/// How a breaker is at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// What it does.
    pub state: State,
    /// Until when it is open, where it is and nobody forces it.
    pub open_until: Option<Duration>,
    /// What an operator has decided.
    pub forced: Option<Forced>,
    /// The calls of the window.
    pub tally: Tally,
    /// How often it has opened by itself.
    pub opened: u64,
}

/// One breaker.
#[derive(Debug)]
pub struct Breaker {
    rules: Rules,
    window: Window,
    row: Row,
    /// Whether calls pass without a look at the rest.
    is_closed: AtomicBool,
    /// How often it has closed, by whatever. What was let pass before says nothing of what is now.
    closings: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    phase: Phase,
    forced: Option<Forced>,
    /// How often it has opened without closing in between.
    times: u32,
    /// How often it has opened at all.
    opened: u64,
    /// How often its probes have closed it.
    closed: u64,
    /// Others say when it may probe ([`Breaker::permit_probes`]).
    led: bool,
    /// It would have probed.
    wanted: bool,
    /// The number of the latest half-open phase: probes of earlier ones decide nothing.
    latest: u64,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Closed,
    Open {
        until: Duration,
    },
    HalfOpen {
        /// Probes that have not come back.
        under_way: u64,
        succeeded: u64,
        /// When probes that have not come back are given up.
        until: Duration,
        /// When others may take their places, where some were good.
        replaced: Duration,
    },
}

impl Breaker {
    /// A closed breaker.
    pub fn new(rules: Rules) -> Self {
        Self {
            window: Window::new(rules.window),
            row: Row::default(),
            is_closed: AtomicBool::new(true),
            closings: AtomicU64::new(0),
            inner: Mutex::new(Inner {
                phase: Phase::Closed,
                forced: None,
                times: 0,
                opened: 0,
                closed: 0,
                led: false,
                wanted: false,
                latest: 0,
            }),
            rules,
        }
    }

    /// Whether a call may be made at `now`, a time since any moment that stays the same.
    ///
    /// # Errors
    /// [`Refused`] where it may not.
    pub fn admit(&self, now: Duration) -> Result<Pass, Refused> {
        if self.is_closed.load(Ordering::Acquire) {
            return Ok(self.pass(None));
        }
        let mut inner = self.inner.lock();
        match inner.forced {
            Some(Forced::Closed) => return Ok(self.pass(None)),
            Some(Forced::Open) => return Err(Refused { retry_after: None }),
            None => {}
        }
        if let Phase::Open { until } | Phase::HalfOpen { until, .. } = inner.phase
            && now >= until
        {
            if inner.led {
                inner.wanted = true;
                return Err(Refused {
                    retry_after: Some(PERMITTED),
                });
            }
            self.half_open(&mut inner, now);
        }
        let (latest, pause) = (inner.latest, self.pause(inner.times));
        match &mut inner.phase {
            Phase::Closed => Ok(self.pass(None)),
            Phase::Open { until } => Err(Refused {
                retry_after: Some(until.saturating_sub(now)),
            }),
            Phase::HalfOpen {
                under_way,
                succeeded,
                until,
                replaced,
            } => {
                if *succeeded > 0 && now >= *replaced {
                    *under_way = 0;
                    *replaced = now.saturating_add(pause);
                }
                if *under_way + *succeeded >= self.rules.probes.max(1) {
                    // Most are back long before they would be given up.
                    let wait = until.saturating_sub(now).min(pause);
                    return Err(Refused {
                        retry_after: Some(wait),
                    });
                }
                *under_way += 1;
                Ok(self.pass(Some(latest)))
            }
        }
    }

    /// What came of a call that was let pass. The state, where it is another one now.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a pass is good for one verdict"
    )]
    pub fn note(&self, pass: Pass, verdict: Verdict, now: Duration) -> Option<State> {
        let slow = matches!(verdict, Verdict::Answered(took) if took > self.rules.slow_after);
        let failed = verdict == Verdict::Failed;
        if let Some(of) = pass.probes {
            return self.probed(of, verdict, slow, now);
        }
        // One that has waited for what hung does not open what is back.
        let is_of_before = pass.closings != self.closings.load(Ordering::Acquire);
        if is_of_before || verdict == Verdict::Unknown {
            return None;
        }
        self.window.count(now, failed, slow);
        let is_one_too_many = self.count_row(failed, now);
        // One that succeeds can't be.
        let is_too_much = || (failed || slow) && self.is_too_much(&self.window.tally(now));
        if !is_one_too_many && !is_too_much() {
            return None;
        }
        let mut inner = self.inner.lock();
        // One that began before it opened says nothing new.
        if inner.forced.is_some() || !matches!(inner.phase, Phase::Closed) {
            return None;
        }
        Some(self.open(&mut inner, now))
    }

    /// An operator decides, or no more.
    pub fn force(&self, forced: Option<Forced>) {
        let mut inner = self.inner.lock();
        inner.forced = forced;
        if forced == Some(Forced::Closed) {
            // What there was before it is decided again by what comes then.
            self.close(&mut inner);
        }
        self.settle(&inner);
    }

    /// How it is at `now`, and for how long it is open from then, where it is.
    pub fn status_for(&self, now: Duration) -> (Status, Option<Duration>) {
        let status = self.status(now);
        let wait = status.open_until.map(|until| until.saturating_sub(now));
        (status, wait)
    }

    /// Whether calls pass without a look at anything else.
    pub fn lets_all_pass(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// How it is at `now`.
    pub fn status(&self, now: Duration) -> Status {
        let inner = self.inner.lock();
        let (state, open_until) = match (inner.forced, inner.phase) {
            (Some(Forced::Closed), _) | (None, Phase::Closed) => (State::Closed, None),
            (Some(Forced::Open), _) => (State::Open, None),
            (None, Phase::Open { until }) if now < until => (State::Open, Some(until)),
            // The next call is a probe.
            (None, Phase::Open { .. } | Phase::HalfOpen { .. }) => (State::HalfOpen, None),
        };
        Status {
            state,
            open_until,
            forced: inner.forced,
            tally: self.window.tally(now),
            opened: inner.opened,
        }
    }

    fn probed(&self, of: u64, verdict: Verdict, slow: bool, now: Duration) -> Option<State> {
        let mut inner = self.inner.lock();
        if inner.latest != of {
            return None;
        }
        let Phase::HalfOpen {
            under_way,
            succeeded,
            ..
        } = &mut inner.phase
        else {
            return None;
        };
        *under_way = under_way.saturating_sub(1);
        match verdict {
            Verdict::Unknown => None,
            Verdict::Answered(_) if !slow => {
                *succeeded += 1;
                if *succeeded < self.rules.probes.max(1) {
                    return None;
                }
                inner.closed += 1;
                self.close(&mut inner);
                self.row.end(now);
                Some(State::Closed)
            }
            Verdict::Answered(_) | Verdict::Failed => Some(self.open(&mut inner, now)),
        }
    }

    fn pass(&self, probes: Option<u64>) -> Pass {
        Pass {
            probes,
            closings: self.closings.load(Ordering::Acquire),
        }
    }

    /// Begins anew: what was counted before does not count any more.
    fn close(&self, inner: &mut Inner) {
        inner.phase = Phase::Closed;
        inner.times = 0;
        inner.wanted = false;
        self.window.clear();
        self.row.clear();
        self.closings.fetch_add(1, Ordering::AcqRel);
        self.settle(inner);
    }

    fn half_open(&self, inner: &mut Inner, now: Duration) {
        inner.latest += 1;
        inner.wanted = false;
        let pause = self.pause(inner.times);
        inner.phase = Phase::HalfOpen {
            under_way: 0,
            succeeded: 0,
            until: now.saturating_add(pause.max(self.rules.probe_for)),
            replaced: now.saturating_add(pause),
        };
    }

    fn open(&self, inner: &mut Inner, now: Duration) -> State {
        inner.wanted = false;
        inner.times = inner.times.saturating_add(1);
        inner.opened += 1;
        inner.phase = Phase::Open {
            until: now.saturating_add(self.pause(inner.times)),
        };
        self.settle(inner);
        State::Open
    }

    /// How long it is open, the so many-th time in a row.
    fn pause(&self, times: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(times.saturating_sub(1).min(30));
        let pause = self.rules.open_for.saturating_mul(doubled);
        pause.min(self.rules.open_at_most.max(self.rules.open_for))
    }

    /// Counts what fails one after the other. Whether so many have that it opens.
    fn count_row(&self, failed: bool, now: Duration) -> bool {
        let most = self.rules.in_a_row;
        if most == 0 {
            return false;
        }
        if !failed {
            self.row.end(now);
        }
        failed && self.row.grow(now) >= most
    }

    fn is_too_much(&self, tally: &Tally) -> bool {
        let over = |count: u64, percent: u64| count * 100 >= tally.calls.saturating_mul(percent);
        tally.calls >= self.rules.least_calls.max(1)
            && (over(tally.failed, self.rules.failed.max(1))
                || over(tally.slow, self.rules.slow.max(1)))
    }

    fn settle(&self, inner: &Inner) {
        let is_closed = match inner.forced {
            Some(forced) => forced == Forced::Closed,
            None => matches!(inner.phase, Phase::Closed),
        };
        self.is_closed.store(is_closed, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
