//! What other replicas have done to sessions that live here too.
//!
//! A call asks nobody whether its session has ended elsewhere: a task of its own hears of it and
//! takes the session out of memory.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::Live;
use crate::{Gateway, listen};

/// How often the store is asked for news: for so long, and the time to ask, a session goes on here
/// that was ended elsewhere.
const LOOK: Duration = Duration::from_millis(500);

/// Applies what others have changed until the gateway is gone or drains.
pub(crate) async fn follow(gateway: Weak<Gateway>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let Some(gateway) = gateway.upgrade() else {
            return;
        };
        let live = || gateway.sessions.ids();
        match gateway.store.changed_elsewhere(&live).await {
            Ok(changed) => {
                for id in changed {
                    if let Some(live) = gateway.sessions.get(&id) {
                        refresh(&gateway, &live).await;
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "changes of sessions could not be read"),
        }
    }
}

/// Takes over what is stored; subscriptions where the stream that they are heard on is here. What is not
/// stored says nothing, since the store may have lost it.
async fn refresh(gateway: &Arc<Gateway>, live: &Arc<Live>) {
    let Ok(state) = gateway.store.load(&live.id).await else {
        return;
    };
    if state.terminated {
        return gateway.sessions.leave(gateway, live).await;
    }
    if let Some(level) = &state.log_level {
        live.set_log_level(level);
    }
    listen::take_over(gateway, live, &state.subscriptions);
}
