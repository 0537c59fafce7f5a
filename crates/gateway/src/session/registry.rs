use std::{sync::Arc, time::Duration};

use http::StatusCode;
use mcp_ultra_domain::{Principal, ports::SessionState};
use mcp_ultra_protocol::{WireError, error::LIMIT_EXCEEDED};
use parking_lot::Mutex;

use super::{Live, Negotiated, held::Held};
use crate::{
    Gateway,
    http::Identified,
    upstream::{Ending, Session},
};

/// How many idle sessions are tried to be taken out of memory for a new one.
const TRIES: usize = 8;

/// The legacy sessions that live in this process.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    sessions: Mutex<Held>,
}

/// Why no session can be opened, or served again, for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// There are as many as `limits.sessions`, and none is idle that may go.
    Gateway,
    /// Its principal has as many as `limits.sessions_per_principal`, and none is idle.
    Principal,
}

impl Full {
    /// What the client is told.
    pub(crate) fn error(self) -> (WireError, StatusCode) {
        match self {
            Self::Gateway => (
                WireError::internal("too many sessions are open here; try again later"),
                StatusCode::SERVICE_UNAVAILABLE,
            ),
            Self::Principal => (
                WireError::new(
                    LIMIT_EXCEEDED,
                    "you have as many sessions as you may (limits.sessions_per_principal), all of them in use; end one (DELETE) first",
                )
                .with_data("{\"limit\":\"limits.sessions_per_principal\"}".to_owned()),
                StatusCode::TOO_MANY_REQUESTS,
            ),
        }
    }
}

/// Why a session can't be gone on with.
#[derive(Debug)]
pub(super) enum NotEntered {
    /// It has ended.
    Ended,
    /// It is not in memory, and there is no room for it.
    Full(Full),
}

impl Registry {
    /// How many sessions live here.
    pub(crate) fn len(&self) -> usize {
        self.sessions.lock().len()
    }

    /// Opens a session.
    ///
    /// # Errors
    /// [`Full`], where none may go for it.
    pub(crate) async fn open(
        &self,
        gateway: &Gateway,
        negotiated: &Negotiated,
        principal: &Principal,
    ) -> Result<Arc<Live>, Full> {
        let (nothing, replicas) = (SessionState::default(), gateway.replicas.clone());
        let live = Live::new(negotiated, principal.clone(), nothing, replicas);
        self.admit(gateway, Arc::new(live)).await
    }

    /// Keeps `live` in memory, unless its session is there already: the idlest of its principal, or
    /// of all, may have to go. No tenant loses a session to one that has more than it has itself.
    async fn admit(&self, gateway: &Gateway, live: Arc<Live>) -> Result<Arc<Live>, Full> {
        let (all, own) = {
            let settings = gateway.settings();
            (settings.max_sessions, settings.max_sessions_per_principal)
        };
        let mut full = Full::Gateway;
        for _ in 0..TRIES {
            let idle = {
                let mut sessions = self.sessions.lock();
                if let Some(known) = sessions.get(&live.id) {
                    return Ok(known);
                }
                // Whoever is nobody in particular is many.
                if !live.principal.is_anonymous() && sessions.of(&live.principal) >= own {
                    full = Full::Principal;
                    sessions.idlest_of(&live.principal)
                } else if sessions.len() >= all {
                    full = Full::Gateway;
                    sessions.idlest_for(live.principal.tenant())
                } else {
                    sessions.insert(live.clone());
                    return Ok(live);
                }
            };
            let idle = idle.ok_or(full)?;
            self.retire(gateway, &idle, Duration::ZERO).await;
        }
        Err(full)
    }

    /// The session with what `negotiated` says. A session that this process does not know starts here
    /// from what is stored of it.
    pub(super) async fn enter(
        &self,
        gateway: &Arc<Gateway>,
        negotiated: Negotiated,
        identified: &Identified,
    ) -> Result<Arc<Live>, NotEntered> {
        let known = {
            let sessions = self.sessions.lock();
            let known = sessions.get(&negotiated.id);
            // Under the lock, so that the session is not taken for idle in between.
            if let Some(live) = &known {
                live.touch();
            }
            known
        };
        if let Some(live) = known {
            live.note_shown(identified);
            return Ok(live);
        }
        let state = match gateway.store.load(&negotiated.id).await {
            Ok(state) => state,
            Err(error) => {
                tracing::error!(%error, "a session could not be loaded");
                return Err(NotEntered::Ended);
            }
        };
        if state.terminated {
            return Err(NotEntered::Ended);
        }
        // None is open here yet.
        let mut state = state;
        let wanted = std::mem::take(&mut state.subscriptions);
        let principal = identified.principal.clone();
        let replicas = gateway.replicas.clone();
        let live = Arc::new(Live::new(&negotiated, principal, state, replicas));
        let live = self.admit(gateway, live).await.map_err(NotEntered::Full)?;
        live.note_shown(identified);
        // It may have been ended while it was loaded.
        let ended = gateway.store.load(&negotiated.id).await;
        if ended.is_ok_and(|state| state.terminated) {
            self.leave(gateway, &live).await;
            return Err(NotEntered::Ended);
        }
        for uri in wanted {
            gateway.subscribe_again(&live, &uri);
        }
        Ok(live)
    }

    /// A session that lives in this process.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Live>> {
        self.sessions.lock().get(id)
    }

    /// The ids of all sessions that live here.
    pub(super) fn ids(&self) -> Vec<String> {
        let sessions = self.sessions.lock();
        sessions.all().map(|live| live.id.to_string()).collect()
    }

    /// The sessions of some principals that live here.
    pub(crate) fn of(&self, is: impl Fn(&Principal) -> bool) -> Vec<Arc<Live>> {
        let sessions = self.sessions.lock();
        let of = sessions.all().filter(|live| is(&live.principal));
        of.cloned().collect()
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
        // It may live at another replica.
        close(upstream, Ending::Unneeded).await;
        true
    }

    /// Takes a session out of memory that has ended.
    pub(super) async fn leave(&self, gateway: &Gateway, live: &Live) {
        let upstream = {
            let mut sessions = self.sessions.lock();
            sessions.remove(&live.id);
            take_upstream(gateway, live)
        };
        live.end();
        close(upstream, Ending::Over).await;
    }

    /// Takes sessions out of memory that have been idle for `limit`. Returns how many.
    pub(crate) async fn sweep(&self, gateway: &Gateway, limit: Duration) -> usize {
        let idle: Vec<Arc<Live>> = {
            let sessions = self.sessions.lock();
            let is_idle = |live: &&Arc<Live>| live.idle_for().is_some_and(|idle| idle >= limit);
            sessions.all().filter(is_idle).cloned().collect()
        };
        let mut retired = 0;
        for live in &idle {
            retired += usize::from(self.retire(gateway, live, limit).await);
        }
        retired
    }

    /// Ends the server-to-client streams of all sessions, for shutdown. Calls in flight go on to
    /// their end, and the sessions themselves live on in their ids.
    pub(crate) fn end_streams(&self) {
        for live in self.sessions.lock().all() {
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

async fn close(sessions: Vec<Session>, ending: Ending) {
    let closing = sessions.iter().map(|session| session.close(ending));
    futures_util::future::join_all(closing).await;
}
