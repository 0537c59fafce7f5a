//! The server-to-client stream of a legacy session that another replica has.

use std::{sync::Arc, time::Duration};

use bytestring::ByteString;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    Errand, Outcome, PATIENCE, Replicas,
    clients::{of, session},
    wire::{self, Greeting, Listener, Question, Said, Speaker},
};
use crate::{Gateway, session::Live};

/// How long it is believed that nobody has the stream.
const NOBODY: Duration = Duration::from_secs(1);
/// How long it is believed that a replica has it, unless it says that it does not.
const SOMEBODY: Duration = Duration::from_secs(10);

/// Where the server-to-client stream of a session was last found.
#[derive(Debug, Default)]
pub(crate) struct Whereabouts(Mutex<Option<(At, Instant)>>);

/// Who has it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum At {
    Nobody,
    Replica(String),
}

impl Whereabouts {
    /// `None` where it has to be looked for.
    fn known(&self) -> Option<At> {
        let known = self.0.lock();
        let (at, since) = known.as_ref()?;
        let good_for = match at {
            At::Nobody => NOBODY,
            At::Replica(_) => SOMEBODY,
        };
        (since.elapsed() < good_for).then(|| at.clone())
    }

    fn note(&self, at: At) {
        *self.0.lock() = Some((at, Instant::now()));
    }

    fn forget(&self) {
        *self.0.lock() = None;
    }
}

impl Replicas {
    /// Sends a message on the server-to-client stream of a session, at whichever replica that is;
    /// `false` where none is open.
    pub(crate) async fn push(&self, live: &Live, text: &ByteString) -> bool {
        if let Some(at) = live.whereabouts.known() {
            match self.push_at(at, live, text).await {
                // It has moved.
                Outcome::NotThere | Outcome::NotMet if live.whereabouts.known().is_none() => {}
                outcome => return outcome == Outcome::Done,
            }
        }
        let found = self.find(&Question::HasStream(of(live))).await;
        let at = found.map_or(At::Nobody, At::Replica);
        live.whereabouts.note(at.clone());
        self.push_at(at, live, text).await == Outcome::Done
    }

    /// Forgets where the stream was, where it is not there.
    async fn push_at(&self, at: At, live: &Live, text: &ByteString) -> Outcome {
        let At::Replica(replica) = at else {
            return Outcome::NotThere;
        };
        let outcome = self.hand(&replica, &Greeting::Push(of(live)), text).await;
        self.count(Errand::Push, outcome);
        // What is lost on the way may have arrived.
        if matches!(outcome, Outcome::NotThere | Outcome::NotMet) {
            live.whereabouts.forget();
        }
        outcome
    }

    /// The same in a task of its own, for what nobody waits for. The order among such messages is not
    /// kept, and where very many look for their streams at once some are dropped.
    pub(crate) fn push_later(self: &Arc<Self>, live: &Arc<Live>, text: ByteString) {
        if live.whereabouts.known() == Some(At::Nobody) {
            return;
        }
        let Ok(place) = self.searches.clone().try_acquire_owned() else {
            tracing::debug!("a message for a server-to-client stream is dropped");
            return;
        };
        let (replicas, live) = (self.clone(), live.clone());
        tokio::spawn(async move {
            replicas.push(&live, &text).await;
            drop(place);
        });
    }
}

/// Takes in a message for a stream that is open here.
pub(super) async fn host(
    gateway: Arc<Gateway>,
    of: wire::Session,
    mut speaker: Speaker,
    mut listener: Listener,
) {
    let said = tokio::time::timeout(PATIENCE, listener.next()).await;
    let Ok(Some(Said::Text(text))) = said else {
        return;
    };
    let is_sent = session(&gateway, &of).and_then(|live| live.push_here(&text));
    let said = if is_sent == Some(true) {
        Said::Done
    } else {
        Said::NotHere
    };
    speaker.say(said).await;
}
