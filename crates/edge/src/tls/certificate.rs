use std::{fmt, sync::OnceLock, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use mcp_ultra_domain::Principal;
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, prelude::FromDer, time::ASN1Time,
};

use crate::identity::Refused;

/// The longest name that is looked at, in bytes.
const LONGEST: usize = 256;
/// How many names of one certificate are looked at.
const MOST: usize = 32;

/// What kind of name a subject alternative name is (RFC 5280, section 4.2.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SanKind {
    /// A URI, such as a SPIFFE id.
    Uri,
    /// A DNS name.
    Dns,
    /// A mailbox.
    Email,
}

/// A subject alternative name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct San {
    /// Its kind.
    pub kind: SanKind,
    /// The name, without control characters.
    pub value: String,
}

/// The certificate of a client that an authority of ours has signed, and whose key it has shown to
/// have.
pub struct PeerCertificate {
    /// The names that it is for, in its order.
    pub names: Vec<San>,
    /// The distinguished name of who has signed it.
    pub issuer: String,
    /// When it ends, since the Unix epoch.
    pub not_after: Duration,
    /// Its SHA-256, which tokens are bound by (RFC 8705, 3.1: `x5t#S256`).
    pub(crate) thumbprint: [u8; 32],
    /// Who it identifies: found out once a connection.
    pub(crate) principal: OnceLock<Result<Principal, Refused>>,
}

impl fmt::Debug for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names of people are in it.
        f.debug_struct("PeerCertificate").finish_non_exhaustive()
    }
}

impl PeerCertificate {
    /// A certificate with these names; `der` is all of it.
    pub fn new(names: Vec<San>, issuer: String, not_after: Duration, der: &[u8]) -> Self {
        let mut thumbprint = [0; 32];
        thumbprint.copy_from_slice(digest(&SHA256, der).as_ref());
        Self {
            names,
            issuer,
            not_after,
            thumbprint,
            principal: OnceLock::new(),
        }
    }

    /// Reads one that has been verified. `None` where it can't be read or has odd names.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let issuer = certificate.issuer().to_string();
        if !is_plain(&issuer) {
            return None;
        }
        let san = certificate.subject_alternative_name().ok()?;
        let all = san.map_or(&[][..], |san| &san.value.general_names);
        let mut names = Vec::new();
        for name in all.iter().take(MOST) {
            let (kind, value) = match name {
                GeneralName::URI(value) => (SanKind::Uri, value),
                GeneralName::DNSName(value) => (SanKind::Dns, value),
                GeneralName::RFC822Name(value) => (SanKind::Email, value),
                _ => continue,
            };
            if !is_plain(value) {
                return None;
            }
            names.push(San {
                kind,
                value: (*value).to_owned(),
            });
        }
        Some(Self::new(
            names,
            issuer,
            since_epoch(certificate.validity().not_after),
            der,
        ))
    }
}

/// From when and until when a certificate is good, since the Unix epoch.
pub(super) fn validity(der: &[u8]) -> Option<(Duration, Duration)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    Some((
        since_epoch(validity.not_before),
        since_epoch(validity.not_after),
    ))
}

fn since_epoch(time: ASN1Time) -> Duration {
    Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or_default())
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST && !text.contains(char::is_control)
}
