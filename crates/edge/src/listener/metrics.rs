//! What a listener counts.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use crate::tls::ServerTls;

/// Why a connection or a request was turned away, or a connection closed by the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// `max_connections` were open.
    Connections,
    /// `max_connections_per_client` were open from this address.
    ConnectionsPerClient,
    /// More header fields or header bytes than allowed (431). Header lists over the limit in
    /// HTTP/2 are answered 431 by the protocol layer and not counted.
    HeadersTooLarge,
    /// Not HTTP, or against its rules (400).
    Malformed,
    /// The request header was not complete within `header_timeout`.
    HeaderTimeout,
    /// The client did not read its response for `write_timeout`.
    WriteTimeout,
    /// No request for `idle_timeout`: the ordinary end of a kept-alive connection.
    Idle,
    /// The TLS handshake failed: no version, cipher or protocol in common, or a client certificate
    /// that is missing or not accepted.
    Handshake,
    /// The TLS handshake was not complete in time.
    HandshakeTimeout,
    /// HTTP was spoken where TLS is (400).
    PlainHttp,
}

impl Refusal {
    /// Every kind, in the order of the label values.
    pub const ALL: [Self; 10] = [
        Self::Connections,
        Self::ConnectionsPerClient,
        Self::HeadersTooLarge,
        Self::Malformed,
        Self::HeaderTimeout,
        Self::WriteTimeout,
        Self::Idle,
        Self::Handshake,
        Self::HandshakeTimeout,
        Self::PlainHttp,
    ];

    /// The value of the metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerClient => "connections_per_client",
            Self::HeadersTooLarge => "headers_too_large",
            Self::Malformed => "malformed",
            Self::HeaderTimeout => "header_timeout",
            Self::WriteTimeout => "write_timeout",
            Self::Idle => "idle",
            Self::Handshake => "tls_handshake",
            Self::HandshakeTimeout => "tls_handshake_timeout",
            Self::PlainHttp => "plain_http",
        }
    }
}

/// Counters of one listener, for export. Reading them is cheap and never blocks it.
#[derive(Debug, Default)]
pub struct ListenerMetrics {
    accepted: AtomicU64,
    open: AtomicU64,
    accept_errors: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
    tls: OnceLock<Arc<ServerTls>>,
}

impl ListenerMetrics {
    /// Connections accepted since start, those that were then refused included.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections open now.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Times that accepting failed for want of a resource (file descriptors, memory).
    pub fn accept_errors(&self) -> u64 {
        self.accept_errors.load(Ordering::Relaxed)
    }

    /// Connections and requests refused or closed for this reason.
    pub fn refused(&self, kind: Refusal) -> u64 {
        self.refused[kind as usize].load(Ordering::Relaxed)
    }

    /// The TLS that is spoken, if any.
    pub fn tls(&self) -> Option<&Arc<ServerTls>> {
        self.tls.get()
    }

    pub(super) fn speaks(&self, tls: &Arc<ServerTls>) {
        // Said once, when the listener is made.
        let _ = self.tls.set(Arc::clone(tls));
    }

    pub(super) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_accept_error(&self) {
        self.accept_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused(&self, kind: Refusal) {
        self.refused[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_counter_and_label() {
        let metrics = ListenerMetrics::default();
        for (position, kind) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, position);
            metrics.count_refused(kind);
            assert_eq!(metrics.refused(kind), 1);
        }
        let mut labels: Vec<_> = Refusal::ALL.map(Refusal::as_str).to_vec();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Refusal::ALL.len());
    }
}
