//! What can go wrong on the way to an upstream, in the terms of the one who operates it.

use std::{error::Error as StdError, fmt, io, path::PathBuf};

use http::Uri;
use hyper_util::client::legacy;

use super::{
    connector::{ConnectTimedOut, ResolveFailed},
    guard::ForbiddenAddress,
};

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutboundErrorKind {
    /// The request cannot be sent at all: its URI lacks a scheme or host, or is not http(s).
    InvalidRequest,
    /// The gateway may not connect there: the address is link-local, a metadata service, or
    /// internal and comes from data; or the host comes from data and is not allowed.
    Forbidden,
    /// The host name has no address, or no name server answered.
    Dns,
    /// Nothing listens at that address and port.
    Refused,
    /// Resolving, connecting and the TLS handshake together took longer than `connect_timeout`.
    ConnectTimeout,
    /// The network does not lead there, or the connection broke while it was made.
    Unreachable,
    /// The certificate is not trusted, or client and server share no protocol.
    Tls,
    /// The upstream closed or reset the connection before its answer was complete.
    Closed,
    /// What came back is not HTTP.
    Protocol,
}

/// Whose fault it is, as far as the gateway can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The gateway: its configuration or its code.
    Gateway,
    /// The upstream, or the network between.
    Upstream,
}

impl OutboundErrorKind {
    /// The value of a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::Forbidden => "forbidden",
            Self::Dns => "dns",
            Self::Refused => "refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::Closed => "closed",
            Self::Protocol => "protocol",
        }
    }

    fn explanation(self) -> &'static str {
        match self {
            Self::InvalidRequest => "is not an address to send to: give an http or https URL",
            Self::Forbidden => {
                "is nowhere that the gateway may connect to: if it should, allow it in outbound.allow_addresses or outbound.allow_hosts"
            }
            Self::Dns => "has no address: check the spelling of the host and the name server",
            Self::Refused => "refused the connection: check that it runs and listens on this port",
            Self::ConnectTimeout => {
                "did not accept a connection in time: check firewalls and its load"
            }
            Self::Unreachable => "cannot be reached: check the network and its routes",
            Self::Tls => "failed the TLS handshake: check its certificate, host name and authority",
            Self::Closed => "closed the connection before its answer was complete",
            Self::Protocol => "answered something that is not HTTP: check scheme and port",
        }
    }
}

/// A request that got no response. It names the upstream by host and port only: path and query
/// may hold what does not belong into a log.
#[derive(Debug)]
pub struct OutboundError {
    kind: OutboundErrorKind,
    retry_is_safe: bool,
    target: String,
    source: Option<legacy::Error>,
}

impl OutboundError {
    pub(super) fn invalid(uri: &Uri) -> Self {
        Self {
            kind: OutboundErrorKind::InvalidRequest,
            retry_is_safe: true,
            target: target(uri),
            source: None,
        }
    }

    pub(super) fn forbidden(uri: &Uri) -> Self {
        Self {
            kind: OutboundErrorKind::Forbidden,
            ..Self::invalid(uri)
        }
    }

    pub(super) fn new(uri: &Uri, source: legacy::Error) -> Self {
        let (kind, retry_is_safe) = classify(&source);
        Self {
            kind,
            retry_is_safe,
            target: target(uri),
            source: Some(source),
        }
    }

    /// What failed.
    pub fn kind(&self) -> OutboundErrorKind {
        self.kind
    }

    /// Whose fault it is.
    pub fn side(&self) -> Side {
        match self.kind {
            OutboundErrorKind::InvalidRequest | OutboundErrorKind::Forbidden => Side::Gateway,
            _ => Side::Upstream,
        }
    }

    /// True if the upstream has seen nothing of the request, so that sending it again cannot do
    /// anything twice.
    pub fn retry_is_safe(&self) -> bool {
        self.retry_is_safe
    }
}

impl fmt::Display for OutboundError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "upstream {} {}", self.target, self.kind.explanation())?;
        match self.source.as_ref().map(root_cause) {
            Some(cause) => write!(f, " ({cause})"),
            None => Ok(()),
        }
    }
}

impl StdError for OutboundError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

/// Why the client towards upstreams could not be made.
#[derive(Debug, thiserror::Error)]
pub enum OutboundConfigError {
    /// The file of extra authorities cannot be read, or holds something that is not PEM.
    #[error("cannot read certificate authorities from {path}: {source}; give a readable PEM file")]
    CaFile {
        /// The file as configured.
        path: PathBuf,
        /// What the system or the parser said.
        source: rustls::pki_types::pem::Error,
    },
    /// A certificate in the file is not one that can sign others.
    #[error("{path} holds a certificate that cannot be trusted as an authority: {source}")]
    CaCertificate {
        /// The file as configured.
        path: PathBuf,
        /// What rustls said.
        source: rustls::Error,
    },
    /// The file of extra authorities holds no certificate at all.
    #[error("{path} holds no certificate: give a PEM file with at least one CERTIFICATE block")]
    NoCertificate {
        /// The file as configured.
        path: PathBuf,
    },
    /// The certificate or key to show an upstream can't be read.
    #[error("{path} can't be read: {source}; give a readable PEM file")]
    ClientFile {
        /// The file as configured.
        path: PathBuf,
        /// What the system or the parser said.
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key to show an upstream are not a pair.
    #[error("{certificate} and {key} can't be used together: {source}")]
    ClientPair {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What rustls said.
        source: rustls::Error,
    },
    /// The TLS library refuses its own protocol versions.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

fn target(uri: &Uri) -> String {
    match (uri.host(), uri.port_u16()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => "(no host)".to_owned(),
    }
}

fn classify(error: &legacy::Error) -> (OutboundErrorKind, bool) {
    let causes = || Causes(Some(error));
    if error.is_connect() {
        return (
            causes()
                .find_map(connect_kind)
                .unwrap_or(OutboundErrorKind::Unreachable),
            true,
        );
    }
    let hyper = causes().find_map(|cause| cause.downcast_ref::<hyper::Error>());
    match hyper {
        // The connection closed with the request still in the queue.
        Some(hyper) if hyper.is_canceled() => (OutboundErrorKind::Closed, true),
        Some(hyper) if hyper.is_parse() => (OutboundErrorKind::Protocol, false),
        _ => (OutboundErrorKind::Closed, false),
    }
}

fn connect_kind(cause: &(dyn StdError + 'static)) -> Option<OutboundErrorKind> {
    if cause.is::<ConnectTimedOut>() {
        return Some(OutboundErrorKind::ConnectTimeout);
    }
    if cause.is::<ForbiddenAddress>() {
        return Some(OutboundErrorKind::Forbidden);
    }
    if cause.is::<ResolveFailed>() {
        return Some(OutboundErrorKind::Dns);
    }
    if cause.is::<rustls::Error>() {
        return Some(OutboundErrorKind::Tls);
    }
    match cause.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::ConnectionRefused => Some(OutboundErrorKind::Refused),
        io::ErrorKind::TimedOut => Some(OutboundErrorKind::ConnectTimeout),
        _ => None,
    }
}

fn root_cause(error: &legacy::Error) -> &(dyn StdError + 'static) {
    Causes(Some(error)).last().unwrap_or(error)
}

/// An error and its causes, those inside of an [`io::Error`] included, which `source` leaves out.
struct Causes<'a>(Option<&'a (dyn StdError + 'static)>);

impl<'a> Iterator for Causes<'a> {
    type Item = &'a (dyn StdError + 'static);

    fn next(&mut self) -> Option<Self::Item> {
        let error = self.0?;
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        self.0 = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
        Some(error)
    }
}
