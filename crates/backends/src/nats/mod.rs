//! What replicas tell each other, over NATS ([`Nats`]): a `JetStream` stream that keeps announcements for
//! minutes, so that a replica whose connection was lost hears what it has missed; and lines between two of them, of
//! which nothing is kept.
//!
//! - `connect`: where to, as whom, and that it is encrypted to the right one
//! - `link`: one connection after the other, for as long as the gateway runs
//! - `stream`: the stream, made where it is missing
//! - `outbox`: what is to be told, in order and until it is acknowledged
//! - `inbox`: what is heard: where in the stream, and what of it is new
//! - `wire`: how an announcement looks on the way
//! - `meeting`: lines between two replicas, and what all are asked and told at this moment
//!
//! What does not live here: what is done about an announcement.

mod connect;
mod inbox;
mod link;
mod meeting;
mod outbox;
mod stream;
mod wire;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use mcp_ultra_config::NatsSettings;
use mcp_ultra_domain::{
    Announcement,
    ports::{
        AnnouncementState, AnnouncementTally, Announcements, Guests, Hear, Heard, Line, NotMet,
        Rendezvous,
    },
};
use parking_lot::{Mutex, RwLock};
use tokio::{sync::mpsc, task::JoinHandle};

pub use connect::NatsError;

use self::{inbox::Inbox, link::Link, meeting::Meeting, outbox::Outbox};

/// How many announcements wait to be told; beyond, others are told to look at everything instead.
const WAITING: usize = 1024;
/// How long is waited at the end for what has not been told yet.
const FAREWELL: Duration = Duration::from_secs(2);

/// The replicas that use the same stream.
pub struct Nats {
    shared: Arc<Shared>,
    meeting: Arc<Meeting>,
    waiting: Mutex<Option<mpsc::Sender<Announcement>>>,
    linking: Mutex<Option<JoinHandle<()>>>,
    /// For the next connection.
    settings: Arc<Mutex<NatsSettings>>,
}

/// What a connection and those who use it have in common.
struct Shared {
    subscribers: RwLock<Vec<Hear>>,
    tally: AnnouncementTally,
    connected: AtomicBool,
    /// Some announcements could not be told, and others have to look at everything.
    overflown: AtomicBool,
}

impl Shared {
    fn tell(&self, heard: &Heard) {
        match heard {
            Heard::Announced(announcement) => self.tally.heard(announcement),
            Heard::Missed => self.tally.missed(),
        }
        for hear in self.subscribers.read().iter() {
            hear(heard.clone());
        }
    }
}

impl Nats {
    /// Connects in the background, again and again until [`close`](Self::close): a server that is
    /// not there is no error. `replica` is this process among all that ever use the stream, in
    /// letters and digits; `random` gives numbers that are uniform over all of `u64`, for the pauses
    /// between attempts and the names of lines. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`NatsError`]: a file of `tls` can't be read.
    pub fn start(
        settings: &NatsSettings,
        replica: &str,
        random: fn() -> u64,
    ) -> Result<Self, NatsError> {
        connect::check_files(&settings.tls)?;
        let shared = Arc::new(Shared {
            subscribers: RwLock::default(),
            tally: AnnouncementTally::default(),
            connected: AtomicBool::new(false),
            overflown: AtomicBool::new(false),
        });
        let (waiting, queue) = mpsc::channel(WAITING);
        let meeting = Arc::new(Meeting::new(replica, &settings.prefix, random));
        let settings = Arc::new(Mutex::new(settings.clone()));
        let link = Link {
            settings: settings.clone(),
            outbox: Outbox::new(replica, queue, shared.clone()),
            inbox: Inbox::new(replica, shared.clone()),
            shared: shared.clone(),
            meeting: meeting.clone(),
            random,
        };
        Ok(Self {
            shared,
            meeting,
            waiting: Mutex::new(Some(waiting)),
            linking: Mutex::new(Some(tokio::spawn(link.run()))),
            settings,
        })
    }

    /// The next connection is made with the password and the key of `settings`, and the one that is there
    /// goes on. Nothing else of `settings` may differ from what was connected to.
    pub fn renew(&self, settings: &NatsSettings) {
        *self.settings.lock() = settings.clone();
    }

    /// Tells what is still to be told, if that can be done within two seconds, and disconnects. Whether
    /// all was told.
    pub async fn close(&self) -> bool {
        drop(self.waiting.lock().take());
        let linking = self.linking.lock().take();
        let Some(mut linking) = linking else {
            return true;
        };
        let is_told = tokio::time::timeout(FAREWELL, &mut linking).await.is_ok();
        if !is_told {
            linking.abort();
        }
        self.shared.connected.store(false, Ordering::Relaxed);
        is_told
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        if let Some(linking) = self.linking.get_mut() {
            linking.abort();
        }
    }
}

impl Announcements for Nats {
    fn announce(&self, announcement: Announcement) {
        let waiting = self.waiting.lock();
        let sent = waiting.as_ref().map(|queue| queue.try_send(announcement));
        if let Some(Err(refused)) = sent {
            self.shared.tally.dropped(&refused.into_inner());
            self.shared.overflown.store(true, Ordering::Release);
        }
    }

    fn hear(&self, hear: Hear) {
        self.shared.subscribers.write().push(hear.clone());
        // What was heard before it was here is lost to it.
        if self.shared.connected.load(Ordering::Acquire) {
            hear(Heard::Missed);
        }
    }

    fn state(&self) -> Option<AnnouncementState> {
        let connected = self.shared.connected.load(Ordering::Relaxed);
        Some(self.shared.tally.state(connected))
    }
}

#[async_trait]
impl Rendezvous for Nats {
    fn replica(&self) -> &str {
        self.meeting.replica()
    }

    fn welcome(&self, guests: Arc<dyn Guests>) {
        self.meeting.welcome(guests);
    }

    async fn open(&self, replica: &str, greeting: Vec<u8>) -> Result<Line, NotMet> {
        self.meeting.open(replica, greeting).await
    }

    async fn find(&self, question: Vec<u8>) -> Option<String> {
        self.meeting.find(&question).await
    }

    fn tell(&self, news: Vec<u8>) {
        self.meeting.tell(&news);
    }
}
