//! Where `${secret:NAME}` is looked up.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::{period::Period, text::Secret, validate::Findings};

/// A value written `${secret:NAME}` is looked up in these places, in this order: the folder, the
/// environment variable `MCP_ULTRA_SECRET_NAME`, Vault. The first that has it decides. It is read
/// again while the gateway runs, and used without a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SecretsSection {
    /// A folder with one file a secret, such as a mounted Kubernetes Secret: `crm` is the file
    /// `crm`, and `crm#token` the file `token` in the folder `crm`.
    pub folder: Option<String>,
    /// A Vault or OpenBao server: `crm` is the key `value` of the secret at the path `crm`, and
    /// `crm#token` its key `token`.
    pub vault: Option<VaultSettings>,
    /// How often secrets are read again. Those of a folder are read at once when it changes.
    pub refresh: Period,
    /// How long the previous value of `auth.jwt_secret` and of `session.keys` is still accepted
    /// after a change.
    pub grace: Period,
}

impl Default for SecretsSection {
    fn default() -> Self {
        Self {
            folder: None,
            vault: None,
            refresh: Period::from_secs(60),
            grace: Period::from_secs(10 * 60),
        }
    }
}

/// A server with the Vault API and a key/value engine of version 2. One of `token`, `app_role` and
/// `kubernetes` says how to log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VaultSettings {
    /// Its address, such as `https://vault.example.com:8200`.
    pub address: String,
    /// Where the key/value engine is mounted.
    #[serde(default = "kv")]
    pub mount: String,
    /// The namespace, where the server has some.
    #[serde(default)]
    pub namespace: Option<String>,
    /// A PEM file of certificate authorities to trust, besides the usual ones.
    #[serde(default)]
    pub ca_file: Option<String>,
    /// How long one request may take.
    #[serde(default = "timeout")]
    pub timeout: Period,
    /// Log in with a token. It is renewed where the server allows it.
    #[serde(default)]
    pub token: Option<Secret>,
    /// Log in as an application.
    #[serde(default)]
    pub app_role: Option<AppRole>,
    /// Log in with the service account of the pod.
    #[serde(default)]
    pub kubernetes: Option<KubernetesLogin>,
}

/// The `AppRole` login of Vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AppRole {
    /// The id of the role.
    pub role_id: Secret,
    /// The secret that goes with it.
    pub secret_id: Secret,
    /// Where this login is mounted.
    #[serde(default = "approle")]
    pub mount: String,
}

/// The Kubernetes login of Vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KubernetesLogin {
    /// The role.
    pub role: String,
    /// The file with the token of the service account. It is read for each login.
    #[serde(default = "service_account")]
    pub token_file: String,
    /// Where this login is mounted.
    #[serde(default = "kubernetes")]
    pub mount: String,
}

fn kv() -> String {
    "secret".to_owned()
}

fn approle() -> String {
    "approle".to_owned()
}

fn kubernetes() -> String {
    "kubernetes".to_owned()
}

fn service_account() -> String {
    "/var/run/secrets/kubernetes.io/serviceaccount/token".to_owned()
}

const fn timeout() -> Period {
    Period::from_secs(5)
}

impl SecretsSection {
    pub(crate) fn check(&self, findings: &mut Findings) {
        findings.not_zero("secrets.refresh", self.refresh);
        if let Some(folder) = &self.folder
            && !Path::new(folder).is_dir()
            && !findings.placeholders()
        {
            findings.report(
                "secrets.folder",
                format!("`{folder}` is not a folder that can be read"),
                "mount the secrets there, or name another folder",
            );
        }
        if let Some(vault) = &self.vault {
            vault.check(findings);
        }
    }
}

impl VaultSettings {
    fn check(&self, findings: &mut Findings) {
        let usable = Url::parse(&self.address).is_ok_and(|url| is_usable(&url));
        if !usable {
            findings.report(
                "secrets.vault.address",
                "it is not an https URL of a server",
                "write it as https://vault.example.com:8200; http is for loopback addresses only",
            );
        }
        let logins = [
            self.token.is_some(),
            self.app_role.is_some(),
            self.kubernetes.is_some(),
        ];
        if logins.iter().filter(|set| **set).count() != 1 {
            findings.report(
                "secrets.vault",
                "one login is needed, and no more than one",
                "set one of token, app_role and kubernetes",
            );
        }
        let mounts = [
            ("secrets.vault.mount", Some(&self.mount)),
            (
                "secrets.vault.app_role.mount",
                self.app_role.as_ref().map(|login| &login.mount),
            ),
            (
                "secrets.vault.kubernetes.mount",
                self.kubernetes.as_ref().map(|login| &login.mount),
            ),
        ];
        for (path, mount) in mounts {
            if mount.is_some_and(|mount| !crate::secret::is_path(mount)) {
                findings.report(
                    path,
                    "it is not the path of a mount",
                    "use letters, digits, dash, underscore, dot and slash between them",
                );
            }
        }
        findings.not_zero("secrets.vault.timeout", self.timeout);
    }
}

/// Secrets that come over plain HTTP are anyone's, so that is for this machine alone.
fn is_usable(url: &Url) -> bool {
    let local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return false,
    };
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    plain && (url.scheme() == "https" || (url.scheme() == "http" && local))
}
