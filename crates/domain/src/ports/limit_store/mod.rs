//! What has been counted against limits.

mod leased;
mod memory;
mod table;

use std::time::Duration;

pub use leased::{Due, LeasedLimitStore, LimitsKey};
pub use memory::MemoryLimitStore;

use crate::limits::{Key, Rate};

/// Counts against limits.
///
/// No answer is waited for: it stands on the way of every call. A store that is shared by several
/// processes leases a share of a limit ahead of its use, renews it on the side, and answers from
/// what it holds.
pub trait LimitStore: Send + Sync {
    /// Counts an event at `now` against a rate. The limit may differ from one event to the next:
    /// what was counted stays. Each [scope](Key::scope) is bounded by itself, so that many keys of
    /// one make the store forget none of another.
    ///
    /// # Errors
    /// It is too much; how long to wait.
    fn rate(&self, key: &Key<'_>, rate: &Rate, now: Duration) -> Result<(), Duration>;

    /// Counts an event against the most that may happen on the day (UTC) of `now`.
    ///
    /// # Errors
    /// It is too much; how long to wait.
    fn quota(&self, key: &Key<'_>, most: u32, now: Duration) -> Result<(), Duration>;

    /// Takes back an event that [`LimitStore::quota`] has counted and that did not happen.
    fn give_back(&self, key: &Key<'_>, now: Duration);

    /// Takes a place among the `most` that there may be at the same time. The id is for
    /// [`LimitStore::leave`], once; `None` where all places are taken.
    fn enter(&self, key: &Key<'_>, most: u32) -> Option<u64>;

    /// Gives a place back.
    fn leave(&self, place: u64);

    /// How many keys are kept of all that was counted.
    fn tracked(&self) -> Tracked;

    /// How what is leased is doing; `None` for a store of this process alone.
    fn leases(&self) -> Option<Leases> {
        None
    }
}

/// How a [`LimitStore`] that is shared is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Leases {
    /// How many processes share the limits, as far as is known.
    pub replicas: u32,
    /// Whether this one goes by its share, since what they share does not answer.
    pub apart: bool,
    /// How many questions were answered: each tells what was used of one key, and leases more.
    pub asked: u64,
    /// How many events were leased.
    pub granted: u64,
    /// How many of them were given back, since they were not used in time.
    pub returned: u64,
}

/// How many keys a [`LimitStore`] keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tracked {
    /// Of rates.
    pub rates: usize,
    /// Of quotas.
    pub quotas: usize,
    /// Of what is in flight.
    pub concurrency: usize,
}
