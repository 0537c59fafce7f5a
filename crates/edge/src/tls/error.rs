use std::path::PathBuf;

use rustls::{pki_types::pem, server::VerifierBuilderError};

/// Why the files of a listener's TLS can't be used. What is in a key is never said.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or is not PEM.
    #[error("{path} can't be read: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// A file holds nothing of what it should.
    #[error("{path} holds no {what}")]
    Empty {
        /// Which.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
    },
    /// The certificate is none.
    #[error("{0} holds a certificate that can't be read")]
    Certificate(PathBuf),
    /// The certificate has ended.
    #[error("the certificate in {0} has ended")]
    Ended(PathBuf),
    /// An authority can't be one.
    #[error("{path} holds a certificate that can't be an authority: {source}")]
    Authority {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// Certificate and key are not a pair, or of a kind that is not known.
    #[error("{certificate} and {key} can't be used together: {source}")]
    Pair {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The authorities and revocation lists of clients can't be used.
    #[error("the certificates of clients can't be checked: {0}")]
    Clients(#[from] VerifierBuilderError),
    /// The TLS library refuses its own versions.
    #[error("TLS can't be set up: {0}")]
    Library(rustls::Error),
}
