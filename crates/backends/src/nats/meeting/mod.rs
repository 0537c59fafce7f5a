//! How replicas reach one another over core NATS: nothing is kept, and who is away is not waited for.
//!
//! - `frame`: how what is sent looks
//! - `reception`: what arrives, and what is said to it
//! - `pump`: one end of a line: sends, and looks whether the other end is still there
//!
//! A line is kept by both ends alone. Each frame is asked to be taken and is sent again until it was,
//! under its number: so nothing is lost or comes twice while a connection is lost and made again, and
//! a replica that takes nothing more slows down who sends. What is sent is sealed by those who send it;
//! the server sees sizes and names of replicas.

mod frame;
mod pump;
mod reception;

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, OnceLock, atomic::AtomicBool},
    time::Duration,
};

use async_nats::{Client, Request, client::RequestErrorKind};
use bytes::Bytes;
use mcp_ultra_domain::ports::{Guests, LONGEST_GREETING, Line, NotMet, WAITING_MESSAGES};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use self::frame::{Frame, Kind, Said};

/// How long a replica may take to say that it has taken something.
const ANSWER: Duration = Duration::from_secs(2);
/// How long a replica may be without a connection of its own before it counts as gone.
const AWAY: Duration = Duration::from_secs(3);
/// How long it may say nothing, or this one be without a connection, before a line ends.
const SILENT: Duration = Duration::from_secs(10);
/// The same before anything was said. A client waits for it, whose answer is to have a status still.
const SILENT_AT_FIRST: Duration = Duration::from_secs(5);
/// How long this one may be without a connection before whoever is to be met for the first time counts
/// as not to be reached. One that was lost just now is often back by then.
const APART: Duration = Duration::from_secs(1);
/// How long after a connection was lost and is back others may still be without theirs: the longest pause
/// between two tries, and one try.
const OTHERS_BACK: Duration = Duration::from_secs(10);
/// The pause before something is tried again.
const AGAIN: Duration = Duration::from_millis(100);
/// How long the others may take to say that they are looked for.
const FOUND: Duration = Duration::from_millis(500);
/// How many lines a replica has at most.
const LINES: usize = 8192;
/// The largest message of a line, in bytes.
const LARGEST: usize = 64 << 20;
/// The largest part of a message that is sent at once; less where the server takes less.
const PART: usize = 512 * 1024;

/// What this replica has to do with others.
pub(super) struct Meeting {
    replica: String,
    prefix: String,
    random: fn() -> u64,
    link: watch::Sender<Connection>,
    /// There was a connection before.
    was_there: AtomicBool,
    guests: OnceLock<Arc<dyn Guests>>,
    lines: Mutex<HashMap<String, Incoming>>,
}

/// The connection to the server.
enum Connection {
    There {
        client: Client,
        /// Since when there is one again, where one was lost before.
        again: Option<Instant>,
    },
    /// There is none, since then.
    Away(Instant),
}

/// How long something is tried for.
struct Patience {
    /// While nothing is said to it.
    silent: Duration,
    /// While this one has had no connection for so long.
    apart: Duration,
}

/// Before anything was said.
const AT_FIRST: Patience = Patience {
    silent: SILENT_AT_FIRST,
    apart: APART,
};
/// On a line that is open.
const LATER: Patience = Patience {
    silent: SILENT,
    apart: SILENT,
};

/// What has arrived on a line.
struct Incoming {
    /// The number of the frame that comes next.
    next: u64,
    /// The beginning of a message.
    part: Vec<u8>,
    /// `None` once the other end sends nothing more.
    into: Option<mpsc::Sender<Vec<u8>>>,
}

impl Meeting {
    pub(super) fn new(replica: &str, prefix: &str, random: fn() -> u64) -> Self {
        Self {
            replica: replica.to_owned(),
            prefix: prefix.to_owned(),
            random,
            link: watch::Sender::new(Connection::Away(Instant::now())),
            was_there: AtomicBool::new(false),
            guests: OnceLock::new(),
            lines: Mutex::default(),
        }
    }

    pub(super) fn replica(&self) -> &str {
        &self.replica
    }

    pub(super) fn welcome(&self, guests: Arc<dyn Guests>) {
        drop(self.guests.set(guests));
    }

    pub(super) async fn open(
        self: &Arc<Self>,
        replica: &str,
        greeting: Vec<u8>,
    ) -> Result<Line, NotMet> {
        if greeting.len() > LONGEST_GREETING {
            return Err(NotMet::TooLong);
        }
        if !is_name(replica) {
            return Err(NotMet::Gone);
        }
        let id = format!("{:016x}{:016x}", (self.random)(), (self.random)());
        // Before it is known there: the first message may come before the answer.
        let Some((line, outgoing)) = self.line(&id) else {
            return Err(NotMet::Refused);
        };
        let frame = Frame::from(Kind::Open, &id, &self.replica, &greeting);
        if let Err(not_met) = self.deliver(replica, &frame, &AT_FIRST).await {
            self.lines.lock().remove(&id);
            return Err(not_met);
        }
        tokio::spawn(pump::run(self.clone(), id, replica.to_owned(), outgoing));
        Ok(line)
    }

    /// A new end of the line `id`; `None` where it is known or there are too many.
    fn line(&self, id: &str) -> Option<(Line, mpsc::Receiver<Vec<u8>>)> {
        let (into, receiver) = mpsc::channel(WAITING_MESSAGES);
        let (sender, outgoing) = mpsc::channel(WAITING_MESSAGES);
        let mut lines = self.lines.lock();
        if lines.len() >= LINES {
            return None;
        }
        let Entry::Vacant(free) = lines.entry(id.to_owned()) else {
            return None;
        };
        free.insert(Incoming {
            next: 0,
            part: Vec::new(),
            into: Some(into),
        });
        let line = Line {
            id: id.to_owned(),
            sender,
            receiver,
        };
        Some((line, outgoing))
    }

    /// Has a replica take a frame, again and again as long as that makes sense.
    async fn deliver(&self, to: &str, frame: &Bytes, patience: &Patience) -> Result<(), NotMet> {
        let begun = Instant::now();
        let mut pause = AGAIN / 4;
        loop {
            let (limit, why) = match self.ask(to, frame.clone()).await {
                Ok(Said::Taken) => return Ok(()),
                Ok(Said::Refused) => return Err(NotMet::Refused),
                Ok(Said::Unknown) => return Err(NotMet::Gone),
                // Whoever takes it is there, and slow.
                Ok(Said::Full) => (Duration::MAX, NotMet::Refused),
                // It has lost its connection too, perhaps, and its next try is still to come.
                Err(Silence::Nobody) if self.is_just_back() => {
                    (patience.silent, NotMet::Unreachable)
                }
                Err(Silence::Nobody) => (AWAY, NotMet::Gone),
                Err(Silence::Apart(time)) if time >= patience.apart => {
                    return Err(NotMet::Unreachable);
                }
                Err(Silence::Apart(_) | Silence::Nothing) => (patience.silent, NotMet::Unreachable),
            };
            if begun.elapsed() >= limit {
                return Err(why);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AGAIN * 2);
        }
    }

    async fn ask(&self, to: &str, frame: Bytes) -> Result<Said, Silence> {
        let client = match &*self.link.borrow() {
            Connection::There { client, .. } => client.clone(),
            Connection::Away(since) => return Err(Silence::Apart(since.elapsed())),
        };
        let request = Request::new().payload(frame).timeout(Some(ANSWER));
        match client.send_request(self.subject(to), request).await {
            Ok(answer) => Said::of(&answer.payload).ok_or(Silence::Nothing),
            Err(error) if error.kind() == RequestErrorKind::NoResponders => Err(Silence::Nobody),
            Err(error) => {
                tracing::debug!(%error, "another gateway could not be asked");
                Err(Silence::Nothing)
            }
        }
    }

    pub(super) async fn find(&self, question: &[u8]) -> Option<String> {
        let client = self.client()?;
        let frame = Frame::from(Kind::Question, "", &self.replica, question);
        let request = Request::new().payload(frame).timeout(Some(FOUND));
        let answer = client.send_request(self.subject(ALL), request).await.ok()?;
        let name = String::from_utf8(answer.payload.to_vec()).ok()?;
        is_name(&name).then_some(name)
    }

    pub(super) fn tell(&self, news: &[u8]) {
        let (Some(client), true) = (self.client(), news.len() <= LONGEST_GREETING) else {
            return;
        };
        let frame = Frame::from(Kind::News, "", &self.replica, news);
        let subject = self.subject(ALL);
        tokio::spawn(async move {
            if let Err(error) = client.publish(subject, frame).await {
                tracing::debug!(%error, "other gateways could not be told");
            }
        });
    }

    /// The most that one frame carries.
    fn part(&self) -> usize {
        let client = self.client();
        let most = client.map(|client| client.server_info().max_payload);
        most.map_or(PART, |most| {
            most.saturating_sub(frame::HEAD).clamp(1024, PART)
        })
    }

    fn client(&self) -> Option<Client> {
        match &*self.link.borrow() {
            Connection::There { client, .. } => Some(client.clone()),
            Connection::Away(_) => None,
        }
    }

    /// Whether the connection was lost, and is back for so short a time that others may not be.
    fn is_just_back(&self) -> bool {
        match &*self.link.borrow() {
            Connection::There { again, .. } => {
                again.is_some_and(|again| again.elapsed() < OTHERS_BACK)
            }
            Connection::Away(_) => false,
        }
    }

    fn subject(&self, replica: &str) -> String {
        format!("{}.replica.{replica}", self.prefix)
    }
}

/// In the place of a name: all replicas.
const ALL: &str = "all";

/// Why nobody has said anything.
enum Silence {
    /// There is nobody who could.
    Nobody,
    /// Nothing came, or nothing could be sent.
    Nothing,
    /// There has been no connection for so long.
    Apart(Duration),
}

/// Whether that may be a part of a subject: it may come from a client.
fn is_name(replica: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !replica.is_empty() && replica.len() <= 64 && replica != ALL && replica.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_subject_of_its_own() {
        assert!(is_name("0123456789abcdef0123456789abcdef") && is_name("a_1"));
        for bad in ["", "all", "a.b", "*", ">", "a b", "é", &"a".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
