use std::{path::Path, sync::Arc, time::Duration};

use aws_lc_rs::digest;
use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::aws_lc_rs as provider,
    pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};

use super::{
    certificate::validity,
    error::TlsError,
    settings::{ClientAuthorities, TlsSettings, TlsVersion},
};

const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];
const NEW: &[&SupportedProtocolVersion] = &[&TLS13];
const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// What the files hold.
pub(super) struct Loaded {
    pub(super) config: Arc<ServerConfig>,
    /// Of all that was read.
    pub(super) digest: [u8; 32],
    /// From when and until when the certificate is good, since the Unix epoch.
    pub(super) not_before: Duration,
    pub(super) not_after: Duration,
}

impl Loaded {
    pub(super) fn read(settings: &TlsSettings) -> Result<Self, TlsError> {
        let mut seen = digest::Context::new(&digest::SHA256);
        let chain = certificates(&settings.certificate, &mut seen)?;
        let (not_before, not_after) = chain
            .first()
            .and_then(|first| validity(first))
            .ok_or_else(|| TlsError::Certificate(settings.certificate.clone()))?;
        let key = PrivateKeyDer::from_pem_file(&settings.key).map_err(|source| match source {
            pem::Error::NoItemsFound => TlsError::Empty {
                path: settings.key.clone(),
                what: "private key",
            },
            source => in_file(&settings.key, source),
        })?;
        seen.update(key.secret_der());

        let crypto = Arc::new(provider::default_provider());
        let versions = match settings.min_version {
            TlsVersion::Tls12 => BOTH,
            TlsVersion::Tls13 => NEW,
        };
        let builder = ServerConfig::builder_with_provider(crypto)
            .with_protocol_versions(versions)
            .map_err(TlsError::Library)?;
        let builder = match &settings.clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(verifier(clients, &mut seen)?),
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|source| TlsError::Pair {
                certificate: settings.certificate.clone(),
                key: settings.key.clone(),
                source,
            })?;
        config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
        let mut digest = [0; 32];
        digest.copy_from_slice(seen.finish().as_ref());
        Ok(Self {
            config: Arc::new(config),
            digest,
            not_before,
            not_after,
        })
    }
}

fn verifier(
    clients: &ClientAuthorities,
    seen: &mut digest::Context,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&clients.authorities, seen)? {
        roots
            .add(certificate)
            .map_err(|source| TlsError::Authority {
                path: clients.authorities.clone(),
                source,
            })?;
    }
    let crypto = Arc::new(provider::default_provider());
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), crypto);
    if let Some(path) = &clients.revocations {
        let lists: Vec<_> = CertificateRevocationListDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|source| in_file(path, source))?;
        if lists.is_empty() {
            return Err(TlsError::Empty {
                path: path.clone(),
                what: "revocation list",
            });
        }
        for list in &lists {
            seen.update(list.as_ref());
        }
        builder = builder.with_crls(lists).only_check_end_entity_revocation();
    }
    if !clients.required {
        builder = builder.allow_unauthenticated();
    }
    Ok(builder.build()?)
}

fn certificates(
    path: &Path,
    seen: &mut digest::Context,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let list = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| in_file(path, source))?;
    if list.is_empty() {
        return Err(TlsError::Empty {
            path: path.to_owned(),
            what: "certificate",
        });
    }
    for certificate in &list {
        seen.update(certificate);
    }
    Ok(list)
}

fn in_file(path: &Path, source: pem::Error) -> TlsError {
    TlsError::File {
        path: path.to_owned(),
        source,
    }
}
