//! What the gateway needs besides its upstreams, and what operators have decided for its circuit
//! breakers: of this process, and for a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use mcp_ultra_domain::{
    breaker::{Forced, Status},
    ports::Dependency,
};

/// After this an operator's decision ends.
const FORCED_AT_MOST: Duration = Duration::from_hours(1);

/// What the gateway needs.
pub(super) struct Dependencies(Vec<Needed>);

struct Needed {
    dependency: Arc<dyn Dependency>,
    /// The number of the latest decision.
    decided: Arc<AtomicU64>,
}

impl Dependencies {
    pub(super) fn new(all: Vec<Arc<dyn Dependency>>) -> Self {
        let needed = |dependency| Needed {
            dependency,
            decided: Arc::default(),
        };
        Self(all.into_iter().map(needed).collect())
    }

    /// The name of each, how its breaker is, and for how long it is open.
    pub(super) fn states(
        &self,
    ) -> impl Iterator<Item = (&'static str, Status, Option<Duration>)> + '_ {
        self.0.iter().map(|needed| {
            let (status, wait) = needed.dependency.breaker();
            (needed.dependency.name(), status, wait)
        })
    }

    /// An operator decides, or no more; `false` where there is nothing of that name.
    pub(super) fn force(&self, name: &str, forced: Option<Forced>) -> bool {
        let mut all = self.0.iter();
        let Some(needed) = all.find(|needed| needed.dependency.name() == name) else {
            return false;
        };
        let number = needed.decided.fetch_add(1, Ordering::AcqRel) + 1;
        needed.dependency.force(forced);
        if forced.is_some() {
            tokio::spawn(end(
                needed.dependency.clone(),
                needed.decided.clone(),
                number,
            ));
        }
        true
    }
}

/// Ends the decision `number`, unless there is a later one.
async fn end(dependency: Arc<dyn Dependency>, decided: Arc<AtomicU64>, number: u64) {
    tokio::time::sleep(FORCED_AT_MOST).await;
    if decided.load(Ordering::Acquire) == number {
        dependency.force(None);
        tracing::warn!(
            dependency = dependency.name(),
            "what an administrator had decided for a circuit breaker has ended after an hour"
        );
    }
}

#[cfg(test)]
mod tests {
    use mcp_ultra_domain::breaker::{Breaker, Rules, State};
    use tokio::time::sleep;

    use super::*;

    struct Disk(Breaker);

    impl Dependency for Disk {
        fn name(&self) -> &'static str {
            "disk"
        }

        fn breaker(&self) -> (Status, Option<Duration>) {
            self.0.status_for(Duration::ZERO)
        }

        fn force(&self, forced: Option<Forced>) {
            self.0.force(forced);
        }
    }

    fn disk() -> Dependencies {
        let rules = Rules {
            window: Duration::from_secs(10),
            least_calls: 20,
            failed: 50,
            in_a_row: 0,
            slow_after: Duration::MAX,
            slow: 101,
            open_for: Duration::from_secs(5),
            open_at_most: Duration::from_mins(1),
            probes: 1,
            probe_for: Duration::ZERO,
        };
        Dependencies::new(vec![Arc::new(Disk(Breaker::new(rules)))])
    }

    fn state(of: &Dependencies) -> State {
        of.states().next().unwrap().1.state
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_forced_ends_after_an_hour() {
        let disk = disk();
        assert!(!disk.force("tape", Some(Forced::Open)));
        assert!(disk.force("disk", Some(Forced::Open)));
        sleep(FORCED_AT_MOST / 2).await;
        assert_eq!(state(&disk), State::Open);
        sleep(FORCED_AT_MOST / 2 + Duration::from_secs(1)).await;
        assert_eq!(state(&disk), State::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_decision_has_its_own_hour() {
        let disk = disk();
        disk.force("disk", Some(Forced::Open));
        sleep(FORCED_AT_MOST / 2).await;
        disk.force("disk", None);
        assert_eq!(state(&disk), State::Closed);
        disk.force("disk", Some(Forced::Open));
        sleep(FORCED_AT_MOST / 2 + Duration::from_secs(1)).await;
        assert_eq!(state(&disk), State::Open);
        sleep(FORCED_AT_MOST / 2).await;
        assert_eq!(state(&disk), State::Closed);
    }
}
