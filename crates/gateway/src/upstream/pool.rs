use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use mcp_ultra_protocol::Era;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Session, UpstreamError};

/// Whose session with an upstream it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// The gateway's own, for the catalog.
    Catalog,
    /// All callers', where the operator has said so.
    Shared,
    /// One legacy downstream session's.
    Session(Arc<str>),
    /// A modern principal's, for one set of capabilities.
    Caller {
        /// The principal's id.
        principal: Arc<str>,
        /// The text of the capabilities.
        capabilities: bytestring::ByteString,
    },
}

/// The sessions that are open with one upstream.
#[derive(Debug, Default)]
pub(super) struct Pool {
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
}

/// A child process that speaks both eras is spoken to in one of them for as long as it lives.
type Key = (Holder, Option<Era>);

#[derive(Debug)]
struct Slot {
    /// Held while the session is opened, so that one task does it.
    opening: tokio::sync::Mutex<()>,
    session: Mutex<Option<Session>>,
    used: Mutex<Instant>,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            opening: tokio::sync::Mutex::default(),
            session: Mutex::default(),
            used: Mutex::new(Instant::now()),
        }
    }
}

impl Slot {
    fn usable(&self) -> Option<Session> {
        let session = self
            .session
            .lock()
            .clone()
            .filter(|session| !session.is_closed())?;
        *self.used.lock() = Instant::now();
        Some(session)
    }
}

impl Pool {
    /// The session of `holder` in `era` (any, where that is not said), or the one that `open`
    /// opens.
    pub(super) async fn get_or_open<F, Fut>(
        &self,
        holder: &Holder,
        era: Option<Era>,
        open: F,
    ) -> Result<Session, UpstreamError>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Session, UpstreamError>>,
    {
        let slot = self.slot(holder, era);
        if let Some(session) = slot.usable() {
            return Ok(session);
        }
        let _opening = slot.opening.lock().await;
        if let Some(session) = slot.usable() {
            return Ok(session);
        }
        let session = open().await?;
        *slot.session.lock() = Some(session.clone());
        *slot.used.lock() = Instant::now();
        let mut slots = self.slots.lock();
        if era.is_none() {
            slots.remove(&(holder.clone(), None));
        }
        slots.insert((holder.clone(), Some(session.era())), slot.clone());
        Ok(session)
    }

    fn slot(&self, holder: &Holder, era: Option<Era>) -> Arc<Slot> {
        let mut slots = self.slots.lock();
        if era.is_none()
            && let Some((_, slot)) = slots.iter().find(|(key, _)| key.0 == *holder)
        {
            return slot.clone();
        }
        slots.entry((holder.clone(), era)).or_default().clone()
    }

    /// The open session of `holder` in any era.
    pub(super) fn get(&self, holder: &Holder) -> Option<Session> {
        let slots = self.slots.lock();
        slots
            .iter()
            .filter(|(key, _)| key.0 == *holder)
            .find_map(|(_, slot)| slot.usable())
    }

    pub(super) fn take(&self, holder: &Holder) -> Option<Session> {
        let mut slots = self.slots.lock();
        let key = slots.keys().find(|key| key.0 == *holder).cloned()?;
        slots
            .remove(&key)
            .and_then(|slot| slot.session.lock().take())
    }

    /// Takes out the sessions that have been idle for `limit`, and forgets those that ended.
    pub(super) fn take_idle(&self, limit: Duration) -> Vec<Session> {
        let mut idle = Vec::new();
        self.slots.lock().retain(|_, slot| {
            if slot.opening.try_lock().is_err() {
                return true;
            }
            let mut session = slot.session.lock();
            match &*session {
                Some(open) if open.is_closed() => false,
                Some(open) if open.in_flight() == 0 && slot.used.lock().elapsed() >= limit => {
                    idle.extend(session.take());
                    false
                }
                Some(_) => true,
                None => Arc::strong_count(slot) > 1,
            }
        });
        idle
    }

    pub(super) fn take_all(&self) -> Vec<Session> {
        self.slots
            .lock()
            .drain()
            .filter_map(|(_, slot)| slot.session.lock().take())
            .collect()
    }

    pub(super) fn len(&self) -> usize {
        let slots = self.slots.lock();
        slots
            .values()
            .filter(|slot| {
                slot.session
                    .lock()
                    .as_ref()
                    .is_some_and(|session| !session.is_closed())
            })
            .count()
    }
}
