use std::time::Duration;

const DAY: u64 = 24 * 60 * 60;

/// The day of UTC that a time is in, counted since the Unix epoch.
pub fn day_of(now: Duration) -> u32 {
    u32::try_from(now.as_secs() / DAY).unwrap_or(u32::MAX)
}

/// How long it is until the next day of UTC begins.
pub(super) fn until_tomorrow(now: Duration) -> Duration {
    let next = (u64::from(day_of(now)) + 1) * DAY;
    Duration::from_secs(next).saturating_sub(now)
}

/// How often something happened on one day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DayCount {
    day: u32,
    count: u32,
}

impl DayCount {
    /// Counts an event at `now`, where `most` have not happened on its day (UTC).
    ///
    /// # Errors
    /// How long to wait for the next day.
    pub fn count_one(&mut self, most: u32, now: Duration) -> Result<(), Duration> {
        let day = day_of(now);
        if self.day != day {
            *self = Self { day, count: 0 };
        }
        if self.count >= most {
            return Err(until_tomorrow(now));
        }
        self.count += 1;
        Ok(())
    }

    /// Takes back an event that was counted and did not happen, if its day is not over.
    pub fn give_back(&mut self, now: Duration) {
        if self.day == day_of(now) {
            self.count = self.count.saturating_sub(1);
        }
    }

    /// Whether it says nothing any more.
    pub fn is_over(&self, now: Duration) -> bool {
        self.day != day_of(now) || self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_has_its_own_count() {
        let evening = Duration::from_secs(20_000 * DAY + DAY - 10);
        let mut count = DayCount::default();
        assert_eq!(count.count_one(2, evening), Ok(()));
        assert_eq!(count.count_one(2, evening), Ok(()));
        assert_eq!(
            count.count_one(2, evening),
            Err(Duration::from_secs(10)),
            "until midnight"
        );
        count.give_back(evening);
        assert_eq!(count.count_one(2, evening), Ok(()));
        assert!(!count.is_over(evening));
        let morning = evening + Duration::from_secs(10);
        assert!(count.is_over(morning));
        // Of yesterday, it is nothing to give back today.
        count.give_back(morning);
        assert_eq!(count.count_one(1, morning), Ok(()));
        assert!(count.count_one(1, morning).is_err());
    }
}
