use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{period::Period, validate::Findings};

/// With a certificate and its key the gateway speaks TLS on its port, and nothing else. The files
/// are PEM, and are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSection {
    /// The file of the certificate, followed by those of its authorities without the root.
    pub certificate: Option<String>,
    /// The file of the private key.
    pub key: Option<String>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
    /// The file of the authorities that sign the certificates of clients.
    pub client_ca: Option<String>,
    /// The file of the revocation lists of these authorities.
    pub client_crl: Option<String>,
    /// For how long browsers are told to use this host over https alone (`Strict-Transport-Security`);
    /// 0s tells them nothing.
    pub hsts: Period,
    /// Whether browsers are told the same of all hosts below this one (`includeSubDomains`).
    pub hsts_include_subdomains: bool,
}

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// They are not asked.
    #[default]
    None,
    /// They are asked, and may have none.
    Optional,
    /// Without one there is no connection.
    Required,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    Tls13,
}

/// Who ends TLS where the gateway does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Terminator {
    /// A reverse proxy or load balancer in front of it.
    Proxy,
    /// The sidecar or node proxy of a service mesh.
    Mesh,
}

impl Default for TlsSection {
    fn default() -> Self {
        Self {
            certificate: None,
            key: None,
            min_version: TlsVersion::default(),
            client_auth: ClientAuth::default(),
            client_ca: None,
            client_crl: None,
            hsts: Period::from_secs(365 * 24 * 60 * 60),
            hsts_include_subdomains: true,
        }
    }
}

impl TlsSection {
    /// Whether TLS is spoken.
    pub fn is_on(&self) -> bool {
        self.certificate.is_some() && self.key.is_some()
    }

    pub(super) fn check(&self, findings: &mut Findings) {
        let missing = match (&self.certificate, &self.key) {
            (Some(_), None) => Some("key"),
            (None, Some(_)) => Some("certificate"),
            (None, None) if *self != Self::default() => Some("certificate"),
            _ => None,
        };
        if let Some(missing) = missing {
            findings.report(
                format!("server.tls.{missing}"),
                "it is missing, so TLS can't be spoken",
                "name the PEM files of both the certificate and its key",
            );
        }
        for (key, file) in [
            ("certificate", &self.certificate),
            ("key", &self.key),
            ("client_ca", &self.client_ca),
            ("client_crl", &self.client_crl),
        ] {
            findings.file(&format!("server.tls.{key}"), file.as_deref());
        }
        match (self.client_auth, &self.client_ca) {
            (ClientAuth::None, Some(_)) => findings.report(
                "server.tls.client_auth",
                "clients are not asked for certificates, so client_ca is of no use",
                "set it to optional or required",
            ),
            (ClientAuth::Optional | ClientAuth::Required, None) => findings.report(
                "server.tls.client_ca",
                "it is missing: the certificates of clients can't be checked",
                "name the PEM file of the authorities that sign them",
            ),
            _ => {}
        }
        if self.client_crl.is_some() && self.client_ca.is_none() {
            findings.report(
                "server.tls.client_crl",
                "there are no authorities whose lists these are",
                "name them in server.tls.client_ca",
            );
        }
    }
}
