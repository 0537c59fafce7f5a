//! What is heard: from where in the stream on, and what of it is new.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_nats::jetstream::{
    consumer::{AckPolicy, DeliverPolicy, pull},
    stream::{Info, Stream},
};
use futures_util::StreamExt as _;
use mcp_ultra_domain::ports::Heard;

use super::{
    Shared,
    wire::{self, Told, Unread},
};

/// How long the server keeps what it knows of a connection that was lost.
const FORGOTTEN: Duration = Duration::from_secs(30);
/// For how long messages are asked for at once.
const ASKED: Duration = Duration::from_secs(30);
/// How often the server says in that time that it is still there; silence for twice as long ends it.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How many messages are asked for at once.
const BATCH: usize = 256;
/// Of how many replicas it is remembered what they said last.
const SENDERS: usize = 1024;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What was heard so far.
pub(super) struct Inbox {
    replica: String,
    place: Option<Place>,
    numbers: Numbers,
    shared: Arc<Shared>,
}

/// Where in which stream.
struct Place {
    /// When the stream was made: another one of the same name begins anew.
    stream: String,
    /// The position of what comes next.
    next: u64,
}

impl Inbox {
    pub(super) fn new(replica: &str, shared: Arc<Shared>) -> Self {
        Self {
            replica: replica.to_owned(),
            place: None,
            numbers: Numbers::default(),
            shared,
        }
    }

    /// Hears what is in the stream since last time, and what comes, until the connection fails.
    /// Whoever listens is told first that something may have been missed: the connection was lost,
    /// or there was none.
    pub(super) async fn run(&mut self, stream: &Stream<Info>) -> Result<(), Failure> {
        let info = stream.cached_info();
        let created = info.created.to_string();
        let end = info.state.last_sequence.saturating_add(1);
        let next = match &self.place {
            Some(place) if place.stream == created && place.next <= end => place.next,
            _ => end,
        };
        self.place = Some(Place {
            stream: created,
            next,
        });
        let consumer = stream.create_consumer(pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: next,
            },
            ack_policy: AckPolicy::None,
            inactive_threshold: FORGOTTEN,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        });
        let consumer = consumer.await?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(BATCH)
            .expires(ASKED)
            .heartbeat(HEARTBEAT);
        let mut messages = messages.messages().await?;
        self.shared.connected.store(true, Ordering::Release);
        self.shared.tell(&Heard::Missed);
        while let Some(message) = messages.next().await {
            let message = message?;
            let position = message.info()?.stream_sequence;
            self.hear(position, &message.payload);
        }
        Err("the server has ended the messages".into())
    }

    fn hear(&mut self, position: u64, bytes: &[u8]) {
        let Some(place) = &mut self.place else { return };
        if position < place.next {
            return;
        }
        let is_gap = position > place.next;
        place.next = position.saturating_add(1);
        if is_gap {
            // The stream has forgotten what was in between.
            self.shared.tell(&Heard::Missed);
        }
        match wire::decode(bytes) {
            Ok(message) if message.from == self.replica => {}
            Ok(message) => {
                if self.numbers.is_new(&message.from, message.number)
                    && let Some(told) = message.told
                {
                    self.shared.tell(&match told {
                        Told::Announced(announcement) => Heard::Announced(announcement),
                        Told::Everything => Heard::Missed,
                    });
                }
            }
            Err(Unread::Later) => self.shared.tell(&Heard::Missed),
            Err(Unread::Nonsense) => {
                tracing::warn!(
                    position,
                    "what is in the stream of announcements is none; only gateways should be allowed to publish there"
                );
            }
        }
    }
}

/// What replicas said last, so that nothing is heard twice. The stream knows messages for a while
/// only, and a replica may have been without a connection for longer.
#[derive(Default)]
struct Numbers {
    last: HashMap<String, u64>,
    /// In the order in which they were first heard.
    senders: VecDeque<String>,
}

impl Numbers {
    fn is_new(&mut self, sender: &str, number: u64) -> bool {
        if let Some(last) = self.last.get_mut(sender) {
            let is_new = number > *last;
            *last = number.max(*last);
            return is_new;
        }
        if self.senders.len() >= SENDERS
            && let Some(oldest) = self.senders.pop_front()
        {
            self.last.remove(&oldest);
        }
        self.senders.push_back(sender.to_owned());
        self.last.insert(sender.to_owned(), number);
        true
    }
}

#[cfg(test)]
mod tests {
    use mcp_ultra_domain::{
        Announcement,
        ports::{AnnouncementTally, Hear},
    };
    use parking_lot::{Mutex, RwLock};

    use super::*;

    fn inbox() -> (Inbox, Arc<Mutex<Vec<Heard>>>) {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let into = heard.clone();
        let hear: Hear = Arc::new(move |what| into.lock().push(what));
        let shared = Arc::new(Shared {
            subscribers: RwLock::new(vec![hear]),
            tally: AnnouncementTally::default(),
            connected: false.into(),
            overflown: false.into(),
        });
        let mut inbox = Inbox::new("me", shared);
        inbox.place = Some(Place {
            stream: "now".into(),
            next: 5,
        });
        (inbox, heard)
    }

    fn key(id: u64) -> Announcement {
        Announcement::KeyChanged { id: id.to_string() }
    }

    fn message(from: &str, number: u64) -> Vec<u8> {
        wire::encode(from, number, &Told::Announced(key(number)))
    }

    #[test]
    fn each_is_heard_once_and_ones_own_never() {
        let (mut inbox, heard) = inbox();
        for (position, from, number) in [
            (4, "a", 1), // before
            (5, "a", 2),
            (5, "a", 2), // delivered again
            (6, "me", 3),
            (7, "a", 2), // in the stream twice
            (8, "a", 3),
            (9, "b", 4),
        ] {
            inbox.hear(position, &message(from, number));
        }
        let expected = [2, 3, 4].map(|number| Heard::Announced(key(number)));
        assert_eq!(*heard.lock(), expected);
    }

    #[test]
    fn a_gap_and_what_can_not_be_understood_is_a_reason_to_look_at_everything() {
        let (mut inbox, heard) = inbox();
        inbox.hear(5, &message("a", 1));
        inbox.hear(7, &message("a", 3));
        inbox.hear(8, br#"{"v":2}"#);
        inbox.hear(9, b"nonsense");
        inbox.hear(10, &wire::encode("a", 4, &Told::Everything));
        inbox.hear(11, br#"{"v":1,"from":"a","n":5,"kind":"of_tomorrow"}"#);
        let told = heard.lock().clone();
        assert_eq!(
            told,
            [
                Heard::Announced(key(1)),
                Heard::Missed,
                Heard::Announced(key(3)),
                Heard::Missed,
                Heard::Missed,
            ]
        );
    }

    #[test]
    fn what_is_remembered_of_senders_is_bounded() {
        let mut numbers = Numbers::default();
        for sender in 0..SENDERS + 10 {
            assert!(numbers.is_new(&sender.to_string(), 1));
        }
        assert_eq!(
            (numbers.last.len(), numbers.senders.len()),
            (SENDERS, SENDERS)
        );
        assert!(!numbers.is_new(&SENDERS.to_string(), 1));
    }
}
