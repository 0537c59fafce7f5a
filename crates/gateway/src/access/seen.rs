use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use mcp_ultra_domain::catalog::Kind;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Viewer;
use crate::Gateway;

/// The lists as one viewer saw them last, to tell it of those that changed and of no others.
#[derive(Debug)]
pub(crate) struct Seen {
    lists: Arc<Lists>,
    governed: bool,
}

/// What of it is shared with who looks for lists that change with the time.
#[derive(Debug)]
pub(super) struct Lists {
    pub(super) viewer: Viewer,
    digests: Mutex<[u64; Kind::ALL.len()]>,
    /// A bit for each kind of which the viewer is to be told.
    due: AtomicU8,
    told: Notify,
}

impl Lists {
    /// Takes over how a list is now; whether it was another one before.
    fn note(&self, kind: Kind, now: u64) -> bool {
        let mut digests = self.digests.lock();
        std::mem::replace(&mut digests[kind as usize], now) != now
    }

    /// As [`Lists::note`], and the viewer is told.
    pub(super) fn tell(&self, kind: Kind, now: u64) {
        if self.note(kind, now) {
            self.due.fetch_or(1 << kind as u8, Ordering::AcqRel);
            self.told.notify_one();
        }
    }
}

impl Seen {
    pub(crate) fn new(gateway: &Gateway, viewer: Viewer) -> Self {
        let snapshot = gateway.snapshot();
        let digests = Kind::ALL.map(|kind| viewer.digest(gateway, &snapshot, kind));
        let lists = Arc::new(Lists {
            viewer,
            digests: Mutex::new(digests),
            due: AtomicU8::new(0),
            told: Notify::new(),
        });
        gateway.watchers.add(&lists);
        Self {
            governed: snapshot.rules.governs(),
            lists,
        }
    }

    /// Whether the viewer is to be told that a list has changed. Without policies and switches every change is
    /// told of; with them, only what differs for this viewer.
    pub(crate) fn differs(&mut self, gateway: &Gateway, kind: Kind) -> bool {
        let snapshot = gateway.snapshot();
        let governed = snapshot.rules.governs();
        let now = self.lists.viewer.digest(gateway, &snapshot, kind);
        let was_governed = std::mem::replace(&mut self.governed, governed);
        self.lists.note(kind, now) || !(governed || was_governed)
    }

    /// As if all lists were seen now.
    pub(crate) fn refresh(&mut self, gateway: &Gateway) {
        for kind in Kind::ALL {
            self.differs(gateway, kind);
        }
    }

    /// Waits for lists that are other ones for the time alone.
    pub(crate) async fn changed_with_time(&self) -> Vec<Kind> {
        loop {
            self.lists.told.notified().await;
            let due = self.lists.due.swap(0, Ordering::AcqRel);
            let is_due = |kind: Kind| due & (1 << kind as u8) != 0;
            let mut kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| is_due(*kind)).collect();
            // Templates have no notification of their own.
            if is_due(Kind::Template) && is_due(Kind::Resource) {
                kinds.retain(|kind| *kind != Kind::Template);
            }
            if !kinds.is_empty() {
                return kinds;
            }
        }
    }
}
