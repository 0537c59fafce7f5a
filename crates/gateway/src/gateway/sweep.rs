//! What is done again and again for as long as the gateway runs.

use std::{sync::Weak, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::session::VALID_FOR;

use super::Gateway;

/// How often idle sessions and processes are looked for, and lost ones.
const SWEEP: Duration = Duration::from_secs(10);
/// How often it is looked whether tools were approved by another process.
const APPROVALS: Duration = Duration::from_secs(2);
/// How often it is looked whether callers were blocked by another process.
const BLOCKS: Duration = Duration::from_secs(2);
/// How often it is looked for flags whose day is over.
const EXPIRED: Duration = Duration::from_mins(1);
/// How often it is looked for tools that have been gone for long.
const GONE: Duration = Duration::from_hours(1);
/// When that is done once more after the servers have changed: the tools of one that was just being
/// judged may have been noted as offered since.
const GONE_AGAIN: Duration = Duration::from_secs(2);

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
            upstream.keep_shared().await;
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
        gateway.cache.sweep(gateway.clock.now());
        gateway.end_withdrawn().await;
        let before = gateway.clock.now().saturating_sub(VALID_FOR);
        if let Err(error) = gateway.store.expire(before).await {
            tracing::warn!(%error, "old tombstones of sessions could not be removed");
        }
    }
}

/// Forgets tools that have been gone for long, now and then and when the servers may be others, until
/// the gateway is gone.
pub(super) async fn gone_tools(gateway: Weak<Gateway>, stop: CancellationToken) {
    let mut pause = GONE;
    loop {
        let Some(gateway) = gateway.upgrade() else {
            return;
        };
        let (servers, forget_after) = {
            let settings = gateway.settings();
            (settings.servers.clone(), settings.forget_after)
        };
        gateway.pinning.forget_gone(&servers, forget_after).await;
        let reloaded = gateway.reloaded.clone();
        drop(gateway);
        tokio::select! {
            () = stop.cancelled() => return,
            () = reloaded.notified() => pause = GONE_AGAIN,
            () = tokio::time::sleep(pause) => pause = GONE,
        }
    }
}

/// Looks for flags whose day is over, until the gateway is gone.
pub(super) async fn expired_flags(gateway: Weak<Gateway>, stop: CancellationToken) {
    loop {
        let Some(gateway) = gateway.upgrade() else {
            return;
        };
        gateway.tell_of_expired_flags();
        drop(gateway);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EXPIRED) => {}
        }
    }
}

/// Looks whether callers were blocked by another process, until the gateway is gone.
pub(super) async fn blocks(gateway: Weak<Gateway>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(BLOCKS) => {}
        }
        let Some(gateway) = gateway.upgrade() else {
            return;
        };
        gateway.enforce_blocks().await;
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
