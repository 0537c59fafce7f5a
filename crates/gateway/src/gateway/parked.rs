//! Calls that wait for their callers while the gateway ends.

use std::time::Duration;

use tokio::time::Instant;

use super::Gateway;

/// How often it is looked whether any are left.
const LOOK: Duration = Duration::from_millis(50);

impl Gateway {
    /// Ends the calls of legacy clients that wait for a person, each with an error that says so: there is
    /// no time left for an answer.
    pub fn give_up(&self) {
        self.giving_up.cancel();
    }

    /// Completes when there is no time left for people.
    pub(crate) async fn gives_up(&self) {
        self.giving_up.cancelled().await;
    }

    /// Waits until no parked call is left that a client could still come back to at another replica,
    /// for `limit` at most. Returns how many are given up then, which are counted: whoever comes back later
    /// is told so.
    pub async fn finish_parked(&self, limit: Duration) -> usize {
        let Some(replicas) = &self.replicas else {
            // Nobody can come back: this gateway listens no more.
            let left = self.parking.len();
            self.metrics.parked_lost("drained", left);
            return left;
        };
        let begun = Instant::now();
        loop {
            let left = self.parking.len() + replicas.carried();
            if left == 0 {
                return 0;
            }
            if begun.elapsed() >= limit {
                self.metrics.parked_lost("drained", left);
                return left;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
