//! Calls that wait for their callers while the gateway ends.

use std::time::Duration;

use tokio::time::Instant;

use super::Gateway;

/// How often it is looked whether any are left.
const LOOK: Duration = Duration::from_millis(50);

impl Gateway {
    /// Waits until no parked call is left that a client could still come back to at another replica,
    /// for `limit` at most. Returns how many are given up then: whoever comes back later is told so.
    pub async fn finish_parked(&self, limit: Duration) -> usize {
        let Some(replicas) = &self.replicas else {
            // Nobody can come back: this gateway listens no more.
            return 0;
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
