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
    /// How long people have been waited for.
    waited: Duration,
    paused: Option<Instant>,
}

impl Deadline {
    /// `limit` from now.
    pub(super) fn after(limit: Duration) -> Self {
        let began = Instant::now();
        let at = began + limit;
        Self {
            at,
            last: at + MAX_WAIT,
            began,
            waited: Duration::ZERO,
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

    /// How long the upstream has taken so far.
    pub(super) fn spent(&self) -> Duration {
        let now = self.paused.unwrap_or_else(Instant::now);
        (now - self.began).saturating_sub(self.waited)
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
        let mut deadline = Deadline::after(Duration::from_mins(5));
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
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_people_has_an_end() {
        let start = Instant::now();
        let mut deadline = Deadline::after(Duration::from_mins(5));
        deadline.pause();
        deadline.reached().await;
        assert_eq!(start.elapsed(), MAX_WAIT + Duration::from_mins(5));
    }
}
