//! What is done again and again for as long as the gateway runs.

use std::{sync::Weak, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::session::VALID_FOR;

use super::Gateway;

/// How often idle sessions and processes are looked for, and lost ones.
const SWEEP: Duration = Duration::from_secs(10);
/// How often it is looked whether tools were approved by another process.
const APPROVALS: Duration = Duration::from_secs(2);

/// Looks for what is idle, and for sessions that upstreams have lost and somebody still needs,
/// until the gateway is gone.
pub(super) async fn idle(gateway: Weak<Gateway>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SWEEP) => {}
        }
        let Some(gateway) = gateway.upgrade() else {
            return;
        };
        let idle = gateway.settings().session_idle;
        let sessions = gateway.sessions.sweep(&gateway, idle).await;
        let mut closed = 0;
        for upstream in &gateway.snapshot().upstreams {
            closed += upstream.close_idle().await;
            upstream.forget_ended_tokens();
            let missed = upstream.missed();
            if !missed.is_empty() {
                let (upstream, stop) = (upstream.clone(), stop.clone());
                tokio::spawn(
                    async move { stop.run_until_cancelled(upstream.restore(&missed)).await },
                );
            }
        }
        if sessions + closed > 0 {
            tracing::debug!(
                sessions,
                upstream_sessions = closed,
                "idle sessions have been ended"
            );
        }
        gateway.end_withdrawn().await;
        let before = gateway.clock.now().saturating_sub(VALID_FOR);
        if let Err(error) = gateway.store.expire(before).await {
            tracing::warn!(%error, "old tombstones of sessions could not be removed");
        }
    }
}

/// Looks whether tools were approved by another process, until the gateway is gone.
pub(super) async fn approvals(gateway: Weak<Gateway>, stop: CancellationToken) {
    let mut known = None;
    loop {
        let Some(gateway) = gateway.upgrade() else {
            return;
        };
        if let Some(now) = gateway.pinning.approvals().await {
            if known.is_some_and(|known| known != now) {
                gateway.pins_changed();
            }
            known = Some(now);
        }
        drop(gateway);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(APPROVALS) => {}
        }
    }
}
