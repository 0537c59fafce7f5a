//! What the last answer to a request was like, as far as it is remembered: whether it is worth waiting
//! for those who ask for the same. So much and no more is remembered, without a lock; requests whose keys
//! are alike share a place, which makes it less good and never wrong.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::Key;

const PLACES: usize = 4096;
/// What takes as long is worth asking the other gateways whether one of them asks for it.
const COSTLY: Duration = Duration::from_millis(50);

const UNKNOWN: u64 = 0;
const NOT_KEPT: u64 = 1;

pub(super) struct Experience(Box<[AtomicU64]>);

/// What to do before a server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Worth {
    /// Its answer was not kept: nobody waits for another.
    Nothing,
    /// One of this process asks.
    Waiting,
    /// One of all gateways asks.
    WaitingForAll,
}

impl Default for Experience {
    fn default() -> Self {
        Self((0..PLACES).map(|_| AtomicU64::new(UNKNOWN)).collect())
    }
}

impl Experience {
    fn place(&self, key: &Key) -> &AtomicU64 {
        let digest = key.digest();
        let at = usize::from(digest[1]) << 8 | usize::from(digest[2]);
        &self.0[at % PLACES]
    }

    pub(super) fn worth(&self, key: &Key) -> Worth {
        match self.place(key).load(Ordering::Relaxed) {
            NOT_KEPT => Worth::Nothing,
            UNKNOWN => Worth::WaitingForAll,
            took if Duration::from_millis(took - 2) >= COSTLY => Worth::WaitingForAll,
            _ => Worth::Waiting,
        }
    }

    /// Notes how long an answer took that was kept; `None` for one that may not be.
    pub(super) fn note(&self, key: &Key, took: Option<Duration>) {
        let millis = |took: Duration| u64::try_from(took.as_millis()).unwrap_or(u64::MAX - 2);
        let value = took.map_or(NOT_KEPT, |took| millis(took).min(u64::MAX - 2) + 2);
        let place = self.place(key);
        // Mostly it stays what it is.
        if place.load(Ordering::Relaxed) != value {
            place.store(value, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_what_was_not_kept() {
        let experience = Experience::default();
        let key = Key::of_number(7 << 8);
        assert_eq!(experience.worth(&key), Worth::WaitingForAll);
        for (took, worth) in [
            (Some(0), Worth::Waiting),
            (Some(49), Worth::Waiting),
            (Some(50), Worth::WaitingForAll),
            (None, Worth::Nothing),
            (Some(u64::MAX), Worth::WaitingForAll),
        ] {
            experience.note(&key, took.map(Duration::from_millis));
            assert_eq!(experience.worth(&key), worth);
        }
    }
}
