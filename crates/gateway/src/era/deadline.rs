use std::time::Duration;

use tokio::time::Instant;

/// How long a call may wait for people in all, whatever its time for the upstream is.
const MAX_WAIT: Duration = Duration::from_hours(1);

/// When a call has taken too long.
///
/// The time that an upstream has for a call does not run while a person is being asked: an
/// elicitation may take ten minutes where a call may take five. It is bounded all the same.
#[derive(Debug)]
pub(super) struct Deadline {
    at: Instant,
    last: Instant,
    began: Instant,
    /// The time that the upstream has in all.
    limit: Duration,
    /// How long people have been waited for.
    waited: Duration,
    /// How long the client has not taken what was sent to it, while the time of the upstream ran.
    held: Duration,
    paused: Option<Instant>,
}

impl Deadline {
    /// `limit` from now, of which so long was `used` before the upstream is asked.
    pub(super) fn after(limit: Duration, used: Duration) -> Self {
        let began = Instant::now();
        let at = began + limit.saturating_sub(used);
        Self {
            at,
            last: at + MAX_WAIT,
            began,
            limit,
            waited: Duration::ZERO,
            held: Duration::ZERO,
            paused: None,
        }
    }

    /// Somebody is being asked.
    pub(super) fn pause(&mut self) {
        self.paused.get_or_insert_with(Instant::now);
    }

    /// Nobody is being asked any more: the upstream gets back the time that it waited. Whether somebody
    /// was.
    pub(super) fn resume(&mut self) -> bool {
        let Some(since) = self.paused.take() else {
            return false;
        };
        let waited = since.elapsed();
        self.at += waited;
        self.waited += waited;
        true
    }

    /// The client has not taken what was sent to it since then. That ends no later because of it, but is
    /// nothing that the upstream has taken.
    pub(super) fn held_since(&mut self, since: Instant) {
        if self.paused.is_none() {
            self.held += since.elapsed();
        }
    }

    /// How long the upstream has taken so far.
    pub(super) fn spent(&self) -> Duration {
        let now = self.paused.unwrap_or_else(Instant::now);
        (now - self.began).saturating_sub(self.waited + self.held)
    }

    /// Whether the upstream had nearly all of the time: else a call that has taken too long says nothing
    /// of it.
    pub(super) fn is_the_upstreams(&self) -> bool {
        self.spent() >= self.limit / 10 * 9
    }

    /// Completes when the call has taken too long.
    pub(super) async fn reached(&self) {
        let at = if self.paused.is_some() {
            self.last
        } else {
            self.at.min(self.last)
        };
        tokio::time::sleep_until(at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_time_of_people_is_not_the_upstreams() {
        let start = Instant::now();
        let mut deadline = Deadline::after(Duration::from_mins(5), Duration::ZERO);
        tokio::time::sleep(Duration::from_secs(100)).await;
        deadline.pause();
        deadline.pause();
        tokio::time::sleep(Duration::from_mins(10)).await;
        assert_eq!(deadline.spent().as_secs(), 100);
        assert!(deadline.resume() && !deadline.resume());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(deadline.spent().as_secs(), 101);
        deadline.reached().await;
        assert_eq!(start.elapsed().as_secs(), 900);
        assert!(deadline.is_the_upstreams());
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_clients_is_not_the_upstreams_and_ends_all_the_same() {
        let (limit, seconds) = (Duration::from_mins(5), Duration::from_secs);
        let start = Instant::now();
        let mut deadline = Deadline::after(limit, Duration::ZERO);
        tokio::time::sleep(seconds(10)).await;
        let since = Instant::now();
        tokio::time::sleep(seconds(50)).await;
        deadline.held_since(since);
        assert_eq!(deadline.spent(), seconds(10));
        // What a client does not read while a person thinks is counted once.
        deadline.pause();
        let since = Instant::now();
        tokio::time::sleep(seconds(20)).await;
        deadline.held_since(since);
        deadline.resume();
        assert_eq!(deadline.spent(), seconds(10));
        deadline.reached().await;
        assert_eq!(start.elapsed(), limit + seconds(20));
        assert!(!deadline.is_the_upstreams());
        let late = Deadline::after(limit, seconds(290));
        late.reached().await;
        assert_eq!(late.spent(), seconds(10));
        assert!(!late.is_the_upstreams());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_people_has_an_end() {
        let start = Instant::now();
        let mut deadline = Deadline::after(Duration::from_mins(5), Duration::ZERO);
        deadline.pause();
        deadline.reached().await;
        assert_eq!(start.elapsed(), MAX_WAIT + Duration::from_mins(5));
    }
}
