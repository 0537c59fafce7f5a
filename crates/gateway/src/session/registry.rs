use std::{collections::HashMap, sync::Arc, time::Duration};

use mcp_ultra_domain::{Principal, ports::SessionState};
use parking_lot::Mutex;

use super::{Live, Negotiated};
use crate::{Gateway, upstream::Holder};

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

    /// Opens a session; `None` where there are too many and none is idle.
    pub(crate) async fn open(
        &self,
        gateway: &Gateway,
        negotiated: &Negotiated,
        principal: &Principal,
    ) -> Option<Arc<Live>> {
        let limit = gateway.settings().max_sessions;
        if self.len() >= limit {
            let oldest = self.most_idle()?;
            self.retire(gateway, &oldest).await;
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
        (negotiated, principal): (Negotiated, Principal),
    ) -> Option<Arc<Live>> {
        let known = self.sessions.lock().get(negotiated.id.as_str()).cloned();
        if let Some(live) = known {
            live.touch();
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
        let live = Arc::new(Live::new(&negotiated, principal, state));
        let live = {
            let mut sessions = self.sessions.lock();
            sessions.entry(live.id.clone()).or_insert(live).clone()
        };
        for uri in wanted {
            gateway.subscribe_again(&live, &uri);
        }
        Some(live)
    }

    /// Ends a session for good.
    pub(crate) async fn terminate(&self, gateway: &Gateway, live: &Live) {
        if let Err(error) = gateway.store.terminate(&live.id, gateway.clock.now()).await {
            tracing::error!(%error, "the end of a session could not be stored");
        }
        self.leave(gateway, live).await;
    }

    /// Takes an idle session out of memory: its id is still good.
    async fn retire(&self, gateway: &Gateway, live: &Live) {
        if let Err(error) = gateway.store.forget(&live.id).await {
            tracing::error!(%error, "an idle session could not be forgotten");
        }
        self.leave(gateway, live).await;
    }

    async fn leave(&self, gateway: &Gateway, live: &Live) {
        self.sessions.lock().remove(&live.id);
        live.end();
        let holder = Holder::Session(live.id.clone());
        for upstream in &gateway.snapshot().upstreams {
            upstream.close(&holder).await;
        }
    }

    /// Takes sessions out of memory that have been idle for `limit`. Returns how many.
    pub(crate) async fn sweep(&self, gateway: &Gateway, limit: Duration) -> usize {
        let idle: Vec<Arc<Live>> = {
            let sessions = self.sessions.lock();
            let is_idle = |live: &&Arc<Live>| live.idle_for().is_some_and(|idle| idle >= limit);
            sessions.values().filter(is_idle).cloned().collect()
        };
        for live in &idle {
            self.retire(gateway, live).await;
        }
        idle.len()
    }

    fn most_idle(&self) -> Option<Arc<Live>> {
        let sessions = self.sessions.lock();
        let idle = sessions
            .values()
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
