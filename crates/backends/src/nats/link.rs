//! One connection after the other, for as long as the gateway runs.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_nats::{Client, jetstream};
use mcp_ultra_config::NatsSettings;
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

use super::{
    Shared,
    connect::{self, ANSWER},
    inbox::Inbox,
    meeting::Meeting,
    outbox::Outbox,
    stream,
};

/// The pause after a first failure; each further one doubles it.
const SHORTEST: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(5);
/// A connection that lasted for so long was a good one.
const GOOD: Duration = Duration::from_secs(10);

/// What it takes to be connected.
pub(super) struct Link {
    /// For the next connection.
    pub(super) settings: Arc<Mutex<NatsSettings>>,
    pub(super) outbox: Outbox,
    pub(super) inbox: Inbox,
    pub(super) shared: Arc<Shared>,
    pub(super) meeting: Arc<Meeting>,
    pub(super) random: fn() -> u64,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Link {
    /// Runs until all was told and nothing more will be.
    pub(super) async fn run(mut self) {
        let mut failures = 0;
        loop {
            let begun = Instant::now();
            let ended = self.connected().await;
            let was_connected = self.shared.connected.swap(false, Ordering::AcqRel);
            let Err(error) = ended else { return };
            if was_connected || failures == 0 {
                tracing::warn!(
                    error = &*error as &dyn std::error::Error,
                    "NATS is lost: changes that other gateways make are found by polling until it is back"
                );
            } else {
                tracing::debug!(
                    error = &*error as &dyn std::error::Error,
                    "NATS can't be used yet"
                );
            }
            if begun.elapsed() >= GOOD {
                failures = 0;
            }
            tokio::time::sleep(pause(failures, (self.random)())).await;
            failures = failures.saturating_add(1);
        }
    }

    /// One connection, until it fails.
    async fn connected(&mut self) -> Result<(), Failure> {
        let settings = self.settings.lock().clone();
        let (client, lost) = connect::connect(&settings).await?;
        let context = jetstream::context::ContextBuilder::new()
            .timeout(ANSWER)
            .ack_timeout(ANSWER)
            .build(client.clone());
        let reachable = self.meeting.reachable(&client).await?;
        let prefix = &settings.prefix;
        let subject = stream::subject(prefix);
        let stream = stream::ensure(&context, prefix).await?;
        tracing::info!(
            server = client.server_info().server_name,
            "NATS is connected: changes are announced to other gateways"
        );
        let (outbox, inbox) = (&mut self.outbox, &mut self.inbox);
        tokio::select! {
            told = outbox.run(&context, &subject) => told?,
            heard = inbox.run(&stream) => heard?,
            () = reachable => return Err("the server has ended the subscriptions".into()),
            () = is_lost(&client, lost) => return Err("the connection is lost".into()),
        }
        // All was told, and the process ends: what was sent last is to arrive.
        client.flush().await?;
        Ok(())
    }
}

/// Until the connection of `client`, which it is held for, is lost.
async fn is_lost(_: &Client, mut lost: watch::Receiver<bool>) {
    // Without its sender the client is gone, too.
    let _ = lost.wait_for(|lost| *lost).await;
}

/// Half of it is random, so that all gateways do not come back at the same moment.
fn pause(failures: u32, random: u64) -> Duration {
    let whole = SHORTEST.saturating_mul(1 << failures.min(10)).min(LONGEST);
    let half = whole / 2;
    let nanos = (half.as_nanos() * u128::from(random)) >> 64;
    half + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_are_spread() {
        assert_eq!(pause(0, 0), SHORTEST / 2);
        assert!(pause(0, u64::MAX) <= SHORTEST && pause(0, u64::MAX) > SHORTEST * 9 / 10);
        assert_eq!(pause(3, 0), SHORTEST * 4);
        assert_eq!(pause(u32::MAX, 0), LONGEST / 2);
        assert!(pause(u32::MAX, u64::MAX) <= LONGEST);
    }
}
