use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;

/// How long a sealed session id can be used, and so for how long its state and its end matter.
pub const SESSION_VALID_FOR: Duration = Duration::from_hours(7 * 24);

/// What changes in a legacy session after `initialize`. What was negotiated does not change and
/// travels in the sealed session id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionState {
    /// The log level that the client set, where it did.
    pub log_level: Option<String>,
    /// The public URIs of the resources that the client subscribed to.
    pub subscriptions: BTreeSet<String>,
    /// The client ended the session, or it was ended for it.
    pub terminated: bool,
}

/// The store could not be reached or refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the session store failed: {0}")]
pub struct StoreError(pub String);

/// Mutable state of legacy sessions, and the tombstones of ended ones.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// The state of the session; a session that never changed has the default state.
    async fn load(&self, session: &str) -> Result<SessionState, StoreError>;

    /// Sets the log level.
    async fn set_log_level(&self, session: &str, level: &str) -> Result<(), StoreError>;

    /// Adds or removes a subscription.
    async fn subscribe(&self, session: &str, uri: &str, wanted: bool) -> Result<(), StoreError>;

    /// Marks the session as ended, for good. `now` is the time since the Unix epoch.
    async fn terminate(&self, session: &str, now: Duration) -> Result<(), StoreError>;

    /// Forgets a session that merely went idle here: its sealed id is still good. It starts again
    /// from the default state, or from what it had where other processes may still serve it.
    async fn forget(&self, session: &str) -> Result<(), StoreError>;

    /// Forgets the tombstones of sessions that ended before `before`, whose sealed ids have
    /// expired since. Returns how many.
    async fn expire(&self, before: Duration) -> Result<usize, StoreError>;

    /// The sessions whose state another process may have changed since this was asked last. `live`
    /// lists those that live in this process; it is asked where all of them may have been. For one
    /// task alone. A store of a single process knows of none.
    async fn changed_elsewhere(&self, _live: &LiveSessions<'_>) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    /// Whether what the processes share answers; `None` where nothing is shared.
    fn is_reachable(&self) -> Option<bool> {
        None
    }
}

/// Lists the sessions that live in a process.
pub type LiveSessions<'a> = dyn Fn() -> Vec<String> + Send + Sync + 'a;

/// The store of a single process.
#[derive(Debug, Default)]
pub struct MemorySessionStore {
    sessions: Mutex<HashMap<String, Stored>>,
}

#[derive(Debug, Default)]
struct Stored {
    state: SessionState,
    ended: Option<Duration>,
}

impl MemorySessionStore {
    fn change(&self, session: &str, change: impl FnOnce(&mut Stored)) {
        let mut sessions = self.sessions.lock();
        let stored = sessions.entry(session.to_owned()).or_default();
        // An ended session stays ended and unchanged.
        if stored.ended.is_none() {
            change(stored);
        }
    }
}

#[async_trait]
impl SessionStore for MemorySessionStore {
    async fn load(&self, session: &str) -> Result<SessionState, StoreError> {
        let sessions = self.sessions.lock();
        Ok(sessions
            .get(session)
            .map(|stored| stored.state.clone())
            .unwrap_or_default())
    }

    async fn set_log_level(&self, session: &str, level: &str) -> Result<(), StoreError> {
        self.change(session, |stored| {
            stored.state.log_level = Some(level.to_owned());
        });
        Ok(())
    }

    async fn subscribe(&self, session: &str, uri: &str, wanted: bool) -> Result<(), StoreError> {
        self.change(session, |stored| {
            if wanted {
                stored.state.subscriptions.insert(uri.to_owned());
            } else {
                stored.state.subscriptions.remove(uri);
            }
        });
        Ok(())
    }

    async fn terminate(&self, session: &str, now: Duration) -> Result<(), StoreError> {
        self.change(session, |stored| {
            stored.state = SessionState {
                terminated: true,
                ..SessionState::default()
            };
            stored.ended = Some(now);
        });
        Ok(())
    }

    async fn forget(&self, session: &str) -> Result<(), StoreError> {
        let mut sessions = self.sessions.lock();
        if sessions
            .get(session)
            .is_some_and(|stored| stored.ended.is_none())
        {
            sessions.remove(session);
        }
        Ok(())
    }

    async fn expire(&self, before: Duration) -> Result<usize, StoreError> {
        let mut sessions = self.sessions.lock();
        let count = sessions.len();
        sessions.retain(|_, stored| stored.ended.is_none_or(|ended| ended >= before));
        Ok(count - sessions.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_ended_session_stays_ended() {
        let store = MemorySessionStore::default();
        store.set_log_level("s", "debug").await.unwrap();
        store.subscribe("s", "file:///a", true).await.unwrap();
        let state = store.load("s").await.unwrap();
        assert_eq!(state.log_level.as_deref(), Some("debug"));
        assert!(state.subscriptions.contains("file:///a"));

        store.terminate("s", Duration::from_secs(10)).await.unwrap();
        store.subscribe("s", "file:///b", true).await.unwrap();
        store.forget("s").await.unwrap();
        let state = store.load("s").await.unwrap();
        assert!(state.terminated && state.subscriptions.is_empty());

        assert_eq!(store.expire(Duration::from_secs(10)).await, Ok(0));
        assert_eq!(store.expire(Duration::from_secs(11)).await, Ok(1));
        assert!(!store.load("s").await.unwrap().terminated);
    }

    #[tokio::test]
    async fn an_idle_session_starts_again() {
        let store = MemorySessionStore::default();
        store.set_log_level("s", "debug").await.unwrap();
        store.forget("s").await.unwrap();
        assert_eq!(store.load("s").await.unwrap(), SessionState::default());
    }
}
