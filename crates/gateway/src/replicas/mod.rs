//! What one replica of the gateway does for another: a client's request, answer or cancellation may arrive at
//! any of them, and what it is for is at one ([`domain::ports::Rendezvous`](mcp_ultra_domain::ports::Rendezvous)).
//!
//! - [`parked`]: the retry of a parked call is brought to the replica that holds the call, and all that follows back
//! - [`clients`]: answers, cancellations and notifications of legacy clients
//! - [`push`]: what belongs to no call goes to the server-to-client stream of the session, wherever that is
//! - [`strays`]: what a server says in a session that replicas share goes to the replica that has the call
//! - `guests`: what others bring
//! - `wire`: how it looks, sealed under `session.keys`: the messaging server sees sizes and names of replicas
//!
//! What does not live here: what is told of stores that have changed (`gateway/announced.rs`), and how replicas
//! reach each other (`backends`).

mod clients;
mod guests;
mod parked;
mod push;
mod strays;
mod wire;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytestring::ByteString;
use mcp_ultra_domain::{
    Clock,
    ports::{NotMet, Rendezvous},
};
use mcp_ultra_protocol::seal::Sealer;
use tokio::sync::Semaphore;

use self::wire::{Greeting, Listener, News, Question, Said, Speaker};
use crate::Metrics;

pub(crate) use clients::Taken;
pub(crate) use guests::receive;
pub(crate) use parked::{Brought, bring};
pub(crate) use push::Whereabouts;

/// How many messages of no call look for their stream at once; more are dropped.
const SEARCHES: usize = 256;
/// How long the replica that a message is brought to may take for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The other replicas, where there are any.
pub(crate) struct Replicas {
    bus: Arc<dyn Rendezvous>,
    sealer: Arc<Sealer>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    /// How many calls that are held here are carried on for clients of other replicas.
    carried: AtomicUsize,
    searches: Arc<Semaphore>,
}

/// What one replica wants of another, for the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Errand {
    /// The retry of a parked call.
    Resume,
    /// The answer of a legacy client to a question.
    Answer,
    /// A message for a server-to-client stream.
    Push,
    /// A message of a server for a call.
    Stray,
}

impl Errand {
    pub(crate) const ALL: [Self; 4] = [Self::Resume, Self::Answer, Self::Push, Self::Stray];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Resume => "resume",
            Self::Answer => "answer",
            Self::Push => "push",
            Self::Stray => "stray",
        }
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was done there.
    Done,
    /// What it is for is not there any more.
    NotThere,
    /// The replica is gone, or can't be reached.
    NotMet,
    /// The replica was lost while it was at it.
    Lost,
}

impl Outcome {
    pub(crate) const ALL: [Self; 4] = [Self::Done, Self::NotThere, Self::NotMet, Self::Lost];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotThere => "not_there",
            Self::NotMet => "not_met",
            Self::Lost => "lost",
        }
    }
}

impl std::fmt::Debug for Replicas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replicas").finish_non_exhaustive()
    }
}

impl Replicas {
    pub(crate) fn new(
        bus: Arc<dyn Rendezvous>,
        sealer: Arc<Sealer>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            bus,
            sealer,
            clock,
            metrics,
            carried: AtomicUsize::new(0),
            searches: Arc::new(Semaphore::new(SEARCHES)),
        }
    }

    /// The name of this one.
    pub(crate) fn own(&self) -> &str {
        self.bus.replica()
    }

    /// How many calls that are held here are carried on for clients of other replicas.
    pub(crate) fn carried(&self) -> usize {
        self.carried.load(Ordering::Relaxed)
    }

    /// Opens a line to `replica`.
    async fn open(
        &self,
        replica: &str,
        greeting: &Greeting,
    ) -> Result<(Speaker, Listener), NotMet> {
        let sealed = wire::seal(
            &self.sealer,
            &wire::of_greeting(replica),
            &*self.clock,
            greeting,
        );
        let line = self
            .bus
            .open(replica, sealed.ok_or(NotMet::Refused)?)
            .await?;
        Ok(wire::opened(line, &self.sealer))
    }

    /// Brings `text` to `replica`, and waits for what becomes of it.
    async fn hand(&self, replica: &str, greeting: &Greeting, text: &ByteString) -> Outcome {
        let Ok((mut speaker, mut listener)) = self.open(replica, greeting).await else {
            return Outcome::NotMet;
        };
        let said = async {
            speaker.say(Said::Text(text.clone())).await;
            listener.next().await
        };
        match tokio::time::timeout(PATIENCE, said).await {
            Ok(Some(Said::Done)) => Outcome::Done,
            Ok(Some(_)) => Outcome::NotThere,
            Ok(None) | Err(_) => Outcome::Lost,
        }
    }

    /// The replica that says yes.
    async fn find(&self, question: &Question) -> Option<String> {
        let sealed = wire::seal(&self.sealer, wire::QUESTION, &*self.clock, question)?;
        self.bus.find(sealed).await
    }

    /// Tells all others.
    fn tell(&self, news: &News) {
        if let Some(sealed) = wire::seal(&self.sealer, wire::NEWS, &*self.clock, news) {
            self.bus.tell(sealed);
        }
    }

    fn count(&self, errand: Errand, outcome: Outcome) {
        self.metrics.errand(errand, outcome);
    }
}
