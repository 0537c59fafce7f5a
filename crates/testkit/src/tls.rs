//! Certificates of a test's own, made when it runs, and what a client trusts and shows.

use std::{sync::Arc, time::Duration};

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    version::{TLS12, TLS13},
};

/// What can go wrong while certificates are made or read.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// They could not be made.
    #[error("a certificate could not be made: {0}")]
    Make(#[from] rcgen::Error),
    /// They could not be read.
    #[error("a certificate could not be read: {0}")]
    Read(#[from] rustls::pki_types::pem::Error),
    /// They could not be used.
    #[error("a certificate could not be used: {0}")]
    Use(#[from] rustls::Error),
}

/// A certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, both as PEM.
#[derive(Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
    serial: Vec<u8>,
}

impl Authority {
    /// A new one.
    pub fn new(name: &str) -> Result<Self, CertificateError> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { issuer })
    }

    /// Its certificate as PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for a server at 127.0.0.1 and `localhost`, until `ends` since 1970.
    pub fn server(&self, ends: Duration) -> Result<Pair, CertificateError> {
        let params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()])?;
        self.sign(params, ends)
    }

    /// A certificate for a client with this name: a URI, a mailbox, or else a host.
    pub fn client(&self, name: &str, ends: Duration) -> Result<Pair, CertificateError> {
        let mut params = CertificateParams::default();
        let text = name.try_into()?;
        params.subject_alt_names = vec![if name.contains("://") {
            SanType::URI(text)
        } else if name.contains('@') {
            SanType::Rfc822Name(text)
        } else {
            SanType::DnsName(text)
        }];
        self.sign(params, ends)
    }

    /// A revocation list with these certificates, as PEM.
    pub fn revoked(&self, pairs: &[&Pair]) -> Result<String, CertificateError> {
        let entry = |pair: &&Pair| RevokedCertParams {
            serial_number: SerialNumber::from(pair.serial.clone()),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(4000, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: pairs.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(params.signed_by(&self.issuer)?.pem()?)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        ends: Duration,
    ) -> Result<Pair, CertificateError> {
        let key = KeyPair::generate()?;
        // The high bit must be clear, or the number is written with a byte more.
        let mut serial = key.public_key_raw()[1..9].to_vec();
        serial[0] = serial[0] & 0x7f | 0x40;
        params.serial_number = Some(SerialNumber::from(serial.clone()));
        params.not_before = date_time_ymd(2024, 1, 1);
        params.not_after = date_time_ymd(1970, 1, 1) + ends;
        Ok(Pair {
            certificate: params.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
            serial,
        })
    }
}

/// What a client trusts, shows and speaks; by default it trusts nobody.
#[derive(Clone)]
pub struct Trust {
    config: ClientConfig,
    http2: bool,
}

impl Default for Trust {
    fn default() -> Self {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions();
        let config = config.unwrap_or_else(|_| unreachable!("the library has its own versions"));
        Self {
            config: config
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth(),
            http2: false,
        }
    }
}

impl Trust {
    /// Trusts the authority with this certificate, and shows `own`, a certificate and its key; all are PEM. Speaks
    /// TLS 1.2 or 1.3 alone.
    pub fn new(
        authority: &str,
        own: Option<[&str; 2]>,
        tls13: bool,
        http2: bool,
    ) -> Result<Self, CertificateError> {
        let version: &[&SupportedProtocolVersion] = if tls13 { &[&TLS13] } else { &[&TLS12] };
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(version)?
            .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some([certificate, key]) => builder.with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes())?],
                PrivateKeyDer::from_pem_slice(key.as_bytes())?,
            )?,
        };
        Ok(Self { config, http2 })
    }

    /// As the TLS library takes it.
    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::new(self.config.clone())
    }

    pub(crate) fn connector(&self, http: HttpConnector) -> HttpsConnector<HttpConnector> {
        let builder = HttpsConnectorBuilder::new()
            .with_tls_config(self.config.clone())
            .https_or_http();
        if self.http2 {
            builder.enable_http2().wrap_connector(http)
        } else {
            builder.enable_http1().wrap_connector(http)
        }
    }
}
