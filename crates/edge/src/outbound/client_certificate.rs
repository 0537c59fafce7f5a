//! The certificate that the gateway shows an upstream (mTLS), read again when its files change.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::{
    Error, InconsistentKeys, SignatureScheme,
    client::ResolvesClientCert,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use super::error::OutboundConfigError;

/// The files are looked at with a handshake, and at most this often.
const LOOK: Duration = Duration::from_secs(1);

/// Certificate and key of two files. A pair that can't be used is refused, and the old one shown.
#[derive(Debug)]
pub(super) struct ClientCertificate {
    certificate: PathBuf,
    key: PathBuf,
    held: ArcSwap<CertifiedKey>,
    seen: Mutex<Seen>,
}

/// What the files were when they were looked at last.
#[derive(Debug)]
struct Seen {
    at: Instant,
    stamps: Option<[Stamp; 2]>,
}

type Stamp = (u64, u64, SystemTime);

impl ClientCertificate {
    pub(super) fn read(certificate: &Path, key: &Path) -> Result<Self, OutboundConfigError> {
        let stamps = stamps(certificate, key).ok();
        let held = pair(certificate, key)?;
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            held: ArcSwap::from_pointee(held),
            seen: Mutex::new(Seen {
                at: Instant::now(),
                stamps,
            }),
        })
    }

    fn look(&self) {
        // Another handshake is looking already.
        let Some(mut seen) = self.seen.try_lock() else {
            return;
        };
        if seen.at.elapsed() < LOOK {
            return;
        }
        seen.at = Instant::now();
        let stamps = stamps(&self.certificate, &self.key).ok();
        if stamps == seen.stamps {
            return;
        }
        seen.stamps = stamps;
        match pair(&self.certificate, &self.key) {
            Ok(pair) => {
                self.held.store(Arc::new(pair));
                tracing::info!(
                    certificate = %self.certificate.display(),
                    "the new client certificate is in force for new connections"
                );
            }
            Err(error) => tracing::error!(
                %error,
                "the new client certificate is refused, the old one stays"
            ),
        }
    }
}

impl ResolvesClientCert for ClientCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.look();
        Some(self.held.load_full())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn stamps(certificate: &Path, key: &Path) -> io::Result<[Stamp; 2]> {
    let stamp = |path: &Path| {
        let known = fs::metadata(path)?;
        Ok::<_, io::Error>((known.ino(), known.len(), known.modified()?))
    };
    Ok([stamp(certificate)?, stamp(key)?])
}

fn pair(certificate: &Path, key: &Path) -> Result<CertifiedKey, OutboundConfigError> {
    let in_file = |path: &Path| {
        let path = path.to_owned();
        move |source| OutboundConfigError::ClientFile { path, source }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(in_file(certificate))?;
    if chain.is_empty() {
        return Err(OutboundConfigError::NoCertificate {
            path: certificate.to_owned(),
        });
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(in_file(key))?;
    let in_pair = |source| OutboundConfigError::ClientPair {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        source,
    };
    let provider = aws_lc_rs::default_provider();
    let signer = provider.key_provider.load_private_key(secret);
    let pair = CertifiedKey::new(chain, signer.map_err(in_pair)?);
    match pair.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(pair),
        Err(source) => Err(in_pair(source)),
    }
}
