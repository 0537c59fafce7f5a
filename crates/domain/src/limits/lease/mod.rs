//! What one of several processes holds of a limit that all of them share.
//!
//! What was counted is in one place that all of them ask, on the side and never on the way of a
//! call. Of each limit a process holds some events that are counted there already (a lease, which
//! it asks for again before it is used up), and where it holds none it may be ahead of that place
//! by a share of what may happen at once, as far as it knows that there is room. What it was ahead
//! by is told with the next question.
//!
//! So all together admit what the limit says, and at most [`most_beyond`] more, however they are
//! asked. Here is the arithmetic of one key, for rates ([`RateLease`]) and quotas ([`QuotaLease`]).

mod quota;
mod rate;

use std::time::Duration;

pub(crate) use quota::QuotaLease;
pub(crate) use rate::RateLease;

/// How long what was leased is held without being used up. Then it is given back.
pub const LEASE: Duration = Duration::from_secs(1);
/// How long to wait for an answer that is on its way.
const ROUND: Duration = Duration::from_millis(10);
/// How many events of a quota a process may be ahead by: its share of a small one, and no more of one that
/// is in the millions than this, or its hundredth, which is what may come before an answer is there.
const MOST_OF_QUOTA: u32 = 64;

/// Those that share a limit, as one of them knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fleet {
    /// How many there are, this one among them.
    pub replicas: u32,
    /// The place that all of them ask does not answer: each goes by its share of the limit.
    pub apart: bool,
}

/// What is told and asked of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// What it is counted against.
    pub against: Against,
    /// How many events happened that were not counted yet; negative where leased ones did not.
    pub told: i64,
    /// How many are wanted ahead of their use.
    pub wanted: u32,
}

/// The limit of an [`Ask`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Against {
    /// A rate: all times in nanoseconds.
    Rate {
        /// From one event to the next.
        step: u64,
        /// How far events may be ahead of that.
        tolerance: u64,
        /// How far what was told can make them be. What is further was counted by another rate.
        furthest: u64,
    },
    /// The quota of a day.
    Quota {
        /// The most on one day.
        most: u32,
    },
}

/// What is answered to an [`Ask`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// How many of those that were wanted are leased. They are counted.
    pub granted: u32,
    /// Of a rate, how many nanoseconds from now all that is counted would have taken at the full
    /// rate; of a quota, how many are counted today.
    pub standing: u64,
}

/// By how many events one of `replicas` may be ahead of what is counted, where `most` may happen
/// at once: its share of them.
fn ahead(most: u32, replicas: u32) -> u32 {
    most.div_ceil(replicas.max(1))
}

/// The same of a quota of `most` a day.
fn ahead_of_quota(most: u32, replicas: u32) -> u32 {
    ahead(most, replicas).min(MOST_OF_QUOTA.max(most / 100))
}

/// How many events one of them holds at most.
fn held(ahead: u32) -> u32 {
    (ahead / 8).max(1)
}

/// How many more events than a rate permits can be admitted by all `replicas` together in any time,
/// where `burst` may happen at once: each may be ahead by its share, and hold an eighth of that from
/// before.
pub fn most_beyond(burst: u32, replicas: u32) -> u64 {
    let ahead = ahead(burst, replicas);
    u64::from(replicas) * u64::from(ahead + held(ahead))
}

/// The same of a quota of `most` a day: nothing that was held from before counts then.
pub fn most_beyond_quota(most: u32, replicas: u32) -> u64 {
    u64::from(replicas) * u64::from(ahead_of_quota(most, replicas))
}

/// The next number of events to lease: none for a key that is asked for seldom, and twice as many
/// each time for one that is used up within the time of a lease.
fn next_batch(batch: u32, since_last: u64, at_most: u32) -> u32 {
    if u128::from(since_last) < LEASE.as_nanos() {
        batch.saturating_mul(2).saturating_add(1).min(at_most)
    } else {
        0
    }
}
