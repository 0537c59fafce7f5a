use std::{path::PathBuf, time::Duration};

/// Everything that is configured of a listener's TLS. The files are PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificate, followed by those of its authorities up to, and without, the root.
    pub certificate: PathBuf,
    /// Its private key (PKCS#8, PKCS#1 or SEC1).
    pub key: PathBuf,
    /// Whose certificates clients may have; without it none is asked for.
    pub clients: Option<ClientAuthorities>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// How long a handshake may take, waiting for its turn included.
    pub handshake_timeout: Duration,
    /// How many handshakes may be under way; more wait for their turn.
    pub max_handshakes: usize,
    /// For how long browsers are told to use the host over TLS alone (RFC 6797); zero tells them
    /// nothing.
    pub hsts: Duration,
    /// Whether that is true of all hosts below this one too.
    pub hsts_include_subdomains: bool,
}

/// Whose certificates clients may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuthorities {
    /// The authorities that sign them.
    pub authorities: PathBuf,
    /// The revocation lists of these authorities.
    pub revocations: Option<PathBuf>,
    /// Whether clients without a certificate are turned away.
    pub required: bool,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246), with the cipher suites that have forward secrecy only.
    #[default]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}
