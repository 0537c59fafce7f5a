//! The requests that are being worked on, so that a client can cancel one by its id.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mcp_ultra_protocol::{Id, Notification, json::Object};
use tokio_util::sync::CancellationToken;

/// How many requests of one client are worked on at once.
const LIMIT: usize = 256;

/// The requests of one client.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    requests: Mutex<HashMap<Id, CancellationToken>>,
}

/// A request that is being worked on; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    owner: Arc<InFlight>,
    id: Id,
    /// Fires when the client does not want the answer any more.
    pub(super) cancelled: CancellationToken,
}

/// Why a request is not taken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// The client has not had the answer to the other one yet.
    #[error("the id is in use by another request that has not been answered yet")]
    IdInUse,
    /// The client has to wait for answers first.
    #[error("too many requests are in flight, wait for answers (at most 256 at once)")]
    TooMany,
}

impl InFlight {
    fn requests(&self) -> MutexGuard<'_, HashMap<Id, CancellationToken>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes on the request `id`.
    pub(super) fn enter(self: &Arc<Self>, id: &Id) -> Result<Ticket, Refused> {
        let mut requests = self.requests();
        if requests.contains_key(id) {
            return Err(Refused::IdInUse);
        }
        if requests.len() >= LIMIT {
            return Err(Refused::TooMany);
        }
        let cancelled = CancellationToken::new();
        requests.insert(id.clone(), cancelled.clone());
        Ok(Ticket {
            owner: Arc::clone(self),
            id: id.clone(),
            cancelled,
        })
    }

    /// Does what a `notifications/cancelled` says. One that names no request in flight means
    /// nothing: the answer may have crossed it.
    pub(super) fn cancel(&self, notification: &Notification) {
        let id = notification.params.as_ref().and_then(|params| {
            let raw = Object::parse(params).ok()?.get("requestId")?;
            Id::from_raw(params.slice_ref(raw))
        });
        if let Some(cancelled) = id.and_then(|id| self.requests().remove(&id)) {
            cancelled.cancel();
        }
    }

    /// Ends all requests without an answer.
    pub(super) fn cancel_all(&self) {
        for (_, cancelled) in self.requests().drain() {
            cancelled.cancel();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // After a cancellation the id may be in use again, by a request with its own token.
        if !self.cancelled.is_cancelled() {
            self.owner.requests().remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cancelled(id: &str) -> Notification {
        Notification::new(
            "notifications/cancelled",
            Some(&format!("{{\"requestId\":{id}}}")),
        )
    }

    #[test]
    fn a_request_is_cancelled_by_its_id_and_no_other() {
        let in_flight = Arc::new(InFlight::default());
        let ticket = in_flight.enter(&Id::from(7)).unwrap();
        in_flight.cancel(&cancelled("\"7\""));
        in_flight.cancel(&Notification::new("notifications/cancelled", None));
        assert!(!ticket.cancelled.is_cancelled());
        in_flight.cancel(&cancelled("7"));
        assert!(ticket.cancelled.is_cancelled());
    }

    #[test]
    fn an_id_is_free_again_once_its_request_is_answered() {
        let in_flight = Arc::new(InFlight::default());
        let ticket = in_flight.enter(&Id::from(1)).unwrap();
        assert_eq!(in_flight.enter(&Id::from(1)).unwrap_err(), Refused::IdInUse);
        drop(ticket);
        let ids: Vec<_> = (0..256)
            .map(|n| in_flight.enter(&Id::from(n)).unwrap())
            .collect();
        assert_eq!(
            in_flight.enter(&Id::from(999)).unwrap_err(),
            Refused::TooMany
        );
        drop(ids);
        assert!(in_flight.enter(&Id::from(999)).is_ok());
    }
}
