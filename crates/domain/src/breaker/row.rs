//! Failures one after the other, without a lock: when something has succeeded last, and how many have
//! failed since, are one number.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// How long nothing may have succeeded until failures in a row say anything. Where there are many
/// calls, those that were under way together fail together, between others that do not.
const QUIET: Duration = Duration::from_secs(1);
/// What time is counted in: what succeeds is noted once in each.
const TICK: Duration = Duration::from_millis(100);
/// Bits of the number of failures; the others are the time.
const COUNT: u32 = 16;
const MOST: u64 = (1 << COUNT) - 1;
const LAST_TICK: u64 = u64::MAX >> COUNT;

#[derive(Debug, Default)]
pub(super) struct Row(AtomicU64);

impl Row {
    /// Something has succeeded.
    pub(super) fn end(&self, now: Duration) {
        let ended = tick(now) << COUNT;
        // Many calls write nothing.
        if self.0.load(Ordering::Relaxed) != ended {
            self.0.store(ended, Ordering::Relaxed);
        }
    }

    /// Forgets all failures.
    pub(super) fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Counts a failure. How many there are in a row; 0 where something has succeeded just now.
    pub(super) fn grow(&self, now: Duration) -> u64 {
        let more = |kept: u64| (kept & MOST < MOST).then_some(kept + 1);
        let counted = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        let (Ok(before) | Err(before)) = counted;
        let quiet = tick(now).saturating_sub(before >> COUNT);
        if quiet < ticks(QUIET) {
            return 0;
        }
        (before & MOST) + 1
    }
}

fn tick(now: Duration) -> u64 {
    ticks(now).min(LAST_TICK)
}

fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_nanos() / TICK.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_count_once_nothing_has_succeeded_for_a_while() {
        let row = Row::default();
        let millis = Duration::from_millis;
        row.end(millis(10_000));
        assert_eq!(row.grow(millis(10_900)), 0);
        assert_eq!(row.grow(millis(11_000)), 2);
        assert_eq!(row.grow(millis(11_000)), 3);
        row.end(millis(11_000));
        assert_eq!(row.grow(millis(12_100)), 1);
    }

    #[test]
    fn no_number_and_no_time_is_too_large() {
        let row = Row::default();
        row.end(Duration::MAX);
        row.end(Duration::ZERO);
        for _ in 0..2 * MOST {
            row.grow(Duration::MAX);
        }
        assert_eq!(row.grow(Duration::MAX), MOST + 1);
    }
}
