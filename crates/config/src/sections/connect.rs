//! How people connect servers to their accounts there, in a browser.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    auth::{is_plain, is_safe, is_web},
    servers::ClientAuthMethod,
};
use crate::{period::Period, text::Secret, validate::Findings};

/// For servers whose `credentials` are of the kind `authorization_code`. Whoever is asked to connect
/// one opens a page of the gateway, logs in there as the one who has called, and then grants access
/// at the server's authorization server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectSection {
    /// Where browsers reach the gateway; `/connect/callback` there is the redirect URI to register
    /// with every authorization server. Without it: `auth.resource` without its `/mcp`.
    pub public_url: Option<String>,
    /// Where callers log in to show who they are, one for each of `auth.issuers` whose callers may
    /// connect servers.
    pub logins: Vec<Login>,
}

/// The gateway as a client of an issuer, for logins (`OpenID` Connect).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The issuer, exactly as in `auth.issuers`.
    pub issuer: String,
    /// What the gateway is called there.
    pub client_id: String,
    /// The secret of that client.
    pub client_secret: Secret,
    /// How the secret is sent.
    #[serde(default)]
    pub client_auth: ClientAuthMethod,
    /// How long a request to the issuer may take.
    #[serde(default = "timeout")]
    pub timeout: Period,
}

const fn timeout() -> Period {
    Period::from_secs(10)
}

impl ConnectSection {
    /// Where browsers reach the gateway, without a slash at the end: as configured, else where
    /// clients of `resource` do.
    pub fn base(&self, resource: Option<&str>) -> Option<String> {
        let (url, path) = match (&self.public_url, resource) {
            (Some(url), _) => (url.as_str(), ""),
            (None, resource) => (resource?, "/mcp"),
        };
        let url = url.trim_end_matches('/');
        Some(url.strip_suffix(path).unwrap_or(url).to_owned())
    }

    pub(super) fn check(&self, issuers: &[&str], findings: &mut Findings) {
        let usable = |url: &String| {
            is_plain(url) && Url::parse(url).is_ok_and(|url| is_web(&url) && is_safe(&url))
        };
        if let Some(url) = self.public_url.as_ref().filter(|url| !usable(url)) {
            findings.report(
                "connect.public_url",
                format!("`{url}` is not an https URL"),
                "write where browsers reach the gateway, such as https://mcp.example.com; http is for loopback addresses only",
            );
        }
        for (index, login) in self.logins.iter().enumerate() {
            let at = format!("connect.logins[{index}]");
            if !issuers.contains(&login.issuer.as_str()) {
                findings.report(
                    format!("{at}.issuer"),
                    format!(
                        "`{}` is none of auth.issuers, so nobody is known by it",
                        login.issuer
                    ),
                    "write it exactly as in auth.issuers",
                );
            }
            let before = &self.logins[..index];
            if before.iter().any(|other| other.issuer == login.issuer) {
                findings.report(
                    format!("{at}.issuer"),
                    format!("two logins are at `{}`", login.issuer),
                    "keep one of them",
                );
            }
            if login.client_id.is_empty() {
                findings.report(
                    format!("{at}.client_id"),
                    "it is empty",
                    "write it as the issuer does",
                );
            }
            if login.client_secret.expose().is_empty() && !findings.placeholders() {
                findings.report(
                    format!("{at}.client_secret"),
                    "it is empty",
                    "write `client_secret: ${secret:NAME}`",
                );
            }
            findings.not_zero(&format!("{at}.timeout"), login.timeout);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_come_where_clients_do_unless_said_otherwise() {
        let base = |public: Option<&str>, resource| {
            let section = ConnectSection {
                public_url: public.map(str::to_owned),
                logins: Vec::new(),
            };
            section.base(resource)
        };
        let mcp = Some("https://mcp.example.com/mcp");
        assert_eq!(base(None, mcp).as_deref(), Some("https://mcp.example.com"));
        let below = Some("https://example.com/tools/mcp/");
        assert_eq!(
            base(None, below).as_deref(),
            Some("https://example.com/tools")
        );
        let other = Some("https://people.example.com/");
        assert_eq!(
            base(other, mcp).as_deref(),
            Some("https://people.example.com")
        );
        assert_eq!(base(None, None), None);
    }
}
