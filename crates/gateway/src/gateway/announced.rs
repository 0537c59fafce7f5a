//! What is done about what other replicas have changed: each announcement at once, and everything where
//! some may have been missed. What polls goes on to, for the time in which nothing is heard.

use std::{sync::Arc, sync::Weak, time::Duration};

use mcp_ultra_domain::{Announcement, ports::Heard};
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

use super::Gateway;

/// How many announcements may wait; beyond, everything is looked at instead.
const BEHIND: usize = 256;
/// The pause before everything is looked at again, where the store could not be read.
const AGAIN: Duration = Duration::from_secs(1);

/// Begins to hear, and goes on until the gateway is gone.
pub(super) fn follow(gateway: &Arc<Gateway>, stop: &CancellationToken) {
    let (heard, hearing) = broadcast::channel(BEHIND);
    let everything = Arc::new(Notify::new());
    let task = each(Arc::downgrade(gateway), hearing, everything.clone());
    tokio::spawn(stop.clone().run_until_cancelled_owned(task));
    let task = all(Arc::downgrade(gateway), everything);
    tokio::spawn(stop.clone().run_until_cancelled_owned(task));
    gateway.announcements.hear(Arc::new(move |what| {
        // Nobody is there when the gateway drains.
        drop(heard.send(what));
    }));
}

/// Does what each announcement asks for, in their order.
async fn each(
    gateway: Weak<Gateway>,
    mut hearing: broadcast::Receiver<Heard>,
    everything: Arc<Notify>,
) {
    loop {
        let announcement = match hearing.recv().await {
            Ok(Heard::Announced(announcement)) => announcement,
            Ok(Heard::Missed) | Err(broadcast::error::RecvError::Lagged(_)) => {
                everything.notify_one();
                continue;
            }
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let Some(gateway) = gateway.upgrade() else {
            return;
        };
        gateway.take_over(&announcement).await;
    }
}

/// Looks at everything when it is told to. Beside the announcements, since it takes a while where
/// much is in memory.
async fn all(gateway: Weak<Gateway>, everything: Arc<Notify>) {
    loop {
        everything.notified().await;
        loop {
            let Some(gateway) = gateway.upgrade() else {
                return;
            };
            if gateway.look_at_everything().await {
                break;
            }
            drop(gateway);
            tokio::time::sleep(AGAIN).await;
        }
    }
}

impl Gateway {
    async fn take_over(&self, announcement: &Announcement) {
        match announcement {
            Announcement::KeyChanged { id } => {
                if let Some(identity) = &self.identity {
                    identity.forget_api_key(id);
                }
            }
            Announcement::BlocksChanged => self.enforce_blocks().await,
            Announcement::PinsChanged => self.pins_changed(),
            Announcement::AnswersOutdated { server, what } => {
                self.heard_of_outdated(server, what);
            }
            // Whoever reads the configuration reads the registry.
            Announcement::RegistryChanged => {}
            Announcement::BreakersChanged => self.breakers_changed(),
            Announcement::GrantWithdrawn { server, holder } => {
                self.end_withdrawn_of(server, holder).await;
            }
        }
    }

    /// What announcements would have told; `false` where the store could not be read. Only that is
    /// said of which no other task would notice it soon.
    async fn look_at_everything(&self) -> bool {
        self.pins_changed();
        self.cache.outdate_all();
        self.enforce_blocks().await;
        let are_known = match &self.identity {
            Some(identity) => identity.recheck_api_keys().await,
            None => true,
        };
        self.end_withdrawn().await;
        are_known
    }
}
