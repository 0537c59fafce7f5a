//! When a server is not asked: each who asks one that is gone would wait for as long as a connection
//! may take.
//!
//! Only that a transaction begins is counted. What becomes of it after that says more of what was
//! asked for: a name that is taken, a table that somebody else has locked.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use mcp_ultra_config::PostgresSettings;
use mcp_ultra_domain::{
    breaker::{Breaker, Forced, Pass, Rules, State, Status, Verdict},
    ports::Dependency,
};
use tokio::time::Instant;

use crate::sql::error::SqlError;

/// Three in four of five or more have failed. A pool whose connections are all in use looks the same
/// from here, and is soon free again: so that is more than half, and the pauses are short.
const RULES: Rules = Rules {
    window: Duration::from_secs(10),
    least_calls: 5,
    in_a_row: 0,
    failed: 75,
    slow_after: Duration::MAX,
    slow: 101,
    open_for: Duration::from_millis(250),
    open_at_most: Duration::from_secs(2),
    probes: 1,
    probe_for: Duration::ZERO,
};

/// The breaker of the server that writes.
#[derive(Debug)]
pub(in crate::sql) struct PrimaryBreaker {
    breaker: Breaker,
    since: Instant,
    /// Whether the log says so.
    is_told: AtomicBool,
}

/// A transaction that may be begun. Nobody may wait for it any more: then the next one is a probe.
struct Trial<'b> {
    of: &'b PrimaryBreaker,
    pass: Option<Pass>,
}

impl PrimaryBreaker {
    /// One that waits for a probe for as long as that may take by `settings`.
    pub(super) fn new(settings: &PostgresSettings) -> Self {
        let connection = settings.pool.acquire_timeout.get();
        let statement = settings.statement_timeout.get();
        Self::by(Rules {
            probe_for: connection.saturating_add(statement),
            ..RULES
        })
    }

    fn by(rules: Rules) -> Self {
        Self {
            breaker: Breaker::new(rules),
            since: Instant::now(),
            is_told: AtomicBool::new(false),
        }
    }

    /// Begins a transaction, where the server is asked.
    pub(super) async fn pass<T>(
        &self,
        begin: impl Future<Output = Result<T, SqlError>>,
    ) -> Result<T, SqlError> {
        let pass = self.breaker.admit(self.since.elapsed());
        let mut trial = Trial {
            of: self,
            pass: Some(pass.map_err(|_| SqlError::LeftAlone)?),
        };
        let begun = Instant::now();
        let answer = begin.await;
        // Nothing that a caller has asked for was said yet: whatever is wrong is so for all.
        trial.note(match &answer {
            Ok(_) => Verdict::Answered(begun.elapsed()),
            Err(_) => Verdict::Failed,
        });
        answer
    }

    fn changed(&self, to: State) {
        match to {
            State::Open => {
                if !self.is_told.swap(true, Ordering::Relaxed) {
                    tracing::error!("PostgreSQL keeps failing, and is left alone but for probes");
                }
            }
            State::Closed => {
                self.is_told.store(false, Ordering::Relaxed);
                tracing::info!("PostgreSQL is back");
            }
            State::HalfOpen => {}
        }
    }
}

impl Trial<'_> {
    fn note(&mut self, verdict: Verdict) {
        let Some(pass) = self.pass.take() else { return };
        let now = self.of.since.elapsed();
        if let Some(state) = self.of.breaker.note(pass, verdict, now) {
            self.of.changed(state);
        }
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        self.note(Verdict::Unknown);
    }
}

impl Dependency for PrimaryBreaker {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn breaker(&self) -> (Status, Option<Duration>) {
        self.breaker.status_for(self.since.elapsed())
    }

    fn force(&self, forced: Option<Forced>) {
        self.breaker.force(forced);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{sleep, timeout};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn breaker() -> PrimaryBreaker {
        PrimaryBreaker::by(Rules {
            probe_for: PATIENCE * 2,
            ..RULES
        })
    }

    async fn fail(breaker: &PrimaryBreaker) -> SqlError {
        let failed = breaker.pass(async { Err::<(), _>(SqlError::NoConnection) });
        failed.await.unwrap_err()
    }

    async fn is_left_alone(breaker: &PrimaryBreaker) -> bool {
        let asked = breaker.pass(async { Ok(()) }).await;
        matches!(asked, Err(SqlError::LeftAlone))
    }

    async fn opened() -> PrimaryBreaker {
        let breaker = breaker();
        for _ in 0..5 {
            assert!(matches!(fail(&breaker).await, SqlError::NoConnection));
        }
        assert_eq!(breaker.breaker().0.state, State::Open);
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_keeps_failing_is_not_asked_for_a_while() {
        let breaker = opened().await;
        assert!(is_left_alone(&breaker).await);
        sleep(RULES.open_for).await;
        assert!(!is_left_alone(&breaker).await);
        assert_eq!(breaker.breaker().0.state, State::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn one_in_three_that_is_answered_keeps_it_asked() {
        let breaker = breaker();
        for number in 0..40 {
            if number % 3 == 0 {
                assert!(!is_left_alone(&breaker).await);
            } else {
                assert!(matches!(fail(&breaker).await, SqlError::NoConnection));
            }
        }
        assert_eq!(breaker.breaker().0.state, State::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn one_asks_whether_it_is_back_however_long_that_takes() {
        let breaker = opened().await;
        sleep(RULES.open_for).await;
        let slow = breaker.pass(async {
            sleep(PATIENCE).await;
            Err::<(), _>(SqlError::NoConnection)
        });
        let others = async {
            for _ in 0..49 {
                sleep(PATIENCE / 50).await;
                assert!(is_left_alone(&breaker).await);
            }
        };
        assert!(tokio::join!(slow, others).0.is_err());
        // Twice as long as before.
        assert_eq!(breaker.breaker().0.state, State::Open);
        sleep(RULES.open_for).await;
        assert!(is_left_alone(&breaker).await);
        sleep(RULES.open_for).await;
        assert!(!is_left_alone(&breaker).await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_operator_has_it_left_alone_or_asked_whatever_comes_of_it() {
        let breaker = breaker();
        breaker.force(Some(Forced::Open));
        assert!(is_left_alone(&breaker).await);
        sleep(RULES.open_at_most).await;
        assert!(is_left_alone(&breaker).await);
        breaker.force(Some(Forced::Closed));
        for _ in 0..50 {
            assert!(matches!(fail(&breaker).await, SqlError::NoConnection));
        }
        breaker.force(None);
        assert!(!is_left_alone(&breaker).await);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_probe_that_was_given_up() {
        let breaker = opened().await;
        sleep(RULES.open_for).await;
        let left = timeout(RULES.open_for, breaker.pass(pending::<Result<(), _>>()));
        assert!(left.await.is_err());
        assert!(!is_left_alone(&breaker).await);
        assert_eq!(breaker.breaker().0.state, State::Closed);
    }
}
