use std::time::Duration;

use super::{Against, Answer, Ask, Fleet, LEASE, ROUND, ahead, ahead_of_quota, held, next_batch};
use crate::limits::{day_of, quota::until_tomorrow, rate::nanos};

/// How long to wait for more while the place that counts does not answer: it may be back then.
const APART: Duration = Duration::from_mins(1);

/// What one process holds of the quota of a day.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct QuotaLease {
    day: u32,
    /// How many were counted when it was last answered, with what is held.
    counted: u32,
    /// Events that are counted already, and did not happen yet.
    held: u32,
    /// When those are given back, in nanoseconds since the Unix epoch.
    lapses: u64,
    /// Events that happened and are not counted yet.
    debt: u32,
    /// How many of them are being told.
    telling: u32,
    /// How many to lease next.
    batch: u32,
    /// When it was last asked.
    asked: u64,
    /// It is to be asked, or the answer is on its way.
    waits: bool,
}

impl QuotaLease {
    /// Takes an event, where it is not too much.
    pub(crate) fn take(&mut self, most: u32, fleet: Fleet, now: Duration) -> Result<(), Duration> {
        self.turn(now);
        if self.held > 0 {
            self.held -= 1;
            return Ok(());
        }
        let left = most.saturating_sub(self.counted);
        if self.debt >= left {
            return Err(until_tomorrow(now));
        }
        // While they are apart, each has its share of what was left when they were last answered.
        if fleet.apart && self.debt >= ahead(left, fleet.replicas) {
            return Err(until_tomorrow(now).min(APART));
        }
        if !fleet.apart && self.debt >= ahead_of_quota(most, fleet.replicas) {
            return Err(ROUND);
        }
        self.debt += 1;
        Ok(())
    }

    /// Takes back an event that did not happen.
    pub(crate) fn give_back(&mut self, now: Duration) {
        self.turn(now);
        if self.debt > self.telling {
            self.debt -= 1;
        } else {
            self.held = self.held.saturating_add(1);
        }
    }

    /// Begins anew with a new day.
    fn turn(&mut self, now: Duration) {
        let day = day_of(now);
        if self.day != day {
            *self = Self {
                day,
                waits: self.waits,
                ..Self::default()
            };
        }
    }

    /// Whether it is time to ask; says so once. Where nothing is left, others may have given back
    /// what they held.
    pub(crate) fn should_ask(&mut self, refused: bool, now: Duration) -> bool {
        let is_old = || nanos(now).saturating_sub(self.asked) > nanos(LEASE);
        let should =
            self.debt > 0 || self.batch > 0 && self.held <= self.batch / 2 || refused && is_old();
        should && !std::mem::replace(&mut self.waits, true)
    }

    /// Forgets that it was to be asked.
    pub(crate) fn will_not_ask(&mut self) {
        self.waits = false;
    }

    /// What to ask now.
    pub(crate) fn ask(&mut self, most: u32, fleet: Fleet, now: Duration) -> Ask {
        self.turn(now);
        let now = nanos(now);
        let at_most = held(ahead_of_quota(most, fleet.replicas));
        self.batch = next_batch(self.batch, now.saturating_sub(self.asked), at_most);
        self.asked = now;
        self.telling = self.debt;
        Ask {
            against: Against::Quota { most },
            told: i64::from(self.debt),
            wanted: self.batch.saturating_sub(self.held),
        }
    }

    /// Whether anything is held.
    pub(crate) fn holds(&self) -> bool {
        self.held > 0
    }

    /// Nothing more is wanted, and what is held is given back next.
    pub(crate) fn hold_no_more(&mut self) {
        self.lapses = 0;
        self.batch = 0;
    }

    /// Gives back what was held for too long.
    pub(crate) fn lapse(&mut self, most: u32, now: Duration) -> Option<Ask> {
        if self.held == 0 || self.waits || self.lapses > nanos(now) || self.day != day_of(now) {
            return None;
        }
        let unused = std::mem::take(&mut self.held);
        self.batch /= 2;
        self.waits = true;
        Some(Ask {
            against: Against::Quota { most },
            told: -i64::from(unused),
            wanted: 0,
        })
    }

    /// Takes over what was answered. Whether something is held.
    pub(crate) fn settle(&mut self, ask: &Ask, answer: Answer, now: Duration) -> bool {
        self.waits = false;
        if self.day != day_of(now) {
            // It is of yesterday.
            return false;
        }
        let told = u32::try_from(ask.told).unwrap_or_default();
        self.debt = self.debt.saturating_sub(told);
        self.telling = 0;
        let paid = self.debt.min(answer.granted);
        self.debt -= paid;
        self.held = self.held.saturating_add(answer.granted - paid);
        self.counted = u32::try_from(answer.standing).unwrap_or(u32::MAX);
        self.lapses = nanos(now.saturating_add(LEASE));
        self.held > 0
    }

    /// Whether forgetting it changes no answer.
    pub(crate) fn is_over(&self, now: Duration) -> bool {
        self.day != day_of(now) && !self.waits
    }
}
