use std::{sync::Arc, time::Duration};

use bytestring::ByteString;
use mcp_ultra_domain::ports::SessionsUnknown;
use mcp_ultra_protocol::Notification;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Place, Sharing, Stray};
use crate::{
    listen::UPDATED,
    upstream::{Ending, Named},
};

/// How often the others are told that a session is in use here.
const RENEW: Duration = Duration::from_secs(30);
/// For how long it is believed that no other replica has a call in a session.
const ALONE: Duration = Duration::from_secs(1);

/// The place of a session among those that replicas share.
pub(in crate::upstream) struct Ticket {
    sharing: Arc<Sharing>,
    place: Place,
    /// What is kept there of it.
    sealed: Vec<u8>,
    told: Mutex<Told>,
    /// When no other replica had a call in it.
    alone: Mutex<Option<Instant>>,
}

/// What the others were told of a session.
#[derive(Clone, Copy)]
struct Told {
    /// They may know it.
    known: bool,
    /// When; `None` where they have to be told.
    at: Option<Instant>,
}

/// What became of it to say that a session is in use.
pub(super) enum Renewed {
    /// It is the one that the others use.
    Kept { listens: bool },
    /// They use another one.
    Another,
}

impl Ticket {
    pub(super) fn new(sharing: &Arc<Sharing>, place: &Place, sealed: Vec<u8>, known: bool) -> Self {
        Self {
            sharing: sharing.clone(),
            place: place.clone(),
            sealed,
            told: Mutex::new(Told {
                known,
                at: known.then(Instant::now),
            }),
            alone: Mutex::default(),
        }
    }

    /// Brings a message to the replica that has its call; `false` where none has, as far as is known.
    pub(in crate::upstream) async fn bring(&self, named: Named, text: &ByteString) -> bool {
        let Some(replicas) = &self.sharing.replicas else {
            return false;
        };
        let is_alone = self.alone.lock().is_some_and(|at| at.elapsed() < ALONE);
        if is_alone && named == Named::Sole {
            return false;
        }
        let stray = Stray {
            server: self.place.server.to_string(),
            session: self.place.name.clone(),
            named,
        };
        let brought = replicas.bring_stray(stray, text).await;
        *self.alone.lock() = (!brought).then(Instant::now);
        brought
    }

    /// Tells the other replicas what the server says of a modern principal's resources: streams of them
    /// may be open there. What a client session is told finds its stream by itself.
    pub(in crate::upstream) fn tell(&self, notification: &Notification) {
        if let Some(replicas) = &self.sharing.replicas
            && self.place.of_caller
            && notification.method == UPDATED
        {
            let place = &self.place;
            replicas.updated(&place.server, &place.name, &notification.text);
        }
    }

    /// What replicas know the session under.
    pub(super) fn name(&self) -> &str {
        &self.place.name
    }

    /// Whether others may speak in the session.
    pub(in crate::upstream) fn is_known(&self) -> bool {
        self.told.lock().known
    }

    /// Gives it up; `true` where the session is this replica's to end.
    pub(in crate::upstream) async fn give_up(&self, ending: Ending) -> bool {
        if !self.is_known() {
            return true;
        }
        let (store, name) = (&self.sharing.store, &*self.place.name);
        match ending {
            // Where nobody can be asked, it is ended once too often rather than not at all.
            Ending::Over => store.end(name, &self.sealed).await.unwrap_or(true),
            Ending::Unneeded => {
                let left = store.leave(name, &self.sealed, false).await;
                left.unwrap_or(false)
            }
            Ending::Handed => {
                // It is for the others, also where they can't be told.
                let _ = store.leave(name, &self.sealed, true).await;
                false
            }
        }
    }

    /// Tells the others that the server has forgotten the session.
    pub(super) async fn forget(&self) {
        // Where that fails, who finds it there is told the same by the server.
        let _ = self.sharing.store.end(&self.place.name, &self.sealed).await;
    }

    pub(super) fn is_due(&self) -> bool {
        let told = self.told.lock().at;
        told.is_none_or(|at| at.elapsed() >= RENEW)
    }

    pub(super) async fn renew(&self) -> Result<Renewed, SessionsUnknown> {
        let (store, place) = (&self.sharing.store, &self.place);
        let there = store.offer(&place.name, &self.sealed, place.terms).await?;
        if there.value != self.sealed {
            return Ok(Renewed::Another);
        }
        *self.told.lock() = Told {
            known: true,
            at: Some(Instant::now()),
        };
        Ok(Renewed::Kept {
            listens: there.listens,
        })
    }
}
