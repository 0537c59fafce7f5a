use std::{sync::Arc, time::Duration};

use mcp_ultra_domain::{Login, ports::ReplayStore};

use super::{ApiKeySettings, CertificateRule};

/// An algorithm that issuers may sign by (RFC 7518, RFC 8037). HMAC is not among them: a public
/// key can't be taken for a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
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
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// ECDSA with P-384 and SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// By the name of `alg`.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "EdDSA" => Self::EdDsa,
            _ => return None,
        })
    }

    pub(super) fn jsonwebtoken(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Rs384 => jsonwebtoken::Algorithm::RS384,
            Self::Rs512 => jsonwebtoken::Algorithm::RS512,
            Self::Ps256 => jsonwebtoken::Algorithm::PS256,
            Self::Ps384 => jsonwebtoken::Algorithm::PS384,
            Self::Ps512 => jsonwebtoken::Algorithm::PS512,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Es384 => jsonwebtoken::Algorithm::ES384,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

/// Everything that is configured of identity.
#[derive(Debug, Clone)]
pub struct IdentitySettings {
    /// The resource identifier (RFC 9728, RFC 8707): the URL of the endpoint as clients know it.
    pub resource: String,
    /// Who is trusted to issue tokens.
    pub issuers: Vec<IssuerSettings>,
    /// A secret that tokens are signed by, shared with whoever makes them.
    pub secret: Option<SharedSecret>,
    /// API keys, where they are accepted.
    pub api_keys: Option<ApiKeySettings>,
    /// The scopes that every call needs.
    pub required_scopes: Vec<String>,
    /// What the login of every access token must be like.
    pub login: LoginRule,
    /// Who clients are by their certificates.
    pub certificates: Vec<CertificateRule>,
    /// `scopes_supported` of the metadata.
    pub supported_scopes: Vec<String>,
    /// By how much the clocks of issuers may differ from ours.
    pub clock_skew: Duration,
    /// How long keys are used, and how often they are asked for.
    pub times: KeyTimes,
    /// How many verified tokens are remembered.
    pub cached_tokens: usize,
    /// How tokens are bound to the keys of clients.
    pub dpop: DpopSettings,
}

/// What the login must be like that an access token was issued for (RFC 9470).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoginRule {
    /// The classes of which it must have satisfied one (`acr`), the preferred first; any where there
    /// are none.
    pub acr_values: Vec<String>,
    /// How long ago it may have been (`auth_time`), besides the skew of clocks.
    pub max_age: Option<Duration>,
}

impl LoginRule {
    /// When a login is too long ago, since the Unix epoch.
    pub(super) fn ends(&self, login: &Login, skew: Duration) -> Option<Duration> {
        let max_age = self.max_age?;
        let time = login.auth_time.unwrap_or_default();
        Some(time.saturating_add(max_age).saturating_add(skew))
    }

    /// Whether a login is like that.
    pub(super) fn holds(&self, login: &Login, now: Duration, skew: Duration) -> bool {
        let strong = self.acr_values.is_empty()
            || login
                .acr
                .as_ref()
                .is_some_and(|acr| self.acr_values.contains(acr));
        let known = self.max_age.is_none() || login.auth_time.is_some();
        strong && known && self.ends(login, skew).is_none_or(|end| now < end)
    }
}

/// How tokens are bound to the keys of clients (RFC 9449).
#[derive(Clone)]
pub struct DpopSettings {
    /// Whether access tokens that are not are refused. API keys and client certificates are none.
    pub required: bool,
    /// How old a proof may be, besides the skew of clocks.
    pub max_age: Duration,
    /// Where the proofs are remembered that were used.
    pub used: Arc<dyn ReplayStore>,
}

impl std::fmt::Debug for DpopSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DpopSettings")
            .field("required", &self.required)
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
}

/// One issuer.
#[derive(Debug, Clone)]
pub struct IssuerSettings {
    /// Its identifier, exactly as in `iss`.
    pub issuer: String,
    /// The audiences that are accepted instead of the resource identifier.
    pub audiences: Vec<String>,
    /// Where its keys are; without it they are found by discovery.
    pub jwks_uri: Option<String>,
    /// What it may sign by.
    pub algorithms: Vec<Algorithm>,
    /// Where its tokens say what a principal is.
    pub claims: ClaimPaths,
}

/// A secret for HS256, of at least 32 bytes (RFC 7518, 3.2).
#[derive(Clone)]
pub struct SharedSecret {
    /// The secret itself.
    pub secret: Vec<u8>,
    /// What its tokens have as `iss`.
    pub issuer: String,
    /// Where its tokens say what a principal is.
    pub claims: ClaimPaths,
}

impl std::fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedSecret")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// Names of claims; a dot leads into an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaimPaths {
    /// The tenant; a token without it is refused. Without the path all are of the default tenant.
    pub tenant: Option<String>,
    /// The roles.
    pub roles: Option<String>,
    /// The scopes, instead of `scope` and `scp`.
    pub scopes: Option<String>,
    /// `user`, `agent` or `workload`.
    pub kind: Option<String>,
}

/// How long keys are used, and how often they are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyTimes {
    /// How often they are asked for while they are in use.
    pub refresh: Duration,
    /// How long they serve where the issuer no longer answers.
    pub max_age: Duration,
    /// The least time between two attempts, whatever asks for them.
    pub retry: Duration,
    /// How long one attempt may take, discovery included.
    pub timeout: Duration,
}
