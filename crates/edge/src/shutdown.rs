//! Graceful shutdown in phases, shared by every listener of the process.
//!
//! [`Shutdown::leave`] asks HTTP/1 clients to come back by another connection: everything is served,
//! and each answer says that its connection ends with it. [`Shutdown::drain`] ends keep-alive:
//! listeners stop accepting, idle connections are closed, requests in flight are finished and HTTP/2
//! peers are told `GOAWAY`. [`Shutdown::finish`] waits for that up to a deadline, then aborts what is
//! left and says how much it was. How long new work is still accepted before `drain` is the caller's
//! business: a request that a client sends just then on a connection that was idle is lost, so there
//! should be few of them left.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Notify, futures::Notified};

/// Where the process is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Serving,
    Leaving,
    Draining,
    Aborting,
}

/// The handle that drains and ends listeners. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    phase: AtomicU8,
    changed: Notify,
    /// Listeners and connections that still hold a [`Tracked`].
    open: AtomicUsize,
    emptied: Notify,
    aborted_connections: AtomicU64,
    aborted_requests: AtomicU64,
}

/// What [`Shutdown::finish`] had to cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were closed with at least one request in flight.
    pub aborted_connections: u64,
    /// Requests in flight on those connections: without an answer, or with one not yet fully sent.
    pub aborted_requests: u64,
}

impl Drained {
    /// True if everything ended by itself before the deadline.
    pub fn is_clean(self) -> bool {
        self.aborted_requests == 0
    }
}

impl Shutdown {
    /// A handle in the serving phase.
    pub fn new() -> Self {
        Self::default()
    }

    /// Has HTTP/1 connections end with their next answer, and accepts others as before: a client
    /// that is told so sends nothing more on that one. HTTP/2 has `GOAWAY` for it, which comes with
    /// [`drain`](Self::drain).
    pub fn leave(&self) {
        self.enter(Phase::Leaving);
    }

    /// Starts draining. Calling it again changes nothing.
    pub fn drain(&self) {
        self.enter(Phase::Draining);
    }

    /// True once [`drain`](Self::drain) was called.
    pub fn is_draining(&self) -> bool {
        self.phase() >= Phase::Draining
    }

    /// Resolves once [`drain`](Self::drain) was called: what holds an endless response open (an
    /// event stream) ends it then.
    pub async fn draining(&self) {
        self.entered(Phase::Draining).await;
    }

    /// Drains, and waits until every listener and connection has ended, for `limit` at most; whether
    /// they have.
    pub async fn ended_within(&self, limit: Duration) -> bool {
        self.drain();
        tokio::time::timeout(limit, self.emptied()).await.is_ok()
    }

    /// Drains, waits until every listener and connection has ended, and aborts what is left after
    /// `deadline`.
    pub async fn finish(&self, deadline: Duration) -> Drained {
        if !self.ended_within(deadline).await {
            self.enter(Phase::Aborting);
            // Every task wakes for the new phase and only drops what it holds.
            self.emptied().await;
        }
        Drained {
            aborted_connections: self.inner.aborted_connections.load(Ordering::Acquire),
            aborted_requests: self.inner.aborted_requests.load(Ordering::Acquire),
        }
    }

    /// Resolves once what is left is to be dropped.
    pub(crate) async fn aborting(&self) {
        self.entered(Phase::Aborting).await;
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.inner.phase.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::Leaving,
            2 => Phase::Draining,
            _ => Phase::Aborting,
        }
    }

    /// Resolves with the next phase. Take it before looking at [`phase`](Self::phase), so that no
    /// change falls between the two.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.inner.changed.notified()
    }

    /// Counts as open until dropped.
    pub(crate) fn track(&self) -> Tracked {
        self.inner.open.fetch_add(1, Ordering::AcqRel);
        Tracked(Arc::clone(&self.inner))
    }

    pub(crate) fn record_aborted(&self, requests: u64) {
        if requests > 0 {
            self.inner
                .aborted_connections
                .fetch_add(1, Ordering::AcqRel);
            self.inner
                .aborted_requests
                .fetch_add(requests, Ordering::AcqRel);
        }
    }

    async fn entered(&self, phase: Phase) {
        loop {
            let changed = self.changed();
            if self.phase() >= phase {
                return;
            }
            changed.await;
        }
    }

    fn enter(&self, phase: Phase) {
        self.inner.phase.fetch_max(phase as u8, Ordering::AcqRel);
        self.inner.changed.notify_waiters();
    }

    async fn emptied(&self) {
        loop {
            let emptied = self.inner.emptied.notified();
            if self.inner.open.load(Ordering::Acquire) == 0 {
                return;
            }
            emptied.await;
        }
    }
}

/// Something that [`Shutdown::finish`] waits for.
#[derive(Debug)]
pub(crate) struct Tracked(Arc<Inner>);

impl Drop for Tracked {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn with_nothing_open_finish_returns_at_once() {
        let shutdown = Shutdown::new();
        let drained = shutdown.finish(Duration::from_mins(1)).await;
        assert!(drained.is_clean());
        assert!(shutdown.is_draining());
    }

    #[tokio::test]
    async fn leaving_is_not_draining_yet_and_no_way_back() {
        let shutdown = Shutdown::new();
        shutdown.leave();
        assert!(!shutdown.is_draining() && shutdown.phase() == Phase::Leaving);
        shutdown.drain();
        shutdown.leave();
        assert!(shutdown.is_draining());
    }

    #[tokio::test]
    async fn draining_wakes_those_who_wait_for_it() {
        let shutdown = Shutdown::new();
        let waiter = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.draining().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        shutdown.drain();
        tokio::time::timeout(Duration::from_secs(5), waiter)
            .await
            .unwrap()
            .unwrap();
    }

    #[tokio::test]
    async fn finish_waits_for_what_is_tracked() {
        let shutdown = Shutdown::new();
        let tracked = shutdown.track();
        let finishing = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.finish(Duration::from_mins(1)).await }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!finishing.is_finished());
        drop(tracked);
        let drained = tokio::time::timeout(Duration::from_secs(5), finishing)
            .await
            .unwrap();
        assert_eq!(drained.unwrap(), Drained::default());
    }
}
