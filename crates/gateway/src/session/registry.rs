use std::{collections::HashMap, sync::Arc, time::Duration};

use mcp_ultra_domain::{Principal, ports::SessionState};
use parking_lot::Mutex;

use super::{Live, Negotiated};
use crate::{Gateway, http::Identified, upstream::Session};

/// The legacy sessions that live in this process.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    sessions: Mutex<HashMap<Arc<str>, Arc<Live>>>,
}

impl Registry {
    /// How many sessions live here.
    pub(crate) fn len(&self) -> usize {
        self.sessions.lock().len()
    }

    /// Opens a session; `None` where there are too many and none may go for it: no tenant loses a
    /// session to one that has more than it has itself.
    pub(crate) async fn open(
        &self,
        gateway: &Gateway,
        negotiated: &Negotiated,
        principal: &Principal,
    ) -> Option<Arc<Live>> {
        let limit = gateway.settings().max_sessions;
        if self.len() >= limit {
            let oldest = self.most_idle(principal.tenant())?;
            self.retire(gateway, &oldest, Duration::ZERO).await;
        }
        let live = Arc::new(Live::new(
            negotiated,
            principal.clone(),
            SessionState::default(),
        ));
        self.sessions.lock().insert(live.id.clone(), live.clone());
        Some(live)
    }

    /// The session with what `negotiated` says; `None` where it has ended. A session that this
    /// process does not know starts here from what is stored of it.
    pub(super) async fn enter(
        &self,
        gateway: &Arc<Gateway>,
        negotiated: Negotiated,
        identified: &Identified,
    ) -> Option<Arc<Live>> {
        let known = {
            let sessions = self.sessions.lock();
            let known = sessions.get(negotiated.id.as_str()).cloned();
            // Under the lock, so that the session is not taken for idle in between.
            if let Some(live) = &known {
                live.touch();
            }
            known
        };
        if let Some(live) = known {
            live.note_shown(identified);
            return Some(live);
        }
        let state = match gateway.store.load(&negotiated.id).await {
            Ok(state) => state,
            Err(error) => {
                tracing::error!(%error, "a session could not be loaded");
                return None;
            }
        };
        if state.terminated {
            return None;
        }
        let wanted = state.subscriptions.clone();
        let principal = identified.principal.clone();
        let live = Arc::new(Live::new(&negotiated, principal, state));
        let live = {
            let mut sessions = self.sessions.lock();
            sessions.entry(live.id.clone()).or_insert(live).clone()
        };
        live.note_shown(identified);
        // It may have been ended while it was loaded.
        let ended = gateway.store.load(&negotiated.id).await;
        if ended.is_ok_and(|state| state.terminated) {
            self.leave(gateway, &live).await;
            return None;
        }
        for uri in wanted {
            gateway.subscribe_again(&live, &uri);
        }
        Some(live)
    }

    /// A session that lives in this process.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Live>> {
        self.sessions.lock().get(id).cloned()
    }

    /// Ends a session for good.
    pub(crate) async fn terminate(&self, gateway: &Gateway, live: &Live) {
        if let Err(error) = gateway.store.terminate(&live.id, gateway.clock.now()).await {
            tracing::error!(%error, "the end of a session could not be stored");
        }
        self.leave(gateway, live).await;
    }

    /// Takes a session out of memory that has been idle for `limit`: its id is still good.
    async fn retire(&self, gateway: &Gateway, live: &Live, limit: Duration) -> bool {
        // Decided under the lock: whoever enters a session touches it there.
        let left = {
            let mut sessions = self.sessions.lock();
            let idle = live.idle_for().is_some_and(|idle| idle >= limit);
            idle.then(|| {
                sessions.remove(&live.id);
                take_upstream(gateway, live)
            })
        };
        let Some(upstream) = left else { return false };
        if let Err(error) = gateway.store.forget(&live.id).await {
            tracing::error!(%error, "an idle session could not be forgotten");
        }
        live.end();
        close(upstream).await;
        true
    }

    async fn leave(&self, gateway: &Gateway, live: &Live) {
        let upstream = {
            let mut sessions = self.sessions.lock();
            sessions.remove(&live.id);
            take_upstream(gateway, live)
        };
        live.end();
        close(upstream).await;
    }

    /// Takes sessions out of memory that have been idle for `limit`. Returns how many.
    pub(crate) async fn sweep(&self, gateway: &Gateway, limit: Duration) -> usize {
        let idle: Vec<Arc<Live>> = {
            let sessions = self.sessions.lock();
            let is_idle = |live: &&Arc<Live>| live.idle_for().is_some_and(|idle| idle >= limit);
            sessions.values().filter(is_idle).cloned().collect()
        };
        let mut retired = 0;
        for live in &idle {
            retired += usize::from(self.retire(gateway, live, limit).await);
        }
        retired
    }

    /// The session that goes for a new one of `tenant`: the one that has been idle for longest, of
    /// the tenants that have at least as many as that one would have.
    fn most_idle(&self, tenant: &str) -> Option<Arc<Live>> {
        let sessions = self.sessions.lock();
        let mut held: HashMap<&str, usize> = HashMap::from([(tenant, 1)]);
        for live in sessions.values() {
            *held.entry(live.principal.tenant()).or_default() += 1;
        }
        let wanted = held[tenant];
        let idle = sessions
            .values()
            .filter(|live| held[&**live.principal.tenant()] >= wanted)
            .filter_map(|live| Some((live.idle_for()?, live)));
        idle.max_by_key(|(idle, _)| *idle)
            .map(|(_, live)| live.clone())
    }

    /// Ends the server-to-client streams of all sessions, for shutdown. Calls in flight go on to
    /// their end, and the sessions themselves live on in their ids.
    pub(crate) fn end_streams(&self) {
        for live in self.sessions.lock().values() {
            live.end_streams();
        }
    }
}

/// Takes the session's own sessions with upstreams out of their pools.
fn take_upstream(gateway: &Gateway, live: &Live) -> Vec<Session> {
    let holder = live.holder();
    let snapshot = gateway.snapshot();
    let upstreams = snapshot.upstreams.iter();
    upstreams
        .flat_map(|upstream| upstream.take(&holder))
        .collect()
}

async fn close(sessions: Vec<Session>) {
    futures_util::future::join_all(sessions.iter().map(Session::close)).await;
}
