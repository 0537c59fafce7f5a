use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use mcp_ultra_protocol::Era;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    Behalf, Ending, Session, UpstreamError, http::HttpSession, subscriptions::Subscriptions,
};

/// How long a session that ended by itself is remembered as one.
const FORGET_ENDED: Duration = Duration::from_mins(1);

/// Whose session with an upstream it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// The gateway's own, for the catalog.
    Catalog,
    /// All callers', where the operator has said so.
    Shared,
    /// One legacy downstream session's.
    Session {
        /// The session's id.
        id: Arc<str>,
        /// Of whom the session's principal is one.
        tenant: Arc<str>,
    },
    /// A modern principal's, for one set of capabilities.
    Caller {
        /// The principal's id.
        principal: Arc<str>,
        /// Of whom the principal is one.
        tenant: Arc<str>,
        /// The text of the capabilities.
        capabilities: bytestring::ByteString,
    },
}

impl Holder {
    /// The tenant whose session it is; `None` where it is the gateway's own or all callers'.
    fn tenant(&self) -> Option<&str> {
        match self {
            Self::Catalog | Self::Shared => None,
            Self::Session { tenant, .. } | Self::Caller { tenant, .. } => Some(tenant),
        }
    }
}

/// The sessions that are open with one upstream.
#[derive(Debug)]
pub(super) struct Pool {
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
    /// How many there may be: what a client declares is part of whose session it is, so without a
    /// bound a client could have any number opened.
    limit: usize,
}

/// A child process that speaks both eras is spoken to in one of them for as long as it lives.
type Key = (Holder, Option<Era>);

#[derive(Debug)]
struct Slot {
    /// Held while the session is opened, so that one task does it. Keeps when that failed last:
    /// who has waited meanwhile need not fail again, one after the other.
    opening: tokio::sync::Mutex<Option<(Instant, UpstreamError)>>,
    session: Mutex<Option<Session>>,
    used: Mutex<Instant>,
    subscriptions: Arc<Subscriptions>,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            opening: tokio::sync::Mutex::default(),
            session: Mutex::default(),
            used: Mutex::new(Instant::now()),
            subscriptions: Arc::default(),
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

    /// Takes the session out if it ended without having been asked to.
    fn take_ended(&self) -> Option<Session> {
        self.session.lock().take_if(|session| session.is_closed())
    }

    /// For how long nothing has needed the session; `None` while something does, a subscription for
    /// one.
    fn idle_for(&self) -> Option<Duration> {
        let opening = self.opening.try_lock().is_err();
        let session = self.session.lock();
        let busy = session
            .as_ref()
            .is_some_and(|session| !session.is_closed() && session.is_busy());
        (!opening && !busy && self.subscriptions.is_empty()).then(|| self.used.lock().elapsed())
    }
}

impl Pool {
    /// A pool of at most `limit` sessions.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            slots: Mutex::default(),
            limit,
        }
    }

    /// The session of `holder` in `era` (any, where that is not said), or the one that `open`
    /// opens; it is given the one before, where that has ended by itself.
    pub(super) async fn get_or_open<F, Fut>(
        &self,
        holder: &Holder,
        era: Option<Era>,
        open: F,
    ) -> Result<Session, UpstreamError>
    where
        F: FnOnce(Option<Session>) -> Fut,
        Fut: Future<Output = Result<Session, UpstreamError>>,
    {
        let asked = Instant::now();
        let slot = self.slot(holder, era)?;
        if let Some(session) = slot.usable() {
            return Ok(session);
        }
        let mut failed = slot.opening.lock().await;
        if let Some(session) = slot.usable() {
            return Ok(session);
        }
        if let Some((at, error)) = &*failed
            && *at >= asked
        {
            return Err(error.clone());
        }
        let session = match open(slot.take_ended()).await {
            Ok(session) => session,
            Err(error) => {
                *failed = Some((Instant::now(), error.clone()));
                return Err(error);
            }
        };
        *failed = None;
        *slot.session.lock() = Some(session.clone());
        *slot.used.lock() = Instant::now();
        slot.subscriptions.renew(&session);
        let mut slots = self.slots.lock();
        if era.is_none() {
            slots.remove(&(holder.clone(), None));
        }
        slots.insert((holder.clone(), Some(session.era())), slot.clone());
        Ok(session)
    }

    fn slot(&self, holder: &Holder, era: Option<Era>) -> Result<Arc<Slot>, UpstreamError> {
        let mut slots = self.slots.lock();
        if era.is_none()
            && let Some((_, slot)) = slots.iter().find(|(key, _)| key.0 == *holder)
        {
            return Ok(slot.clone());
        }
        let key = (holder.clone(), era);
        if let Some(slot) = slots.get(&key) {
            return Ok(slot.clone());
        }
        if slots.len() >= self.limit && !evict(&mut slots, holder) {
            return Err(UpstreamError::NoSession(self.limit));
        }
        Ok(slots.entry(key).or_default().clone())
    }

    /// The open session of `holder` in any era.
    pub(super) fn get(&self, holder: &Holder) -> Option<Session> {
        let slots = self.slots.lock();
        slots
            .iter()
            .filter(|(key, _)| key.0 == *holder)
            .find_map(|(_, slot)| slot.usable())
    }

    /// The subscriptions of `holder`, which has a place here from then on.
    pub(super) fn subscriptions(
        &self,
        holder: &Holder,
    ) -> Result<Arc<Subscriptions>, UpstreamError> {
        let slot = self.slot(holder, Some(Era::Legacy))?;
        Ok(slot.subscriptions.clone())
    }

    /// On whose behalf sessions are missing that subscriptions need.
    pub(super) fn missed(&self) -> Vec<Behalf> {
        let slots = self.slots.lock();
        let missing = slots.values().filter(|slot| {
            let session = slot.session.lock();
            session.as_ref().is_none_or(Session::is_closed)
        });
        missing
            .filter_map(|slot| slot.subscriptions.behalf())
            .collect()
    }

    /// The open sessions over HTTP.
    pub(super) fn over_http(&self) -> Vec<Arc<HttpSession>> {
        let slots = self.slots.lock();
        let open = slots
            .values()
            .filter_map(|slot| match &*slot.session.lock() {
                Some(Session::Http(session)) if !session.is_closed() => Some(session.clone()),
                _ => None,
            });
        open.collect()
    }

    /// Takes out the sessions of `holder`, of every era, and all that is subscribed to in them.
    pub(super) fn take(&self, holder: &Holder) -> Vec<Session> {
        let mut taken = Vec::new();
        self.slots.lock().retain(|key, slot| {
            let is_theirs = key.0 == *holder;
            if is_theirs {
                slot.subscriptions.clear();
                taken.extend(slot.session.lock().take());
            }
            !is_theirs
        });
        taken
    }

    /// Takes out the sessions that are spoken to with the tokens of `principal`. What is subscribed
    /// to in them stays: it is made again in the next one.
    pub(super) fn take_of(&self, principal: &str) -> Vec<Session> {
        let slots = self.slots.lock();
        let is_theirs =
            |session: &mut Session| session.principal().is_some_and(|own| *own == *principal);
        let sessions = slots.values();
        sessions
            .filter_map(|slot| slot.session.lock().take_if(is_theirs))
            .collect()
    }

    /// With whose tokens sessions are spoken to.
    pub(super) fn principals(&self) -> Vec<Arc<str>> {
        let slots = self.slots.lock();
        let sessions = slots.values();
        sessions
            .filter_map(|slot| slot.session.lock().as_ref()?.principal())
            .collect()
    }

    /// Forgets a session that can't be used any more, whoever holds it.
    pub(super) fn forget(&self, lost: &Session) {
        for slot in self.slots.lock().values() {
            let mut session = slot.session.lock();
            if session.as_ref().is_some_and(|session| session.is(lost)) {
                session.take();
            }
        }
    }

    /// Takes out the sessions that have been idle for `limit`, and forgets those that ended. What
    /// `stays` says of is never idle.
    pub(super) fn take_idle(
        &self,
        limit: Duration,
        stays: impl Fn(&Holder, &Session) -> bool,
    ) -> Vec<Session> {
        let mut idle = Vec::new();
        self.slots.lock().retain(|key, slot| {
            let Some(idle_for) = slot.idle_for() else {
                return true;
            };
            let mut session = slot.session.lock();
            match &*session {
                // A crash is counted by whoever opens the next one.
                Some(open) if open.is_closed() => idle_for < FORGET_ENDED,
                Some(open) if idle_for >= limit && !stays(&key.0, open) => {
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
            .filter_map(|(_, slot)| {
                slot.subscriptions.clear();
                slot.session.lock().take()
            })
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

/// Ends the session that goes for a new one of `holder`: the one that has been idle for longest, of
/// the tenants that have at least as many as that of `holder` would have. `false` where there is
/// none. The same as for downstream sessions: no tenant loses one to a tenant that has more.
fn evict(slots: &mut HashMap<Key, Arc<Slot>>, holder: &Holder) -> bool {
    let mut held: HashMap<&str, usize> = HashMap::new();
    for tenant in slots.keys().filter_map(|(holder, _)| holder.tenant()) {
        *held.entry(tenant).or_default() += 1;
    }
    // What is of no tenant serves all of them, and may have anybody's place.
    let wanted = holder.tenant().map_or(0, |tenant| {
        let held = held.entry(tenant).or_default();
        *held += 1;
        *held
    });
    let idlest = slots
        .iter()
        .filter(|((holder, _), _)| {
            let tenant = holder.tenant();
            tenant.is_some_and(|tenant| held[tenant] >= wanted)
        })
        .filter_map(|(key, slot)| Some((slot.idle_for()?, key)))
        .max_by_key(|(idle, _)| *idle)
        .map(|(_, key)| key.clone());
    let Some(slot) = idlest.and_then(|key| slots.remove(&key)) else {
        return false;
    };
    if let Some(session) = slot.session.lock().take() {
        tokio::spawn(async move { session.close(Ending::Unneeded).await });
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(name: &str) -> Holder {
        of("acme", name)
    }

    fn of(tenant: &str, name: &str) -> Holder {
        Holder::Caller {
            principal: name.into(),
            tenant: tenant.into(),
            capabilities: "{}".into(),
        }
    }

    #[tokio::test]
    async fn who_waits_for_a_session_that_fails_fails_with_it() {
        let pool = Pool::new(8);
        let opened = std::sync::atomic::AtomicUsize::new(0);
        let attempt = || {
            pool.get_or_open(&Holder::Catalog, Some(Era::Legacy), |_| async {
                opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
                Err(UpstreamError::Unreachable("no".into()))
            })
        };
        let results = futures_util::future::join_all((0..50).map(|_| attempt())).await;
        assert!(results.iter().all(Result::is_err));
        assert_eq!(opened.load(std::sync::atomic::Ordering::Relaxed), 1);
        assert!(attempt().await.is_err(), "and the next one tries again");
        assert_eq!(opened.load(std::sync::atomic::Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn sessions_are_bounded_and_those_being_opened_are_not_evicted() {
        let pool = Pool::new(2);
        let (a, b) = (pool.slot(&caller("a"), None), pool.slot(&caller("b"), None));
        let (a, b) = (a.unwrap(), b.unwrap());
        let (_opening_a, opening_b) = (a.opening.lock().await, b.opening.lock().await);
        let refused = pool.slot(&caller("c"), None);
        assert_eq!(refused.unwrap_err(), UpstreamError::NoSession(2));
        drop(opening_b);
        assert!(pool.slot(&caller("c"), None).is_ok());
        assert_eq!(pool.slots.lock().len(), 2);
    }

    #[tokio::test]
    async fn no_tenant_loses_a_session_to_one_that_has_more() {
        let pool = Pool::new(4);
        let held = |tenant: &str| {
            let slots = pool.slots.lock();
            let theirs = slots
                .keys()
                .filter(|(holder, _)| holder.tenant() == Some(tenant));
            theirs.count()
        };
        pool.slot(&Holder::Catalog, None).unwrap();
        // It has been idle for longest of all.
        pool.slot(&of("quiet", "ana"), None).unwrap();
        for name in 0..20 {
            let session = Holder::Session {
                id: name.to_string().into(),
                tenant: "greedy".into(),
            };
            pool.slot(&session, None).unwrap();
        }
        assert_eq!((held("quiet"), held("greedy")), (1, 2));
        // Who has nothing finds room, with the one that has been idle for longest.
        pool.slot(&of("new", "caio"), None).unwrap();
        assert_eq!((held("new"), held("quiet"), held("greedy")), (1, 0, 2));
        // Who has fewer is given of what the other has.
        let caio = pool.slot(&of("new", "caio"), None).unwrap();
        let opening = caio.opening.lock().await;
        pool.slot(&of("new", "davi"), None).unwrap();
        drop(opening);
        assert_eq!((held("new"), held("greedy")), (2, 1));
        assert_eq!(pool.slots.lock().len(), 4);
        // Where all of its own are needed it is refused, though another has an idle one.
        let pool = Pool::new(2);
        pool.slot(&of("quiet", "ana"), None).unwrap();
        let busy = pool.slot(&of("greedy", "ana"), None).unwrap();
        let _opening = busy.opening.lock().await;
        let refused = pool.slot(&of("greedy", "bia"), None);
        assert_eq!(refused.unwrap_err(), UpstreamError::NoSession(2));
        assert!(
            pool.slot(&Holder::Catalog, None).is_ok(),
            "the gateway's own has a place"
        );
    }
}
