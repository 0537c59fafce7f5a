//! Where replicas keep the sessions that they have opened with servers, so that another one goes on
//! in them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use parking_lot::Mutex;

/// How long what a process says of a session is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTerms {
    /// For how long the session is kept.
    pub kept: Duration,
    /// For how long the process counts as one that uses it. It says so again much sooner.
    pub used: Duration,
}

/// What other processes have open with servers can't be asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("which sessions with servers other gateways have can't be read")]
pub struct SessionsUnknown;

/// A session with a server that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSession {
    /// What is needed to speak in it. The store does not understand it.
    pub value: Vec<u8>,
    /// Of all processes that use it, this one reads what the server says in it of its own accord.
    pub listens: bool,
}

/// Where replicas keep the sessions that they have opened with servers. It sees sealed bytes under
/// names that say nothing, and may lose all of them at any moment.
///
/// Who uses a session says so again and again, with [`UpstreamSessionStore::offer`]. One of the users
/// listens; when that one does not count as one any more, the next that says so does.
#[async_trait]
pub trait UpstreamSessionStore: Send + Sync {
    /// The session under `name`, if there is one; this process is one of its users from now on.
    ///
    /// # Errors
    /// [`SessionsUnknown`]
    async fn enter(
        &self,
        name: &str,
        terms: SessionTerms,
    ) -> Result<Option<KeptSession>, SessionsUnknown>;

    /// Keeps `value` under `name`, unless another one is there; says which one is.
    /// This process is one of its users where that is its own, and not otherwise.
    ///
    /// # Errors
    /// [`SessionsUnknown`]; it may be kept all the same.
    async fn offer(
        &self,
        name: &str,
        value: &[u8],
        terms: SessionTerms,
    ) -> Result<KeptSession, SessionsUnknown>;

    /// This process does not use `value` any more. Where nobody else does it is forgotten, unless it
    /// `stays` for whoever needs it next. `true` where it was forgotten by this: the session is this
    /// process's to end.
    ///
    /// # Errors
    /// [`SessionsUnknown`]
    async fn leave(&self, name: &str, value: &[u8], stays: bool) -> Result<bool, SessionsUnknown>;

    /// `value` is over for all. `true` where it was forgotten by this.
    ///
    /// # Errors
    /// [`SessionsUnknown`]
    async fn end(&self, name: &str, value: &[u8]) -> Result<bool, SessionsUnknown>;
}

/// Keeps them in this process, for tests of several gateways in one. Each is a replica of its own.
#[derive(Debug, Default)]
pub struct MemoryUpstreamSessionStore {
    all: Arc<Site>,
    me: u64,
}

/// What replicas have in common.
#[derive(Debug, Default)]
struct Site {
    kept: Mutex<HashMap<String, Kept>>,
    replicas: AtomicU64,
}

#[derive(Debug)]
struct Kept {
    value: Vec<u8>,
    until: Instant,
    /// Until when each replica is one of its users.
    users: BTreeMap<u64, Instant>,
    listener: Option<u64>,
}

impl MemoryUpstreamSessionStore {
    /// The store as another replica has it.
    #[must_use]
    pub fn replica(&self) -> Self {
        Self {
            me: self.all.replicas.fetch_add(1, Ordering::Relaxed) + 1,
            all: self.all.clone(),
        }
    }
}

impl Kept {
    fn new(value: &[u8], now: Instant) -> Self {
        Self {
            value: value.to_vec(),
            until: now,
            users: BTreeMap::new(),
            listener: None,
        }
    }

    fn current_users(&self, now: Instant) -> BTreeSet<u64> {
        let users = self.users.iter().filter(|(_, until)| **until > now);
        users.map(|(user, _)| *user).collect()
    }

    fn used(&mut self, by: u64, now: Instant, terms: SessionTerms) -> KeptSession {
        self.until = now + terms.kept;
        self.users.insert(by, now + terms.used);
        let users = self.current_users(now);
        let listener = self.listener.filter(|one| users.contains(one));
        let listener = *self.listener.insert(listener.unwrap_or(by));
        KeptSession {
            value: self.value.clone(),
            listens: listener == by,
        }
    }
}

impl Site {
    /// With what is kept under `name`, if it has not ended.
    fn with<T>(&self, name: &str, act: impl FnOnce(&mut HashMap<String, Kept>, Instant) -> T) -> T {
        let now = Instant::now();
        let mut kept = self.kept.lock();
        if kept.get(name).is_some_and(|one| one.until <= now) {
            kept.remove(name);
        }
        act(&mut kept, now)
    }
}

#[async_trait]
impl UpstreamSessionStore for MemoryUpstreamSessionStore {
    async fn enter(
        &self,
        name: &str,
        terms: SessionTerms,
    ) -> Result<Option<KeptSession>, SessionsUnknown> {
        Ok(self.all.with(name, |kept, now| {
            let one = kept.get_mut(name)?;
            Some(one.used(self.me, now, terms))
        }))
    }

    async fn offer(
        &self,
        name: &str,
        value: &[u8],
        terms: SessionTerms,
    ) -> Result<KeptSession, SessionsUnknown> {
        Ok(self.all.with(name, |kept, now| {
            let one = kept
                .entry(name.to_owned())
                .or_insert_with(|| Kept::new(value, now));
            if one.value == value {
                return one.used(self.me, now, terms);
            }
            KeptSession {
                value: one.value.clone(),
                listens: false,
            }
        }))
    }

    async fn leave(&self, name: &str, value: &[u8], stays: bool) -> Result<bool, SessionsUnknown> {
        Ok(self.all.with(name, |kept, now| {
            let Some(one) = kept.get_mut(name).filter(|one| one.value == value) else {
                return false;
            };
            one.users.remove(&self.me);
            if one.listener == Some(self.me) {
                one.listener = None;
            }
            let ends = !stays && one.current_users(now).is_empty();
            if ends {
                kept.remove(name);
            }
            ends
        }))
    }

    async fn end(&self, name: &str, value: &[u8]) -> Result<bool, SessionsUnknown> {
        Ok(self.all.with(name, |kept, _| {
            let is_there = kept.get(name).is_some_and(|one| one.value == value);
            if is_there {
                kept.remove(name);
            }
            is_there
        }))
    }
}
