//! What is finished before the process ends.

use std::time::Duration;

use mcp_ultra_edge::shutdown::Shutdown;
use mcp_ultra_gateway::Gateway;
use tokio::{task::JoinHandle, time::Instant};

/// How long before the deadline clients are told that their calls wait for people no longer, at most.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Takes what is new for the time of `delay`, by what is in force then; then finishes what is in flight
/// within `deadline`, and cuts off what is left.
pub(super) async fn run(
    gateway: &Gateway,
    shutdown: &Shutdown,
    [delay, deadline]: [Duration; 2],
    reloading: Option<&JoinHandle<()>>,
) {
    tokio::time::sleep(delay).await;
    if let Some(reloading) = reloading {
        reloading.abort();
    }
    gateway.drain();
    let begun = Instant::now();
    let left = || deadline.saturating_sub(begun.elapsed());
    let last = LAST_WORDS.min(deadline / 4);
    if !shutdown.ended_within(deadline.saturating_sub(last)).await {
        gateway.give_up();
    }
    let drained = shutdown.finish(left()).await;
    if !drained.is_clean() {
        tracing::warn!(
            connections = drained.aborted_connections,
            requests = drained.aborted_requests,
            "calls were cut off at the deadline"
        );
    }
    // Their callers come back at other gateways.
    let parked = gateway.finish_parked(left()).await;
    if parked > 0 {
        tracing::warn!(
            calls = parked,
            "calls that wait for input of their callers are given up"
        );
    }
    gateway.stop().await;
}
