//! What a legacy client has agreed on with `initialize`, and what changes while it stays.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use mcp_ultra_protocol::{
    ByteString, Id, Outcome, Request, Response, Version, WireError,
    capabilities::ClientCapabilities,
    json::{self, Object},
    meta,
};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{events::Change, in_flight::InFlight, server};

/// How many resources one session may subscribe to.
const MAX_SUBSCRIPTIONS: usize = 1000;

/// A legacy session: the connection over stdio, a session id over HTTP.
#[derive(Debug)]
pub(super) struct Session {
    /// The revision that was agreed on.
    pub(super) version: Version,
    /// What the client can answer.
    pub(super) capabilities: ClientCapabilities,
    /// What is being worked on.
    pub(super) in_flight: Arc<InFlight>,
    /// Fires when the session ends.
    pub(super) closed: CancellationToken,
    log_rank: AtomicUsize,
    subscriptions: Mutex<HashSet<String>>,
    pending: Mutex<HashMap<Id, oneshot::Sender<Outcome>>>,
    next_id: AtomicU64,
}

/// A question to the client that has not been answered; forgotten when this is dropped.
struct Pending<'s> {
    session: &'s Session,
    id: Id,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    /// Opens a session for the `params` of an `initialize`; also the result to answer with.
    pub(super) fn open(
        params: Option<&str>,
        in_flight: Arc<InFlight>,
    ) -> Result<(Arc<Self>, Value), WireError> {
        let invalid = |why: &str| WireError::invalid_params(format!("initialize: {why}"));
        let params = Object::parse(params.ok_or_else(|| invalid("params are missing"))?)
            .map_err(|error| invalid(&error.to_string()))?;
        let requested = params
            .get_str("protocolVersion")
            .ok_or_else(|| invalid("\"protocolVersion\" must be a string"))?;
        let version = Version::negotiate(&requested);
        let session = Arc::new(Self {
            version,
            capabilities: params
                .get("capabilities")
                .map(ClientCapabilities::parse)
                .unwrap_or_default(),
            in_flight,
            closed: CancellationToken::new(),
            // Until the client says otherwise, `info` and above.
            log_rank: AtomicUsize::new(meta::log_rank("info").unwrap_or_default()),
            subscriptions: Mutex::default(),
            pending: Mutex::default(),
            next_id: AtomicU64::new(1),
        });
        let mut info = server::info();
        if version == Version::V2025_03_26
            && let Some(info) = info.as_object_mut()
        {
            info.remove("title");
        }
        let result = json!({
            "protocolVersion": version.as_str(),
            "capabilities": server::capabilities(),
            "serverInfo": info,
            "instructions": server::INSTRUCTIONS,
        });
        Ok((session, result))
    }

    /// The least rank of log messages that the client wants.
    pub(super) fn log_rank(&self) -> usize {
        self.log_rank.load(Ordering::Relaxed)
    }

    /// `logging/setLevel`.
    pub(super) fn set_level(&self, level: &str) -> Result<(), WireError> {
        let rank = meta::log_rank(level).ok_or_else(|| {
            WireError::invalid_params(format!(
                "\"level\" must be one of {}",
                meta::LOG_LEVELS.join(", ")
            ))
        })?;
        self.log_rank.store(rank, Ordering::Relaxed);
        Ok(())
    }

    /// `resources/subscribe`.
    pub(super) fn subscribe(&self, uri: &str) -> Result<(), WireError> {
        let mut subscriptions = lock(&self.subscriptions);
        if subscriptions.len() >= MAX_SUBSCRIPTIONS && !subscriptions.contains(uri) {
            return Err(WireError::internal(format!(
                "a session may subscribe to {MAX_SUBSCRIPTIONS} resources, unsubscribe from some"
            )));
        }
        subscriptions.insert(uri.to_owned());
        Ok(())
    }

    /// `resources/unsubscribe`.
    pub(super) fn unsubscribe(&self, uri: &str) {
        lock(&self.subscriptions).remove(uri);
    }

    /// Whether this client wants to hear of `change`.
    pub(super) fn wants(&self, change: &Change) -> bool {
        match change {
            Change::Resource(uri) => lock(&self.subscriptions).contains(uri),
            Change::ResourceList => true,
        }
    }

    /// Every change that this client would want to hear of.
    pub(super) fn all_wanted(&self) -> Vec<Change> {
        let subscriptions = lock(&self.subscriptions);
        subscriptions
            .iter()
            .cloned()
            .map(Change::Resource)
            .chain([Change::ResourceList])
            .collect()
    }

    /// Sends a request to the client and waits for what it answers; `None` where the client or
    /// the session has gone. Who stops waiting forgets the question.
    pub(super) async fn ask(
        &self,
        out: &mpsc::Sender<ByteString>,
        method: &str,
        params: &str,
    ) -> Option<Outcome> {
        let number = self.next_id.fetch_add(1, Ordering::Relaxed);
        let id = Id::from_raw(json::quote(&format!("demo-{number}")).into())?;
        let (answer, answered) = oneshot::channel();
        lock(&self.pending).insert(id.clone(), answer);
        let pending = Pending { session: self, id };
        let request = Request::new(pending.id.clone(), method, Some(params));
        out.send(request.text).await.ok()?;
        tokio::select! {
            outcome = answered => outcome.ok(),
            () = self.closed.cancelled() => None,
        }
    }

    /// Takes the client's answer. One that nobody waits for means nothing.
    pub(super) fn answered(&self, response: Response) {
        let waiting = response.id.and_then(|id| lock(&self.pending).remove(&id));
        if let Some(waiting) = waiting {
            // An error means that the one who asked has just stopped waiting.
            let _ = waiting.send(response.outcome);
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        lock(&self.session.pending).remove(&self.id);
    }
}
