use std::{num::NonZeroU32, time::Duration};

/// At most `count` events in each `period`, and up to `burst` at once after a rest.
///
/// The generic cell rate algorithm (ITU-T I.371, virtual scheduling): what is kept of the past is
/// one time, before which an unbroken stream of events at the full rate would not have ended. Each
/// event moves it on by `period / count`; an event that would move it further than `burst` of these
/// steps past now is too much. In any time `t` at most `burst + t × count / period` events are
/// admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    period: Duration,
    /// Nanoseconds between two events at the full rate.
    step: u64,
    /// `burst` of them.
    tolerance: u64,
}

impl Rate {
    /// A rate.
    pub fn new(count: NonZeroU32, period: Duration, burst: NonZeroU32) -> Self {
        let nanos = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        // Rounded up, so that never more than `count` fit into a period.
        let step = nanos.div_ceil(u64::from(count.get())).max(1);
        Self {
            count: count.get(),
            period,
            step,
            tolerance: step.saturating_mul(u64::from(burst.get())),
        }
    }

    /// How many events fit into a period.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The period.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Nanoseconds between two events at the full rate.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// How many nanoseconds a burst is ahead of the full rate.
    pub fn tolerance(&self) -> u64 {
        self.tolerance
    }

    /// How many events there may be at once after a rest.
    pub fn burst(&self) -> u32 {
        u32::try_from(self.tolerance / self.step).unwrap_or(u32::MAX)
    }

    /// Counts an event at `now`, where it is not too much. `kept` is the time that is kept, in
    /// nanoseconds since the Unix epoch, zero at first.
    ///
    /// What is kept is never later than the rate itself could have made it: after a change of the
    /// rate, or when the clock was set back, nobody waits longer than for a whole burst.
    ///
    /// # Errors
    /// How long to wait for the next event that would not be too much.
    pub fn count_one(&self, kept: &mut u64, now: Duration) -> Result<(), Duration> {
        let now = nanos(now);
        let full = now.saturating_add(self.tolerance);
        // Kept also when nothing is counted: else it would be as much too late after the wait.
        *kept = (*kept).clamp(now, full);
        let next = kept.saturating_add(self.step);
        if next > full {
            return Err(Duration::from_nanos(next - full));
        }
        *kept = next;
        Ok(())
    }

    /// Whether `kept` says nothing any more: forgetting it changes no answer.
    pub fn is_at_rest(kept: u64, now: Duration) -> bool {
        kept <= nanos(now)
    }
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Duration = Duration::from_hours(500_000);

    fn rate(count: u32, seconds: u64, burst: u32) -> Rate {
        let number = |number| NonZeroU32::new(number).unwrap();
        Rate::new(number(count), Duration::from_secs(seconds), number(burst))
    }

    fn admitted(rate: &Rate, kept: &mut u64, at: Duration, asked: usize) -> usize {
        (0..asked)
            .filter(|_| rate.count_one(kept, START + at).is_ok())
            .count()
    }

    #[test]
    fn a_burst_then_the_rate() {
        let rate = rate(10, 1, 5);
        let mut kept = 0;
        assert_eq!(admitted(&rate, &mut kept, Duration::ZERO, 100), 5);
        assert_eq!(
            rate.count_one(&mut kept, START),
            Err(Duration::from_millis(100))
        );
        assert_eq!(admitted(&rate, &mut kept, Duration::from_millis(99), 9), 0);
        assert_eq!(admitted(&rate, &mut kept, Duration::from_millis(100), 9), 1);
        assert_eq!(admitted(&rate, &mut kept, Duration::from_secs(1), 100), 5);
    }

    #[test]
    fn a_new_rate_does_not_make_anyone_wait_for_the_old_one() {
        let mut kept = 0;
        let hourly = rate(1, 3600, 1);
        assert_eq!(admitted(&hourly, &mut kept, Duration::ZERO, 2), 1);
        let quick = rate(100, 1, 10);
        let wait = quick.count_one(&mut kept, START).unwrap_err();
        assert!(wait <= Duration::from_millis(10), "{wait:?}");
        // The other way round the burst is not had again.
        let mut kept = 0;
        assert_eq!(admitted(&quick, &mut kept, Duration::ZERO, 10), 10);
        let slow = rate(1, 1, 2);
        assert_eq!(admitted(&slow, &mut kept, Duration::ZERO, 10), 1);
    }

    #[test]
    fn a_clock_that_is_set_back_costs_a_burst_at_most() {
        let rate = rate(10, 1, 5);
        let mut kept = 0;
        assert_eq!(admitted(&rate, &mut kept, Duration::from_hours(5), 9), 5);
        let wait = rate.count_one(&mut kept, START).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
    }

    proptest! {
        /// Never more than `burst + t × count / period`, in whatever window one looks.
        #[test]
        fn never_more_than_the_rate(
            count in 1_u32..2_000,
            seconds in prop::sample::select(vec![1_u64, 60, 3600]),
            burst in 1_u32..50,
            gaps in prop::collection::vec(0_u64..2_000_000_000, 1..200),
        ) {
            let rate = rate(count, seconds, burst);
            let (mut kept, mut now, mut admitted) = (0, START, Vec::new());
            for gap in gaps {
                now += Duration::from_nanos(gap);
                if rate.count_one(&mut kept, now).is_ok() {
                    admitted.push(now);
                }
            }
            for (first, start) in admitted.iter().enumerate() {
                for (last, end) in admitted.iter().enumerate().skip(first) {
                    let events = (last - first + 1) as u128;
                    let nanos = end.saturating_sub(*start).as_nanos();
                    let allowed = u128::from(burst)
                        + nanos * u128::from(count) / (u128::from(seconds) * 1_000_000_000);
                    prop_assert!(events <= allowed, "{events} in {nanos} ns, {allowed} allowed");
                }
            }
        }

        /// Whoever waits as long as told is admitted.
        #[test]
        fn the_wait_is_long_enough(
            count in 1_u32..2_000_000,
            burst in 1_u32..100_000,
            kept in 0_u64..u64::MAX,
        ) {
            let rate = rate(count, 60, burst);
            let mut kept = kept;
            if let Err(wait) = rate.count_one(&mut kept, START) {
                prop_assert!(rate.count_one(&mut kept, START + wait).is_ok());
            }
        }

        /// Forgetting what is at rest changes no answer.
        #[test]
        fn rest_is_rest(count in 1_u32..1000, burst in 1_u32..10, kept in 0_u64..=1_800_000_000_000_000_000) {
            prop_assert!(Rate::is_at_rest(kept, START));
            let rate = rate(count, 1, burst);
            let (mut kept, mut fresh) = (kept, 0);
            for _ in 0..20 {
                let answer = rate.count_one(&mut kept, START);
                prop_assert_eq!(answer, rate.count_one(&mut fresh, START));
            }
        }
    }
}
