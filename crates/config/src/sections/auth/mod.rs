//! Who may call: access tokens of identity providers, ones signed by a secret, API keys.

mod certificates;
mod dpop;

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

pub use self::{
    certificates::{CallerKind, CertificateRule},
    dpop::DpopSettings,
};
use super::nonzero;
use crate::{period::Period, text::Secret, validate::Findings};

/// The least bytes of a secret for HS256 (RFC 7518, section 3.2).
const LEAST_SECRET: usize = 32;
/// The most that clocks may differ: more is a broken clock.
const MOST_SKEW: Period = Period::from_secs(10 * 60);

/// Without `issuers`, `jwt_secret` and `api_keys` everyone is answered, and is the same anonymous
/// caller. With one of them every request to the MCP endpoint needs an access token (OAuth 2.1,
/// MCP Authorization) or an API key in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuthSection {
    /// The URL of the MCP endpoint as clients know it, such as `https://mcp.example.com/mcp`:
    /// tokens must be meant for it (`aud`), and clients learn it from the metadata (RFC 9728).
    pub resource: Option<String>,
    /// The identity providers whose tokens are accepted.
    pub issuers: Vec<Issuer>,
    /// For small installations without an identity provider: tokens signed by HS256 with this
    /// secret of at least 32 bytes are accepted.
    pub jwt_secret: Option<Secret>,
    /// What the tokens signed with `jwt_secret` have as `iss`.
    pub jwt_issuer: String,
    /// Keys that the gateway issues itself (`mcp-ultra key create`).
    pub api_keys: ApiKeysSettings,
    /// Who clients are by the certificates that they show. A token that comes along decides instead.
    pub certificates: Vec<CertificateRule>,
    /// Tokens that are bound to a key of the client.
    pub dpop: DpopSettings,
    /// The scopes that every request needs; one without them gets 403 with their names.
    pub required_scopes: Vec<String>,
    /// The classes of logins (`acr`) of which every access token must name one, the preferred first.
    /// One that does not is answered 401 with them, so that its client asks its person for a
    /// stronger login (RFC 9470). API keys and client certificates are not concerned.
    pub acr_values: Vec<String>,
    /// How long ago the login (`auth_time`) of an access token may be, besides `clock_skew`. Where
    /// it was earlier, or is not said, the client is told to have its person log in again (RFC
    /// 9470). Streams end then too.
    pub max_age: Option<Period>,
    /// The scopes that clients may ask for (`scopes_supported` of the metadata). Without it: the
    /// required ones.
    pub scopes_supported: Option<Vec<String>>,
    /// Where tokens say what a caller is, for issuers that do not say otherwise.
    pub claims: ClaimPaths,
    /// By how much the clocks of issuers may differ from this one.
    pub clock_skew: Period,
    /// How the keys of issuers are read and kept.
    pub jwks: JwksSettings,
    /// How many verified tokens are remembered, so that they are not verified again.
    pub cached_tokens: NonZeroU32,
    /// A PEM file of certificate authorities to trust for issuers, besides the usual ones.
    pub ca_file: Option<String>,
}

/// An identity provider (authorization server).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// Its identifier: exactly what its tokens have as `iss`, such as `https://login.example.com`.
    pub issuer: String,
    /// The audiences that are accepted instead of `auth.resource`, for providers that can't put a
    /// URL there.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// Where its keys are. Without it they are found by discovery (RFC 8414 or `OpenID` Connect).
    #[serde(default)]
    pub jwks_uri: Option<String>,
    /// What its tokens may be signed by.
    #[serde(default = "SigningAlgorithm::usual")]
    pub algorithms: Vec<SigningAlgorithm>,
    /// Where its tokens say what a caller is, instead of `auth.claims`.
    #[serde(default)]
    pub claims: Option<ClaimPaths>,
}

/// Keys that the gateway issues itself, for callers without an identity provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ApiKeysSettings {
    /// Whether they are accepted. They are kept where `storage` says.
    pub enabled: bool,
    /// How often keys in use are read again: after this time a key that another process has
    /// changed or revoked is known to be.
    pub recheck: Period,
    /// How long keys in use serve while the store can't be read.
    pub max_age: Period,
}

impl Default for ApiKeysSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            recheck: Period::from_secs(10),
            max_age: Period::from_secs(10 * 60),
        }
    }
}

/// Names of claims. A dot leads into an object: `realm_access.roles`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClaimPaths {
    /// The tenant. A token without this claim is refused then; without the path all callers are of
    /// the tenant `default`.
    pub tenant: Option<String>,
    /// The roles, an array or words between spaces. Without it: `roles`.
    pub roles: Option<String>,
    /// The scopes. Without it: `scope`, else `scp`.
    pub scopes: Option<String>,
    /// The kind of caller: `user`, `agent` or `workload`. Without it: an agent where the subject is
    /// the client itself, else a user.
    pub kind: Option<String>,
}

/// How the keys of issuers (JSON Web Key Sets) are read and kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JwksSettings {
    /// How often keys in use are read again.
    pub refresh: Period,
    /// How long known keys serve while their issuer does not answer.
    pub max_age: Period,
    /// The least time between two attempts, also when tokens name unknown keys.
    pub retry: Period,
    /// How long one attempt may take, discovery included.
    pub timeout: Period,
}

/// How a token may be signed (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum SigningAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA with P-256.
    Es256,
    /// ECDSA with P-384.
    Es384,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl SigningAlgorithm {
    fn usual() -> Vec<Self> {
        vec![
            Self::Rs256,
            Self::Ps256,
            Self::Es256,
            Self::Es384,
            Self::EdDsa,
        ]
    }
}

impl Default for AuthSection {
    fn default() -> Self {
        Self {
            resource: None,
            issuers: Vec::new(),
            jwt_secret: None,
            jwt_issuer: "mcp-ultra".to_owned(),
            api_keys: ApiKeysSettings::default(),
            certificates: Vec::new(),
            dpop: DpopSettings::default(),
            required_scopes: Vec::new(),
            acr_values: Vec::new(),
            max_age: None,
            scopes_supported: None,
            claims: ClaimPaths::default(),
            clock_skew: Period::from_secs(60),
            jwks: JwksSettings::default(),
            cached_tokens: nonzero(10_000),
            ca_file: None,
        }
    }
}

impl Default for JwksSettings {
    fn default() -> Self {
        Self {
            refresh: Period::from_secs(5 * 60),
            max_age: Period::from_secs(24 * 60 * 60),
            retry: Period::from_secs(10),
            timeout: Period::from_secs(5),
        }
    }
}

impl AuthSection {
    /// Where the claims of tokens of an issuer are.
    pub fn claims_of(&self, issuer: &str) -> &ClaimPaths {
        let mut issuers = self.issuers.iter();
        let named = issuers.find(|known| known.issuer == issuer);
        named
            .and_then(|issuer| issuer.claims.as_ref())
            .unwrap_or(&self.claims)
    }

    /// Whether callers have to say who they are.
    pub fn is_on(&self) -> bool {
        !self.issuers.is_empty()
            || self.jwt_secret.is_some()
            || self.api_keys.enabled
            || !self.certificates.is_empty()
    }

    pub(super) fn check(&self, findings: &mut Findings) {
        if self.is_on() {
            self.check_resource(findings);
        } else if *self != Self::default() {
            findings.report(
                "auth",
                "there is nothing to check tokens with, so everyone would be answered",
                "add an issuer to auth.issuers, a rule to auth.certificates, set auth.jwt_secret or auth.api_keys.enabled; or remove the section",
            );
        }
        findings.file("auth.ca_file", self.ca_file.as_deref());
        for (index, issuer) in self.issuers.iter().enumerate() {
            self.check_issuer(index, issuer, findings);
        }
        certificates::check(&self.certificates, findings);
        dpop::check(self, findings);
        let short = |secret: &Secret| secret.expose().len() < LEAST_SECRET;
        if self.jwt_secret.as_ref().is_some_and(short) && !findings.placeholders() {
            findings.report(
                "auth.jwt_secret",
                "the secret is shorter than 32 bytes",
                "make one with: openssl rand -base64 32",
            );
        }
        let same = |issuer: &Issuer| issuer.issuer == self.jwt_issuer;
        if self.jwt_issuer.is_empty() || self.issuers.iter().any(same) {
            findings.report(
                "auth.jwt_issuer",
                "it must be a name, and not that of another issuer",
                "name whoever makes the tokens, such as mcp-ultra",
            );
        }
        check_scopes(
            "auth.required_scopes",
            self.required_scopes.iter(),
            findings,
        );
        self.check_login(findings);
        let supported = self.scopes_supported.iter().flatten();
        check_scopes("auth.scopes_supported", supported, findings);
        self.check_times(findings);
    }

    fn check_resource(&self, findings: &mut Findings) {
        let Some(resource) = &self.resource else {
            findings.report(
                "auth.resource",
                "it is missing: tokens must be meant for this gateway, by its URL",
                "set it to the URL of the endpoint as clients know it, such as https://mcp.example.com/mcp",
            );
            return;
        };
        let usable = is_plain(resource) && Url::parse(resource).is_ok_and(|url| is_web(&url));
        if !usable && !findings.placeholders() {
            findings.report(
                "auth.resource",
                format!("`{resource}` is not the URL of an endpoint"),
                "write scheme, host and path without query and fragment, such as https://mcp.example.com/mcp",
            );
        }
    }

    fn check_issuer(&self, index: usize, issuer: &Issuer, findings: &mut Findings) {
        let at = format!("auth.issuers[{index}]");
        let earlier = &self.issuers[..index];
        if earlier.iter().any(|other| other.issuer == issuer.issuer) {
            findings.report(
                format!("{at}.issuer"),
                format!("`{}` is there twice", issuer.issuer),
                "name each issuer once",
            );
        }
        let jwks_uri = issuer.jwks_uri.iter().map(|uri| ("jwks_uri", uri));
        for (key, url) in jwks_uri.chain([("issuer", &issuer.issuer)]) {
            // RFC 8414, section 2: https, without query and fragment. Keys that come over plain
            // HTTP are anyone's, so that is for this machine alone.
            let query = key == "jwks_uri" || is_plain(url);
            if !(query && Url::parse(url).is_ok_and(|url| is_web(&url) && is_safe(&url))) {
                findings.report(
                    format!("{at}.{key}"),
                    format!("`{url}` is not an https URL"),
                    "write it exactly as the provider does, such as https://login.example.com; http is for loopback addresses only",
                );
            }
        }
        if issuer.algorithms.is_empty() {
            findings.report(
                format!("{at}.algorithms"),
                "no algorithm is allowed, so no token could be accepted",
                "leave it out for the usual ones, or name some, such as [ES256, RS256]",
            );
        }
    }

    fn check_login(&self, findings: &mut Findings) {
        for (index, value) in self.acr_values.iter().enumerate() {
            let fine = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
            if value.is_empty() || !value.bytes().all(fine) {
                findings.report(
                    format!("auth.acr_values[{index}]"),
                    format!("`{value}` is not the name of a class of logins"),
                    "write one word without quotes, as the issuer has it in `acr`",
                );
            }
        }
        if let Some(max_age) = self.max_age {
            findings.not_zero("auth.max_age", max_age);
        }
        let asks = !self.acr_values.is_empty() || self.max_age.is_some();
        if asks && self.issuers.is_empty() && self.jwt_secret.is_none() {
            findings.report(
                "auth.acr_values",
                "there are no access tokens that could tell of a login",
                "add an issuer to auth.issuers, or leave acr_values and max_age out",
            );
        }
    }

    fn check_times(&self, findings: &mut Findings) {
        let jwks = &self.jwks;
        for (path, period) in [
            ("auth.jwks.refresh", jwks.refresh),
            ("auth.jwks.max_age", jwks.max_age),
            ("auth.jwks.retry", jwks.retry),
            ("auth.jwks.timeout", jwks.timeout),
            ("auth.api_keys.recheck", self.api_keys.recheck),
        ] {
            findings.not_zero(path, period);
        }
        if jwks.max_age < jwks.refresh {
            findings.report(
                "auth.jwks.max_age",
                "keys would end before they are read again",
                "make it longer than auth.jwks.refresh",
            );
        }
        if self.api_keys.max_age < self.api_keys.recheck {
            findings.report(
                "auth.api_keys.max_age",
                "keys would end before they are read again",
                "make it longer than auth.api_keys.recheck",
            );
        }
        if self.clock_skew > MOST_SKEW {
            findings.report(
                "auth.clock_skew",
                format!("{} is longer than {MOST_SKEW}", self.clock_skew),
                "synchronise the clocks, and allow for a minute",
            );
        }
    }
}

/// Whether a URL has neither query nor fragment, nor what can't stand in a header between quotes.
pub(in crate::sections) fn is_plain(url: &str) -> bool {
    !url.contains(['?', '#', '"', '\\', ' ']) && url.is_ascii()
}

pub(in crate::sections) fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
}

pub(in crate::sections) fn is_safe(url: &Url) -> bool {
    url.scheme() == "https"
        || match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
}

/// Scopes are words of the characters of RFC 6749, section 3.3.
pub(in crate::sections) fn check_scopes<'a>(
    path: &str,
    scopes: impl Iterator<Item = &'a String>,
    findings: &mut Findings,
) {
    for (index, scope) in scopes.enumerate() {
        let fine = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        if scope.is_empty() || !scope.bytes().all(fine) {
            findings.report(
                format!("{path}[{index}]"),
                format!("`{scope}` is not a scope"),
                "write one word without quotes, such as mcp:tools",
            );
        }
    }
}
