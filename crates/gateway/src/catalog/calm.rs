//! How often the lists of an upstream are read that keeps changing them.

use std::time::Duration;

use tokio::time::Instant;

/// The pause after the second of several changes, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// For how long nothing must have changed for a change to count as the first.
const QUIET: Duration = Duration::from_mins(1);

/// The pause after readings that bring definitions which have to be scanned, so that an upstream
/// with new ones each time can't have the gateway scan all the time: none after the first in a
/// while, then 1 s, 2 s and so on, to a minute.
#[derive(Debug, Default)]
pub(super) struct Calm {
    /// How many readings in a row have brought any.
    changes: u32,
    /// When the last of them ended.
    last: Option<Instant>,
}

impl Calm {
    /// A reading has ended and brought so many new definitions.
    pub(super) fn read(&mut self, new: usize, now: Instant) {
        if new > 0 {
            self.changes = self.changes.saturating_add(1);
            self.last = Some(now);
        } else if self
            .last
            .is_some_and(|last| now.duration_since(last) >= QUIET)
        {
            *self = Self::default();
        }
    }

    /// Before when the lists are not read again, if there is such a time.
    pub(super) fn earliest(&self) -> Option<Instant> {
        let doublings = self.changes.checked_sub(2)?;
        let factor = 2_u32.saturating_pow(doublings);
        let pause = PAUSES.0.saturating_mul(factor).min(PAUSES.1);
        Some(self.last? + pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How many readings an upstream can cause in `time`, each of them of a second, and how many of
    /// them are scanned; `brings` says how many new definitions a reading brings.
    fn readings(time: Duration, brings: impl Fn(usize) -> usize) -> (usize, usize) {
        let begun = Instant::now();
        let (mut calm, mut now) = (Calm::default(), begun);
        let (mut readings, mut scans) = (0, 0);
        while now < begun + time {
            now += SECOND;
            let new = brings(readings);
            calm.read(new, now);
            readings += 1;
            scans += usize::from(new > 0);
            now = calm.earliest().map_or(now, |earliest| earliest.max(now));
        }
        (readings, scans)
    }

    #[test]
    fn readings_with_changes_are_bounded() {
        let hour = Duration::from_hours(1);
        // One without a pause, six with up to 32 seconds, and then one every 61 seconds.
        assert_eq!(readings(hour, |_| 1).0, 65);
        // An upstream that is quiet in between gains little.
        for every in [2, 3, 10] {
            let (_, scans) = readings(hour, |at| usize::from(at % every == 0));
            assert!(scans < 240, "{every}: {scans}");
        }
        assert_eq!(readings(hour, |_| 0).0, 3600);
    }

    #[test]
    fn it_begins_anew_when_it_was_quiet() {
        let begun = Instant::now();
        let mut calm = Calm::default();
        let pause = |calm: &Calm, now| calm.earliest().map(|earliest| earliest - now);
        for pauses in [None, Some(1), Some(2), Some(4)] {
            calm.read(1, begun);
            assert_eq!(pause(&calm, begun), pauses.map(Duration::from_secs));
        }
        // Not by one quiet reading.
        calm.read(0, begun + SECOND);
        calm.read(1, begun + 2 * SECOND);
        assert_eq!(pause(&calm, begun + 2 * SECOND), Some(8 * SECOND));
        calm.read(0, begun + 2 * SECOND + QUIET);
        assert_eq!(calm.earliest(), None);
        calm.read(1, begun + 3 * SECOND + QUIET);
        assert_eq!(calm.earliest(), None);
    }
}
