use std::sync::{
    Arc, Weak,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;

use crate::Announcement;

/// What a subscriber is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Another replica has announced this.
    Announced(Announcement),
    /// Something may have been announced that was not heard: look at everything again.
    Missed,
}

/// Is told what is heard. It must not wait, and is called for one thing after the other.
pub type Hear = Arc<dyn Fn(Heard) + Send + Sync>;

/// How replicas tell each other what has changed.
///
/// Every subscriber hears what other replicas announce, each announcement once and those of one
/// replica in their order, and never what its own replica has announced. Where that can't be kept,
/// as when a connection was lost, it is told [`Heard::Missed`] afterwards. So nothing is missed
/// silently, but for as long as a connection is lost: what polls must go on to.
pub trait Announcements: Send + Sync {
    /// Tells all other replicas, as soon as that can be done. Never waits.
    fn announce(&self, announcement: Announcement);

    /// Subscribes for good. What was announced before is not heard, so a subscriber that holds
    /// something already may be told [`Heard::Missed`] first.
    fn hear(&self, hear: Hear);

    /// How it is doing; `None` where there is nobody else who could be told.
    fn state(&self) -> Option<AnnouncementState>;
}

/// How announcements are doing, for metrics. Counts are since the start of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnnouncementState {
    /// Whether what others announce is heard at the moment.
    pub connected: bool,
    /// How often something may have been missed, and subscribers were told so.
    pub missed: u64,
    /// Of each of [`Announcement::KINDS`], in that order.
    pub kinds: Vec<KindTally>,
}

/// How many announcements of one kind there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindTally {
    /// The kind.
    pub kind: &'static str,
    /// Told to others.
    pub sent: u64,
    /// Heard from others.
    pub heard: u64,
    /// Not told, for too many were waiting; others are told to look at everything instead.
    pub dropped: u64,
}

/// Counts announcements by their kinds.
#[derive(Debug, Default)]
pub struct AnnouncementTally {
    sent: [AtomicU64; Announcement::KINDS.len()],
    heard: [AtomicU64; Announcement::KINDS.len()],
    dropped: [AtomicU64; Announcement::KINDS.len()],
    missed: AtomicU64,
}

impl AnnouncementTally {
    /// One was told to others.
    pub fn sent(&self, announcement: &Announcement) {
        count(&self.sent, announcement);
    }

    /// One was heard.
    pub fn heard(&self, announcement: &Announcement) {
        count(&self.heard, announcement);
    }

    /// One could not be told.
    pub fn dropped(&self, announcement: &Announcement) {
        count(&self.dropped, announcement);
    }

    /// Subscribers were told that they may have missed something.
    pub fn missed(&self) {
        self.missed.fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted.
    pub fn state(&self, connected: bool) -> AnnouncementState {
        let of = |counts: &[AtomicU64], index: usize| {
            let count = counts.get(index);
            count.map_or(0, |count| count.load(Ordering::Relaxed))
        };
        let kinds = Announcement::KINDS.iter().enumerate();
        AnnouncementState {
            connected,
            missed: self.missed.load(Ordering::Relaxed),
            kinds: kinds
                .map(|(index, kind)| KindTally {
                    kind,
                    sent: of(&self.sent, index),
                    heard: of(&self.heard, index),
                    dropped: of(&self.dropped, index),
                })
                .collect(),
        }
    }
}

fn count(counts: &[AtomicU64], announcement: &Announcement) {
    let mut kinds = Announcement::KINDS.iter().zip(counts);
    if let Some((_, count)) = kinds.find(|(kind, _)| **kind == announcement.kind()) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// The replicas of a single process: one, but in tests.
#[derive(Default)]
pub struct MemoryAnnouncements {
    replicas: Arc<Mutex<Vec<Weak<Subscribers>>>>,
}

/// One of them.
pub struct MemoryReplica {
    all: Arc<Mutex<Vec<Weak<Subscribers>>>>,
    own: Arc<Subscribers>,
}

type Subscribers = Mutex<Vec<Hear>>;

impl MemoryAnnouncements {
    /// One replica more.
    pub fn replica(&self) -> MemoryReplica {
        let own = Arc::default();
        self.replicas.lock().push(Arc::downgrade(&own));
        MemoryReplica {
            all: self.replicas.clone(),
            own,
        }
    }
}

impl Announcements for MemoryReplica {
    fn announce(&self, announcement: Announcement) {
        // Held throughout: what one replica announces is heard in its order.
        let mut all = self.all.lock();
        all.retain(|one| one.strong_count() > 0);
        let replicas = all.iter().filter_map(Weak::upgrade);
        for replica in replicas.filter(|one| !Arc::ptr_eq(one, &self.own)) {
            for hear in replica.lock().iter() {
                hear(Heard::Announced(announcement.clone()));
            }
        }
    }

    fn hear(&self, hear: Hear) {
        self.own.lock().push(hear);
    }

    fn state(&self) -> Option<AnnouncementState> {
        None
    }
}
