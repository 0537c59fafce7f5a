//! The legacy sessions, by their `Mcp-Session-Id`.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::response::Response;
use http::{HeaderMap, StatusCode};
use mcp_ultra_protocol::{WireError, headers as names, seal::Purpose};

use super::{headers, refusal};
use crate::demo::{era, server::Server, session::Session};

/// How many sessions are kept; the oldest gives way to a new one.
const MOST: usize = 1000;

/// A session over HTTP.
pub(super) struct HttpSession {
    /// What was agreed on.
    pub(super) session: Arc<Session>,
    /// Whether its stream is open: messages must not go out twice.
    streaming: AtomicBool,
    number: u64,
}

/// The right to be the one stream of a session; given back when dropped.
pub(super) struct StreamPermit {
    session: Arc<HttpSession>,
}

/// The sessions of all clients.
#[derive(Default)]
pub(super) struct Sessions {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    sessions: HashMap<String, Arc<HttpSession>>,
    opened: u64,
}

/// The session that a request names.
pub(super) enum Lookup {
    /// It is there.
    Found(Arc<HttpSession>),
    /// None is named, or it has ended, or its revision is another one: what to answer.
    Missing(Response),
}

impl HttpSession {
    /// Takes the stream, where nobody has it.
    pub(super) fn take_stream(self: &Arc<Self>) -> Option<StreamPermit> {
        let taken = self.streaming.swap(true, Ordering::AcqRel);
        (!taken).then(|| StreamPermit {
            session: Arc::clone(self),
        })
    }

    fn end(&self) {
        self.session.closed.cancel();
        self.session.in_flight.cancel_all();
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.session.streaming.store(false, Ordering::Release);
    }
}

impl Sessions {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps `session` under a new id.
    pub(super) fn add(&self, server: &Server, session: Arc<Session>) -> Result<String, WireError> {
        let mut table = self.table();
        let number = table.opened;
        // Sealed, so that nobody can guess the id of another session.
        let id = server
            .sealer
            .seal(Purpose::Session, "", &number.to_be_bytes())
            .map_err(|_| WireError::internal("The session could not be opened, try again"))?;
        table.opened += 1;
        if table.sessions.len() >= MOST {
            let oldest = table
                .sessions
                .iter()
                .min_by_key(|(_, session)| session.number);
            if let Some(id) = oldest.map(|(id, _)| id.clone())
                && let Some(session) = table.sessions.remove(&id)
            {
                session.end();
            }
        }
        let session = HttpSession {
            session,
            streaming: AtomicBool::new(false),
            number,
        };
        table.sessions.insert(id.clone(), Arc::new(session));
        Ok(id)
    }

    /// The session that `headers` name: 400 where they name none or another revision, 404 where
    /// it has ended (2025-11-25, Streamable HTTP, Session Management).
    pub(super) fn of(&self, headers: &HeaderMap) -> Lookup {
        let missing = |status, error: &WireError| Lookup::Missing(refusal(status, error));
        let version = match headers::version(headers) {
            Ok(version) => version,
            Err(name) => return missing(StatusCode::BAD_REQUEST, &era::unsupported(&name)),
        };
        let Some(id) = headers.get(names::SESSION_ID) else {
            let error = WireError::invalid_request(
                "Mcp-Session-Id is missing: open a session with initialize, or send modern _meta",
            );
            return missing(StatusCode::BAD_REQUEST, &error);
        };
        let session = id
            .to_str()
            .ok()
            .and_then(|id| self.table().sessions.get(id).cloned());
        let Some(session) = session else {
            let error = WireError::invalid_request("the session has ended, initialize again");
            return missing(StatusCode::NOT_FOUND, &error);
        };
        if version.is_some_and(|version| version != session.session.version) {
            let error = WireError::invalid_request(format!(
                "MCP-Protocol-Version is not that of the session, which is {}",
                session.session.version
            ));
            return missing(StatusCode::BAD_REQUEST, &error);
        }
        Lookup::Found(session)
    }

    /// Ends the session that `headers` name.
    pub(super) fn end(&self, headers: &HeaderMap) {
        let id = headers
            .get(names::SESSION_ID)
            .and_then(|id| id.to_str().ok());
        if let Some(session) = id.and_then(|id| self.table().sessions.remove(id)) {
            session.end();
        }
    }

    /// Ends the streams of all sessions; calls in flight go on.
    pub(super) fn close_all(&self) {
        for session in self.table().sessions.values() {
            session.session.closed.cancel();
        }
    }
}
