//! How what replicas send each other looks. Everything is sealed, and opens for what it is and whom it is for
//! alone: a greeting for one replica, a message at its place of one line.

use std::{sync::Arc, time::Duration};

use bytestring::ByteString;
use mcp_ultra_domain::{Clock, ports::Line};
use mcp_ultra_protocol::seal::{Purpose, Sealer};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::mpsc;
use zeroize::{Zeroize as _, Zeroizing};

use crate::{reply::Answer, upstream::Stray};

/// How old what is heard may be: nobody can keep it and send it again later. Clocks may differ by as much.
const FRESH: Duration = Duration::from_mins(1);
/// How long the other end may not take a message.
const STALLED: Duration = Duration::from_mins(2);

/// What questions to all are sealed for.
pub(super) const QUESTION: &str = "question";
/// What news for all is sealed for.
pub(super) const NEWS: &str = "news";

/// What a greeting to `replica` is sealed for.
pub(super) fn of_greeting(replica: &str) -> String {
    format!("greeting\0{replica}")
}

/// What a line is opened for.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Greeting {
    /// The caller of a parked call has come back. Its `inputResponses` follow.
    Resume(Resume),
    /// A legacy client has answered a question. The answer follows.
    Answer(Session),
    /// A message for the server-to-client stream of a session. It follows.
    Push(Session),
    /// A message of a server for a call. It follows.
    Stray(Stray),
}

/// A caller that has come back. Not to be shown: it may have a token.
#[derive(Serialize, Deserialize)]
pub(super) struct Resume {
    /// The place of the call.
    pub call: String,
    /// Who has come back.
    pub principal: String,
    /// The text of the id of the request.
    pub id: String,
    /// Whether the client takes anything before the answer.
    pub streams: bool,
    /// What they have shown, where somebody needs it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub token: Option<String>,
}

impl Drop for Resume {
    fn drop(&mut self) {
        self.token.zeroize();
    }
}

/// A session, and whose it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Session {
    pub session: String,
    pub principal: String,
}

/// What all are asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Question {
    /// Who has an open server-to-client stream of the session?
    HasStream(Session),
    /// Who has the call that a message is for?
    HasCall(Stray),
}

/// What all are told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum News {
    /// A client has cancelled a request that is not here.
    Cancelled {
        #[serde(flatten)]
        of: Session,
        /// The text of its id.
        id: String,
    },
    /// A client has told that its roots have changed.
    Roots {
        #[serde(flatten)]
        of: Session,
        /// The whole notification.
        text: String,
    },
    /// A session is not subscribed to a resource any more.
    Unsubscribed {
        #[serde(flatten)]
        of: Session,
        /// The public URI.
        uri: String,
    },
    /// A subscription of a session is served by the replica that has its server-to-client stream.
    Served {
        #[serde(flatten)]
        of: Session,
        /// The public URI.
        uri: String,
    },
    /// A server has told in the session of a caller that one of its lists has changed.
    ListChanged {
        server: String,
        /// The notification that it told by.
        method: String,
    },
    /// A server has told in a session that replicas share that a resource has changed.
    Updated {
        server: String,
        /// The name of the session.
        session: String,
        /// The whole notification.
        text: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Dated<T> {
    /// When it was sealed, in seconds since the Unix epoch.
    at: u64,
    what: T,
}

/// Seals what begins something; `None` where it can't be.
pub(super) fn seal<T: Serialize>(
    sealer: &Sealer,
    holder: &str,
    clock: &dyn Clock,
    what: &T,
) -> Option<Vec<u8>> {
    let at = clock.now().as_secs();
    let content = Zeroizing::new(serde_json::to_vec(&Dated { at, what }).ok()?);
    let sealed = sealer.seal(Purpose::Replica, holder, &content).ok()?;
    Some(sealed.into_bytes())
}

/// Opens what was sealed for `holder` a moment ago.
pub(super) fn open<T: DeserializeOwned>(
    sealer: &Sealer,
    holder: &str,
    clock: &dyn Clock,
    sealed: &[u8],
) -> Option<T> {
    let sealed = std::str::from_utf8(sealed).ok()?;
    let content = sealer.open(Purpose::Replica, holder, sealed).ok()?;
    let Dated { at, what } = serde_json::from_slice(&Zeroizing::new(content)).ok()?;
    let is_fresh = clock.now().as_secs().abs_diff(at) <= FRESH.as_secs();
    is_fresh.then_some(what)
}

/// What is said on a line.
#[derive(Debug)]
pub(super) enum Said {
    /// A text, of which it is clear what it is.
    Text(ByteString),
    /// The answer to the client's request: the last.
    Answer(Answer),
    /// What the line was opened for is done.
    Done,
    /// What the line was opened for is not here.
    NotHere,
}

const TEXT: u8 = b't';
const ANSWER: u8 = b'a';
const DONE: u8 = b'd';
const NOT_HERE: u8 = b'n';

/// The half of a line that is spoken into.
pub(super) struct Speaker {
    line: Place,
    sender: mpsc::Sender<Vec<u8>>,
}

/// The half of a line that is listened to.
pub(super) struct Listener {
    line: Place,
    receiver: mpsc::Receiver<Vec<u8>>,
}

/// Which message of which line comes next, from whom.
struct Place {
    sealer: Arc<Sealer>,
    line: String,
    by: &'static str,
    number: u64,
}

/// The halves of a line that was opened here.
pub(super) fn opened(line: Line, sealer: &Arc<Sealer>) -> (Speaker, Listener) {
    halves(line, sealer, ["guest", "host"])
}

/// The halves of a line that another replica has opened.
pub(super) fn taken(line: Line, sealer: &Arc<Sealer>) -> (Speaker, Listener) {
    halves(line, sealer, ["host", "guest"])
}

fn halves(
    line: Line,
    sealer: &Arc<Sealer>,
    [own, other]: [&'static str; 2],
) -> (Speaker, Listener) {
    let place = |by| Place {
        sealer: sealer.clone(),
        line: line.id.clone(),
        by,
        number: 0,
    };
    let speaker = Speaker {
        line: place(own),
        sender: line.sender,
    };
    let listener = Listener {
        line: place(other),
        receiver: line.receiver,
    };
    (speaker, listener)
}

impl Place {
    fn next(&mut self) -> String {
        let holder = format!("line\0{}\0{}\0{}", self.line, self.by, self.number);
        self.number += 1;
        holder
    }
}

impl Speaker {
    /// Says something, as soon as the other end has room; `false` where it is gone, or does not take
    /// it for too long.
    pub(super) async fn say(&mut self, said: Said) -> bool {
        let holder = self.line.next();
        let content = Zeroizing::new(encode(said));
        let sealed = self.line.sealer.seal(Purpose::Replica, &holder, &content);
        let Ok(sealed) = sealed else { return false };
        let sending = self.sender.send(sealed.into_bytes());
        matches!(tokio::time::timeout(STALLED, sending).await, Ok(Ok(())))
    }
}

impl Listener {
    /// What is said next; `None` once nothing more will be, or it is nothing that was sealed for this
    /// place.
    pub(super) async fn next(&mut self) -> Option<Said> {
        let sealed = self.receiver.recv().await?;
        let holder = self.line.next();
        let sealed = std::str::from_utf8(&sealed).ok()?;
        let content = self.line.sealer.open(Purpose::Replica, &holder, sealed);
        decode(content.ok()?)
    }
}

fn encode(said: Said) -> Vec<u8> {
    match said {
        Said::Text(text) => {
            let mut bytes = Vec::with_capacity(1 + text.len());
            bytes.push(TEXT);
            bytes.extend_from_slice(text.as_bytes());
            bytes
        }
        Said::Answer(answer) => {
            let mut bytes = Vec::with_capacity(11 + answer.text.len());
            bytes.push(ANSWER);
            bytes.extend(answer.status.to_be_bytes());
            // No time is one that never comes.
            bytes.extend(answer.retry_after.unwrap_or(u64::MAX).to_be_bytes());
            bytes.extend_from_slice(answer.text.as_bytes());
            bytes
        }
        Said::Done => vec![DONE],
        Said::NotHere => vec![NOT_HERE],
    }
}

fn decode(bytes: Vec<u8>) -> Option<Said> {
    let bytes = bytes::Bytes::from(bytes);
    let text = |bytes: bytes::Bytes| ByteString::try_from(bytes).ok();
    match *bytes.first()? {
        TEXT => Some(Said::Text(text(bytes.slice(1..))?)),
        ANSWER => {
            let (status, rest) = bytes.get(1..)?.split_first_chunk::<2>()?;
            let (retry_after, _) = rest.split_first_chunk::<8>()?;
            let retry_after = u64::from_be_bytes(*retry_after);
            Some(Said::Answer(Answer {
                retry_after: (retry_after != u64::MAX).then_some(retry_after),
                ..Answer::new(text(bytes.slice(11..))?, u16::from_be_bytes(*status))
            }))
        }
        DONE => Some(Said::Done),
        NOT_HERE => Some(Said::NotHere),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    struct At(AtomicU64);

    impl Clock for At {
        fn now(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::Relaxed))
        }
    }

    fn line() -> (Line, Line) {
        let (sender, there) = mpsc::channel(4);
        let (answers, receiver) = mpsc::channel(4);
        let id = || "line".to_owned();
        (
            Line {
                id: id(),
                sender,
                receiver,
            },
            Line {
                id: id(),
                sender: answers,
                receiver: there,
            },
        )
    }

    #[test]
    fn what_is_sealed_opens_for_whom_and_when_it_is_for() {
        let (sealer, clock) = (Sealer::random().unwrap(), At(1000.into()));
        let question = Question::HasStream(Session {
            session: "s".into(),
            principal: "p".into(),
        });
        let sealed = seal(&sealer, &of_greeting("a"), &clock, &question).unwrap();
        let opens = |holder: &str| open::<Question>(&sealer, holder, &clock, &sealed).is_some();
        assert!(opens(&of_greeting("a")));
        assert!(!opens(&of_greeting("b")) && !opens(QUESTION));
        clock.0.store(1060, Ordering::Relaxed);
        assert!(opens(&of_greeting("a")));
        clock.0.store(1061, Ordering::Relaxed);
        assert!(!opens(&of_greeting("a")), "it is too old");
    }

    #[tokio::test]
    async fn what_is_said_arrives_and_nothing_in_its_place() {
        let sealer = Arc::new(Sealer::random().unwrap());
        let (here, there) = line();
        let (raw, again) = (there.sender.clone(), here.sender.clone());
        let (mut speaker, mut heard) = opened(here, &sealer);
        let (_back, mut listener) = taken(there, &sealer);
        let answer = Answer {
            retry_after: Some(7),
            ..Answer::new("{}".into(), 503)
        };
        assert!(speaker.say(Said::Text("ü".into())).await);
        assert!(speaker.say(Said::Answer(answer)).await);
        assert!(matches!(listener.next().await, Some(Said::Text(text)) if text == "ü"));
        let Some(Said::Answer(answer)) = listener.next().await else {
            panic!("an answer");
        };
        assert_eq!((answer.status, answer.retry_after), (503, Some(7)));
        // What was said at one place is nothing at another, nor from the other side.
        let holder = "line\0line\0guest\x000";
        let old = sealer.seal(Purpose::Replica, holder, &[DONE]).unwrap();
        again.send(old.clone().into_bytes()).await.unwrap();
        assert!(listener.next().await.is_none());
        raw.send(old.into_bytes()).await.unwrap();
        assert!(heard.next().await.is_none());
    }
}
