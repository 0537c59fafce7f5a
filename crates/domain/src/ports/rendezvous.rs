use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::mpsc;

/// How many messages may wait in each direction of a line for who is to take them.
pub const WAITING_MESSAGES: usize = 16;
/// The longest greeting, question or piece of news, in bytes. What is longer goes over a line.
pub const LONGEST_GREETING: usize = 64 * 1024;

/// How replicas reach one another.
///
/// What is here is for one moment: nothing is kept for a replica that is away. What others must
/// come to know is for [`Announcements`](super::Announcements).
#[async_trait]
pub trait Rendezvous: Send + Sync {
    /// The name that others reach this replica by: letters and digits, another one with each
    /// process.
    fn replica(&self) -> &str;

    /// Says who takes what others bring. What comes before is refused; the first who is named stays.
    fn welcome(&self, guests: Arc<dyn Guests>);

    /// Opens a line to another replica, which is greeted with `greeting`.
    ///
    /// # Errors
    /// [`NotMet`]. Nobody was greeted then, or it is not known.
    async fn open(&self, replica: &str, greeting: Vec<u8>) -> Result<Line, NotMet>;

    /// The first of the other replicas that says yes to `question`; `None` where none does within
    /// a moment.
    async fn find(&self, question: Vec<u8>) -> Option<String>;

    /// Tells all other replicas that can be reached, once at most. Never waits.
    fn tell(&self, news: Vec<u8>);
}

/// Takes what other replicas bring. Nothing here may wait.
pub trait Guests: Send + Sync {
    /// A replica has opened a line. Whoever has no use for it drops it.
    fn visited(&self, greeting: &[u8], line: Line);

    /// Whether this is the replica that is looked for.
    fn is_asked_for(&self, question: &[u8]) -> bool;

    /// A replica has something to tell.
    fn told(&self, news: &[u8]);
}

/// An open line between two replicas: what one sends, the other receives, in order and once each.
///
/// Dropping `sender` tells the other end that nothing more will come, and dropping both ends the
/// line. Its end says nothing of why: where that matters, what is sent has to say what is the last.
#[derive(Debug)]
pub struct Line {
    /// The same at both ends, and no other's.
    pub id: String,
    /// Waits while the other end does not take what was sent. It is closed once the other end is
    /// gone.
    pub sender: mpsc::Sender<Vec<u8>>,
    /// `None` once the other end has dropped its sender, or is gone.
    pub receiver: mpsc::Receiver<Vec<u8>>,
}

/// A replica could not be met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotMet {
    /// There is no such replica, or it is not there any more.
    #[error("the replica is gone")]
    Gone,
    /// It can't be reached at the moment.
    #[error("the replica can't be reached")]
    Unreachable,
    /// It has too many lines already, or has nobody who takes them.
    #[error("the replica takes no more lines")]
    Refused,
    /// The greeting is longer than [`LONGEST_GREETING`].
    #[error("the greeting is too long")]
    TooLong,
}

/// Where the replicas of a single process meet: one, but in tests.
#[derive(Default)]
pub struct MemoryVenue {
    all: Arc<Mutex<HashMap<String, Weak<Own>>>>,
    made: AtomicU64,
}

/// One of them.
pub struct MemoryRendezvous {
    all: Arc<Mutex<HashMap<String, Weak<Own>>>>,
    own: Arc<Own>,
}

struct Own {
    name: String,
    guests: OnceLock<Arc<dyn Guests>>,
    lines: AtomicU64,
}

impl MemoryVenue {
    /// One replica more.
    pub fn replica(&self) -> MemoryRendezvous {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let own = Arc::new(Own {
            name: format!("{number:032x}"),
            guests: OnceLock::new(),
            lines: AtomicU64::new(0),
        });
        let mut all = self.all.lock();
        all.insert(own.name.clone(), Arc::downgrade(&own));
        MemoryRendezvous {
            all: self.all.clone(),
            own,
        }
    }
}

impl MemoryRendezvous {
    fn others(&self) -> Vec<Arc<Own>> {
        let mut all = self.all.lock();
        all.retain(|_, one| one.strong_count() > 0);
        let others = all.values().filter_map(Weak::upgrade);
        others.filter(|one| !Arc::ptr_eq(one, &self.own)).collect()
    }
}

#[async_trait]
impl Rendezvous for MemoryRendezvous {
    fn replica(&self) -> &str {
        &self.own.name
    }

    fn welcome(&self, guests: Arc<dyn Guests>) {
        drop(self.own.guests.set(guests));
    }

    async fn open(&self, replica: &str, greeting: Vec<u8>) -> Result<Line, NotMet> {
        if greeting.len() > LONGEST_GREETING {
            return Err(NotMet::TooLong);
        }
        let found = self.all.lock().get(replica).and_then(Weak::upgrade);
        let other = found.ok_or(NotMet::Gone)?;
        let guests = other.guests.get().ok_or(NotMet::Refused)?;
        let number = self.own.lines.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}{number:x}", self.own.name);
        let (sender, there) = mpsc::channel(WAITING_MESSAGES);
        let (answers, receiver) = mpsc::channel(WAITING_MESSAGES);
        let line = Line {
            id: id.clone(),
            sender: answers,
            receiver: there,
        };
        guests.visited(&greeting, line);
        Ok(Line {
            id,
            sender,
            receiver,
        })
    }

    async fn find(&self, question: Vec<u8>) -> Option<String> {
        let others = self.others();
        let asked = others.iter().find(|other| {
            let guests = other.guests.get();
            guests.is_some_and(|guests| guests.is_asked_for(&question))
        });
        asked.map(|other| other.name.clone())
    }

    fn tell(&self, news: Vec<u8>) {
        if news.len() > LONGEST_GREETING {
            return;
        }
        for other in self.others() {
            if let Some(guests) = other.guests.get() {
                guests.told(&news);
            }
        }
    }
}
