use std::time::Duration;

use super::{Against, Answer, Ask, Fleet, LEASE, ROUND, ahead, held, next_batch};
use crate::limits::{Rate, rate::nanos};

/// What one process holds of a rate. Times are nanoseconds of its own clock.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RateLease {
    /// Until when all that is known would have taken at the full rate: what was counted when it was
    /// last answered, with what is held, and what happened here since.
    until: u64,
    /// Events that are counted already, and did not happen yet.
    held: u32,
    /// When those are given back.
    lapses: u64,
    /// Events that happened and are not counted yet.
    debt: u32,
    /// How many to lease next.
    batch: u32,
    /// When it was last asked.
    asked: u64,
    /// It is to be asked, or the answer is on its way.
    waits: bool,
    /// What is owed happened while nobody answered.
    apart: bool,
}

impl RateLease {
    /// Takes an event, where it is not too much.
    pub(crate) fn take(
        &mut self,
        rate: &Rate,
        fleet: Fleet,
        now: Duration,
    ) -> Result<(), Duration> {
        if self.held > 0 {
            self.held -= 1;
            return Ok(());
        }
        let now = nanos(now);
        let step = step(rate, fleet);
        let full = now.saturating_add(rate.tolerance().max(step));
        let furthest = now.saturating_add(furthest(rate, fleet.replicas));
        self.until = self.until.clamp(now, furthest);
        let next = self.until.saturating_add(step);
        if next > full {
            return Err(Duration::from_nanos(next - full));
        }
        if !fleet.apart && self.debt >= ahead(rate.burst(), fleet.replicas) {
            return Err(ROUND);
        }
        self.until = next;
        self.debt = self.debt.saturating_add(1);
        self.apart |= fleet.apart;
        Ok(())
    }

    /// Whether it is time to ask; says so once.
    pub(crate) fn should_ask(&mut self) -> bool {
        let should = self.debt > 0 || self.batch > 0 && self.held <= self.batch / 2;
        should && !std::mem::replace(&mut self.waits, true)
    }

    /// Forgets that it was to be asked.
    pub(crate) fn will_not_ask(&mut self) {
        self.waits = false;
    }

    /// What to ask now.
    pub(crate) fn ask(&mut self, rate: &Rate, fleet: Fleet, now: Duration) -> Ask {
        let now = nanos(now);
        if self.apart && !fleet.apart {
            // What the time that passed has paid for is nobody's business any more.
            let alone = Fleet {
                apart: true,
                ..fleet
            };
            let owed = self.until.saturating_sub(now).div_ceil(step(rate, alone));
            self.debt = self.debt.min(u32::try_from(owed).unwrap_or(u32::MAX));
        }
        let most = held(ahead(rate.burst(), fleet.replicas));
        self.batch = next_batch(self.batch, now.saturating_sub(self.asked), most);
        self.asked = now;
        Self::told(
            rate,
            fleet,
            i64::from(self.debt),
            self.batch.saturating_sub(self.held),
        )
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
    pub(crate) fn lapse(&mut self, rate: &Rate, fleet: Fleet, now: Duration) -> Option<Ask> {
        if self.held == 0 || self.waits || self.lapses > nanos(now) {
            return None;
        }
        let unused = std::mem::take(&mut self.held);
        self.until = self
            .until
            .saturating_sub(rate.step().saturating_mul(u64::from(unused)));
        self.batch /= 2;
        self.waits = true;
        Some(Self::told(rate, fleet, -i64::from(unused), 0))
    }

    fn told(rate: &Rate, fleet: Fleet, told: i64, wanted: u32) -> Ask {
        Ask {
            against: Against::Rate {
                step: rate.step(),
                tolerance: rate.tolerance(),
                furthest: furthest(rate, fleet.replicas),
            },
            told,
            wanted,
        }
    }

    /// Takes over what was answered. Whether something is held.
    pub(crate) fn settle(&mut self, rate: &Rate, ask: &Ask, answer: Answer, now: Duration) -> bool {
        let told = u32::try_from(ask.told).unwrap_or_default();
        self.debt = self.debt.saturating_sub(told);
        // What happened meanwhile takes of what was leased meanwhile.
        let paid = self.debt.min(answer.granted);
        self.debt -= paid;
        self.held = self.held.saturating_add(answer.granted - paid);
        let now = nanos(now);
        let owed = rate.step().saturating_mul(u64::from(self.debt));
        let until = now.saturating_add(answer.standing).saturating_add(owed);
        // After a time apart the others may not have told yet what they have used.
        let was_apart = std::mem::take(&mut self.apart);
        self.until = if was_apart {
            until.max(self.until)
        } else {
            until
        };
        self.lapses = now.saturating_add(nanos(LEASE));
        self.waits = false;
        self.held > 0
    }

    /// Whether forgetting it changes no answer.
    pub(crate) fn is_at_rest(&self, now: Duration) -> bool {
        self.held == 0 && self.debt == 0 && !self.waits && self.until <= nanos(now)
    }
}

/// From one event to the next, for one of those that share the rate while they are apart.
fn step(rate: &Rate, fleet: Fleet) -> u64 {
    let shares = if fleet.apart {
        fleet.replicas.max(1)
    } else {
        1
    };
    rate.step().saturating_mul(u64::from(shares))
}

fn furthest(rate: &Rate, replicas: u32) -> u64 {
    let all = u64::from(replicas.max(1)) * u64::from(ahead(rate.burst(), replicas));
    rate.tolerance()
        .saturating_add(rate.step().saturating_mul(all))
}
