//! Limits that several processes share.
//!
//! Here is what each of them holds, and what it has to ask; who asks, and where it is counted, is
//! outside (`backends::redis`). The arithmetic of one key is in [`crate::limits::lease`].

mod digest;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;

pub use self::digest::LimitsKey;
use super::{Leases, LimitStore, MemoryLimitStore, Tracked, table::Table};
use crate::limits::{
    Key, Rate, Scope,
    lease::{Answer, Ask, Fleet, LEASE, QuotaLease, RateLease},
};

/// The bit of [`LeasedLimitStore::fleet`] that says that this process goes by its share.
const APART: u32 = 1 << 31;
/// Where in [`LeasedLimitStore::tallies`] something is counted.
const ASKED: usize = 0;
const GRANTED: usize = 1;
const RETURNED: usize = 2;

/// A [`LimitStore`] that holds what it has leased, and says what to ask.
///
/// Whoever asks takes what is [due](Self::due), and gives back the answer ([`Self::settle`]) or the
/// question ([`Self::put_off`]). As long as nobody answers, it is told so ([`Self::set_fleet`]).
///
/// What is at the same time is not leased: each process may have its share of the places, so that
/// all together have fewer than one each too many.
pub struct LeasedLimitStore {
    key: LimitsKey,
    rates: [Table<RateLease>; Scope::ALL.len()],
    quotas: [Table<QuotaLease>; Scope::ALL.len()],
    places: MemoryLimitStore,
    /// How many share the limits, and [`APART`].
    fleet: AtomicU32,
    due: Mutex<VecDeque<Due>>,
    /// How many may be due.
    most: usize,
    /// What is held and when that ends, in this order.
    held: Mutex<VecDeque<(Duration, Due)>>,
    tallies: [AtomicU64; 3],
    wake: Box<dyn Fn() + Send + Sync>,
}

/// One key of which something is to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    scope: Scope,
    fingerprint: u64,
    limit: Limit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    Rate(Rate),
    Quota(u32),
}

impl Due {
    /// What it is called where it is counted: the same for all that have the same [`LimitsKey`],
    /// and it says nothing of whom it is about.
    pub fn name(&self) -> String {
        let kind = match self.limit {
            Limit::Rate(_) => 'r',
            Limit::Quota(_) => 'q',
        };
        format!("{kind}:{:016x}", self.fingerprint)
    }

    /// A number that is even over all keys, and the same for all processes.
    pub fn spread(&self) -> u64 {
        self.fingerprint
    }
}

impl LeasedLimitStore {
    /// A store that keeps `most` keys of each scope. It calls `wake`, from any thread, when
    /// something is due.
    pub fn new(key: LimitsKey, most: usize, wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            key,
            rates: Scope::ALL.map(|_| Table::new(most)),
            quotas: Scope::ALL.map(|_| Table::new(most)),
            places: MemoryLimitStore::new(1),
            fleet: AtomicU32::new(1),
            due: Mutex::default(),
            most: most.max(1),
            held: Mutex::default(),
            tallies: <[AtomicU64; 3]>::default(),
            wake: Box::new(wake),
        }
    }

    fn fleet(&self) -> Fleet {
        let fleet = self.fleet.load(Ordering::Relaxed);
        Fleet {
            replicas: fleet & !APART,
            apart: fleet & APART != 0,
        }
    }

    /// Says how many share the limits, and whether nobody answers.
    pub fn set_fleet(&self, fleet: Fleet) {
        let apart = if fleet.apart { APART } else { 0 };
        let replicas = fleet.replicas.clamp(1, APART - 1);
        self.fleet.store(replicas | apart, Ordering::Relaxed);
    }

    /// The first `most` questions that are due.
    pub fn due(&self, most: usize, now: Duration) -> Vec<(Due, Ask)> {
        let fleet = self.fleet();
        let mut asked = Vec::new();
        while asked.len() < most {
            let Some(due) = self.due.lock().pop_front() else {
                break;
            };
            let ask = match due.limit {
                Limit::Rate(rate) => self
                    .rates_of(due)
                    .visit(due.fingerprint, |lease| lease.ask(&rate, fleet, now)),
                Limit::Quota(most) => self
                    .quotas_of(due)
                    .visit(due.fingerprint, |lease| lease.ask(most, fleet, now)),
            };
            asked.extend(ask.map(|ask| (due, ask)));
        }
        asked
    }

    /// What was held for too long: questions that give it back.
    pub fn lapsed(&self, now: Duration) -> Vec<(Due, Ask)> {
        let fleet = self.fleet();
        let mut lapsed = Vec::new();
        loop {
            let mut held = self.held.lock();
            let Some((_, due)) = held.pop_front_if(|(ends, _)| *ends <= now) else {
                break;
            };
            drop(held);
            lapsed.extend(self.returned(due, fleet, now, false).map(|ask| (due, ask)));
        }
        lapsed
    }

    /// What one that ends has to say: questions that tell of all that happened and is not counted
    /// yet, and that give back what is held. They want nothing. About `most` of them; once there is
    /// none all was said.
    pub fn parting(&self, most: usize, now: Duration) -> Vec<(Due, Ask)> {
        let fleet = self.fleet();
        let mut asked = self.due(most, now);
        for (due, ask) in &mut asked {
            ask.wanted = 0;
            self.hold_no_more(*due);
        }
        let held: Vec<_> = {
            let mut held = self.held.lock();
            let count = held.len().min(most);
            held.drain(..count).collect()
        };
        for (ends, due) in held {
            if let Some(ask) = self.returned(due, fleet, now, true) {
                asked.push((due, ask));
            } else if self.holds(due) {
                // What is asked of it first is on its way.
                self.held.lock().push_back((ends, due));
            }
        }
        asked
    }

    /// Gives back what is held of a key, where that was for too long, or `early`.
    fn returned(&self, due: Due, fleet: Fleet, now: Duration, early: bool) -> Option<Ask> {
        if early {
            self.hold_no_more(due);
        }
        let ask = match due.limit {
            Limit::Rate(rate) => self
                .rates_of(due)
                .visit(due.fingerprint, |lease| lease.lapse(&rate, fleet, now)),
            Limit::Quota(most) => self
                .quotas_of(due)
                .visit(due.fingerprint, |lease| lease.lapse(most, now)),
        };
        let ask = ask.flatten()?;
        self.tally(RETURNED, ask.told.unsigned_abs());
        Some(ask)
    }

    fn hold_no_more(&self, due: Due) {
        let Due { fingerprint, .. } = due;
        match due.limit {
            Limit::Rate(_) => self
                .rates_of(due)
                .visit(fingerprint, RateLease::hold_no_more),
            Limit::Quota(_) => self
                .quotas_of(due)
                .visit(fingerprint, QuotaLease::hold_no_more),
        };
    }

    fn holds(&self, due: Due) -> bool {
        let Due { fingerprint, .. } = due;
        let holds = match due.limit {
            Limit::Rate(_) => self.rates_of(due).visit(fingerprint, |lease| lease.holds()),
            Limit::Quota(_) => self
                .quotas_of(due)
                .visit(fingerprint, |lease| lease.holds()),
        };
        holds.unwrap_or_default()
    }

    /// Takes over what was answered at `now`.
    pub fn settle(&self, due: Due, ask: &Ask, answer: Answer, now: Duration) {
        let more = match due.limit {
            Limit::Rate(rate) => self.rates_of(due).visit(due.fingerprint, |lease| {
                let holds = lease.settle(&rate, ask, answer, now);
                (holds, lease.should_ask())
            }),
            Limit::Quota(_) => self.quotas_of(due).visit(due.fingerprint, |lease| {
                let holds = lease.settle(ask, answer, now);
                (holds, lease.should_ask(false, now))
            }),
        };
        self.tally(ASKED, 1);
        self.tally(GRANTED, u64::from(answer.granted));
        let Some((holds, asks)) = more else { return };
        if holds && answer.granted > 0 {
            let mut held = self.held.lock();
            // A clock that was set back ends none for as long. What is forgotten is not given back.
            if held.len() >= self.most {
                held.pop_front();
            }
            held.push_back((now.saturating_add(LEASE), due));
        }
        if asks {
            self.ask(due);
        }
    }

    /// Takes back questions that nobody answered: they are due again. What was to be given back is
    /// lost.
    pub fn put_off(&self, asked: impl IntoIterator<Item = (Due, Ask)>) {
        for (due, ask) in asked {
            if ask.told < 0 {
                self.will_not_ask(due);
            } else {
                self.due.lock().push_back(due);
            }
        }
    }

    /// Whether anything is due.
    pub fn has_due(&self) -> bool {
        !self.due.lock().is_empty()
    }

    fn ask(&self, due: Due) {
        let mut queue = self.due.lock();
        if queue.len() < self.most {
            queue.push_back(due);
            drop(queue);
            (self.wake)();
        } else {
            drop(queue);
            self.will_not_ask(due);
        }
    }

    fn will_not_ask(&self, due: Due) {
        let Due { fingerprint, .. } = due;
        match due.limit {
            Limit::Rate(_) => self
                .rates_of(due)
                .visit(fingerprint, RateLease::will_not_ask),
            Limit::Quota(_) => self
                .quotas_of(due)
                .visit(fingerprint, QuotaLease::will_not_ask),
        };
    }

    fn rates_of(&self, due: Due) -> &Table<RateLease> {
        &self.rates[due.scope as usize]
    }

    fn quotas_of(&self, due: Due) -> &Table<QuotaLease> {
        &self.quotas[due.scope as usize]
    }

    fn tally(&self, which: usize, count: u64) {
        self.tallies[which].fetch_add(count, Ordering::Relaxed);
    }
}

impl LimitStore for LeasedLimitStore {
    fn rate(&self, key: &Key<'_>, rate: &Rate, now: Duration) -> Result<(), Duration> {
        let fingerprint = self.key.of(key);
        let fleet = self.fleet();
        let (taken, asks) = self.rates[key.scope() as usize].change(
            fingerprint,
            |lease| lease.is_at_rest(now),
            |lease| (lease.take(rate, fleet, now), lease.should_ask()),
        );
        if asks {
            self.ask(Due {
                scope: key.scope(),
                fingerprint,
                limit: Limit::Rate(*rate),
            });
        }
        taken
    }

    fn quota(&self, key: &Key<'_>, most: u32, now: Duration) -> Result<(), Duration> {
        let fingerprint = self.key.of(key);
        let fleet = self.fleet();
        let (taken, asks) = self.quotas[key.scope() as usize].change(
            fingerprint,
            |lease| lease.is_over(now),
            |lease| {
                let taken = lease.take(most, fleet, now);
                (taken, lease.should_ask(taken.is_err(), now))
            },
        );
        if asks {
            self.ask(Due {
                scope: key.scope(),
                fingerprint,
                limit: Limit::Quota(most),
            });
        }
        taken
    }

    fn give_back(&self, key: &Key<'_>, now: Duration) {
        let quotas = &self.quotas[key.scope() as usize];
        quotas.visit(self.key.of(key), |lease| lease.give_back(now));
    }

    fn enter(&self, key: &Key<'_>, most: u32) -> Option<u64> {
        self.places
            .enter(key, most.div_ceil(self.fleet().replicas.max(1)))
    }

    fn leave(&self, place: u64) {
        self.places.leave(place);
    }

    fn tracked(&self) -> Tracked {
        Tracked {
            rates: self.rates.iter().map(Table::len).sum(),
            quotas: self.quotas.iter().map(Table::len).sum(),
            concurrency: self.places.tracked().concurrency,
        }
    }

    fn leases(&self) -> Option<Leases> {
        let [asked, granted, returned] =
            [ASKED, GRANTED, RETURNED].map(|which| self.tallies[which].load(Ordering::Relaxed));
        let Fleet { replicas, apart } = self.fleet();
        Some(Leases {
            replicas,
            apart,
            asked,
            granted,
            returned,
        })
    }
}
