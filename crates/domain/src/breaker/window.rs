use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::Tally;

/// The parts that the window moves on by.
const SLICES: usize = 10;
/// Bits of each of the three counts of a slice; the rest say which slice of time it counts.
const COUNT: u32 = 13;
const MOST: u64 = (1 << COUNT) - 1;
const LAST_EPOCH: u64 = (1 << (u64::BITS - 3 * COUNT)) - 1;

/// What came of the calls of the last while, without a lock: each slice of time is one number.
#[derive(Debug)]
pub(super) struct Window {
    slice: Duration,
    slices: [AtomicU64; SLICES],
}

impl Window {
    pub(super) fn new(length: Duration) -> Self {
        let slice = length / u32::try_from(SLICES).unwrap_or(u32::MAX);
        Self {
            slice: slice.max(Duration::from_millis(1)),
            slices: Default::default(),
        }
    }

    /// Counts a call that ended at `now`.
    pub(super) fn count(&self, now: Duration, failed: bool, slow: bool) {
        let epoch = self.epoch(now);
        let one = Tally {
            calls: 1,
            failed: u64::from(failed),
            slow: u64::from(slow),
        };
        let add = |kept: u64| {
            let mut sum = if kept >> (3 * COUNT) == epoch & LAST_EPOCH {
                unpack(kept)
            } else {
                Tally::default()
            };
            if sum.calls == MOST {
                // Their shares stay what they are.
                sum = Tally {
                    calls: sum.calls / 2,
                    failed: sum.failed / 2,
                    slow: sum.slow / 2,
                };
            }
            Some(pack(epoch, &sum.plus(&one)))
        };
        let slice = &self.slices[place(epoch)];
        // `add` never refuses.
        let _ = slice.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// All that ended within the window before `now`.
    pub(super) fn tally(&self, now: Duration) -> Tally {
        self.last(SLICES as u64, now)
    }

    fn last(&self, slices: u64, now: Duration) -> Tally {
        let epoch = self.epoch(now);
        (0..slices)
            .filter_map(|back| epoch.checked_sub(back))
            .map(|epoch| {
                let kept = self.slices[place(epoch)].load(Ordering::Relaxed);
                if kept >> (3 * COUNT) == epoch & LAST_EPOCH {
                    unpack(kept)
                } else {
                    Tally::default()
                }
            })
            .fold(Tally::default(), |sum, one| sum.plus(&one))
    }

    /// Those of the last fifth of it.
    pub(super) fn lately(&self, now: Duration) -> Tally {
        self.last(SLICES as u64 / 5, now)
    }

    /// Forgets all calls.
    pub(super) fn clear(&self) {
        for slice in &self.slices {
            slice.store(0, Ordering::Relaxed);
        }
    }

    /// The number of the slice of time that `now` lies in.
    fn epoch(&self, now: Duration) -> u64 {
        u64::try_from(now.as_nanos() / self.slice.as_nanos()).unwrap_or(u64::MAX)
    }
}

fn place(epoch: u64) -> usize {
    usize::try_from(epoch % SLICES as u64).unwrap_or(0)
}

fn pack(epoch: u64, tally: &Tally) -> u64 {
    let Tally {
        calls,
        failed,
        slow,
    } = tally;
    (epoch & LAST_EPOCH) << (3 * COUNT) | calls << (2 * COUNT) | failed << COUNT | slow
}

fn unpack(kept: u64) -> Tally {
    Tally {
        calls: kept >> (2 * COUNT) & MOST,
        failed: kept >> COUNT & MOST,
        slow: kept & MOST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn calls_count_for_the_length_of_the_window() {
        let window = Window::new(secs(10));
        window.count(secs(100), true, false);
        window.count(secs(105), false, true);
        let tally = |at| {
            let Tally {
                calls,
                failed,
                slow,
            } = window.tally(secs(at));
            (calls, failed, slow)
        };
        assert_eq!(tally(105), (2, 1, 1));
        assert_eq!(tally(109), (2, 1, 1));
        assert_eq!(tally(110), (1, 0, 1));
        assert_eq!(tally(115), (0, 0, 0));
        // A slice is used again, and what was in it is gone.
        window.count(secs(120), false, false);
        assert_eq!(tally(120), (1, 0, 0));
        window.clear();
        assert_eq!(tally(120), (0, 0, 0));
    }

    #[test]
    fn many_calls_keep_their_shares() {
        let window = Window::new(secs(10));
        for number in 0..100_000 {
            window.count(secs(1), number % 4 == 0, number % 2 == 0);
        }
        let tally = window.tally(secs(1));
        assert!((MOST / 2..=MOST).contains(&tally.calls), "{tally:?}");
        assert!((24..=26).contains(&(tally.failed * 100 / tally.calls)));
        assert!((49..=51).contains(&(tally.slow * 100 / tally.calls)));
    }

    #[test]
    fn no_time_and_no_length_is_too_long_or_too_short() {
        for length in [Duration::ZERO, Duration::MAX] {
            let window = Window::new(length);
            for now in [Duration::ZERO, Duration::MAX] {
                window.count(now, true, true);
                assert_eq!(window.tally(now).failed, window.tally(now).calls);
            }
        }
    }

    #[test]
    fn no_call_is_lost_between_threads() {
        let window = Window::new(secs(10));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        window.count(secs(3), false, false);
                    }
                });
            }
        });
        assert_eq!(window.tally(secs(3)).calls, 4000);
    }
}
