//! What the gateway authenticates with at one server: access tokens of an authorization server.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;

use super::Upstream;
use crate::{
    error::Warning,
    period::Period,
    sections::auth::{check_scopes, is_plain, is_safe, is_web},
    text::{Secret, UpstreamUrl},
    validate::Findings,
};

/// The access tokens that requests to one server are made with. They are got from an authorization
/// server when they are needed, kept, and replaced before they end. What callers authenticate with
/// at the gateway is never sent to the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialsSection {
    /// How they are got.
    pub kind: CredentialsKind,
    /// The authorization server, exactly as its metadata names it. Its token endpoint is found
    /// there (RFC 8414 or `OpenID` Connect), on the same host unless `outbound.allow_hosts` says
    /// otherwise. Either this or `token_endpoint`. `outbound.ca_file` is trusted for both.
    #[serde(default)]
    pub issuer: Option<String>,
    /// The token endpoint. Either this or `issuer`.
    #[serde(default)]
    pub token_endpoint: Option<String>,
    /// What the gateway is called at the authorization server.
    pub client_id: String,
    /// The secret of that client. A changed one is used at once, and tokens stay.
    #[serde(default)]
    pub client_secret: Option<Secret>,
    /// How the secret is sent.
    #[serde(default)]
    pub client_auth: ClientAuthMethod,
    /// The scopes to ask for. Without any, the authorization server decides.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The scopes that a caller may be asked for besides, where the server says that a call needs
    /// them (RFC 6750, `insufficient_scope`; MCP, step-up authorization). What is not listed here
    /// nor in `scopes` is refused with an error, so that no server gets more than you agree to. For
    /// `authorization_code` only.
    #[serde(default)]
    pub step_up_scopes: Vec<String>,
    /// The resource that tokens are to be good for (RFC 8707). Without it: the URL of the server
    /// without its query, as MCP asks for. `none`: not sent, for authorization servers that refuse
    /// it.
    #[serde(default)]
    pub resource: ResourceIndicator,
    /// The logical name of the server at the authorization server (RFC 8693, `audience`). For
    /// `token_exchange` only.
    #[serde(default)]
    pub audience: Option<String>,
    /// The type of token to ask for (RFC 8693, `requested_token_type`). Without it: an access
    /// token. For `token_exchange` only.
    #[serde(default)]
    pub requested_token_type: Option<String>,
    /// The issuers whose tokens are sent for exchange. Without it: all of `auth.issuers`, and those
    /// that are signed with `auth.jwt_secret`. For `token_exchange` only.
    #[serde(default)]
    pub subject_issuers: Vec<String>,
    /// What the server's lists are read with, which nobody has asked for. For `token_exchange` and
    /// `authorization_code` only.
    #[serde(default)]
    pub catalog: CatalogCredentials,
    /// Whose grants the lists may be read with: a person who is let in for that alone, say. Without
    /// any: everybody's. For `catalog: first_grant` only.
    #[serde(default)]
    pub catalog_of: Vec<CatalogLender>,
    /// How long a request for a token may take.
    #[serde(default = "timeout")]
    pub timeout: Period,
}

const fn timeout() -> Period {
    Period::from_secs(10)
}

/// How access tokens for a server are got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialsKind {
    /// The gateway's own, for all callers alike (RFC 6749, section 4.4).
    ClientCredentials,
    /// One for each caller, in exchange for the access token that they have shown (RFC 8693).
    /// Callers without one (API keys, certificates) can't use the server.
    TokenExchange,
    /// One for each caller, who grants it in a browser (OAuth 2.1, section 4.1, with PKCE) when
    /// they use the server for the first time. Needs `connect` and `storage`. Callers who don't log
    /// in at one of `connect.logins` can't use the server.
    AuthorizationCode,
}

/// How a client authenticates at a token endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuthMethod {
    /// In the header `Authorization` (`client_secret_basic`).
    #[default]
    Basic,
    /// In the body (`client_secret_post`).
    Post,
}

/// What lists are read with where every caller has a token of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CatalogCredentials {
    /// With a token of the gateway's own, by client credentials of the same client.
    #[default]
    ClientCredentials,
    /// Without one, where the server shows its lists to everyone.
    None,
    /// With what one of the callers has granted: the one whose grant for the server is the oldest.
    /// What the server lists for that person is listed for all callers, of all tenants, as far as
    /// policies permit; each call is made with its own caller's grant all the same. Nothing is
    /// listed before somebody has connected the server by a link that was made for them
    /// (`mcp-ultra grant link`). For `authorization_code` only.
    FirstGrant,
}

/// A person whose grant a server's lists may be read with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CatalogLender {
    /// Where the person logs in (`connect.logins`).
    pub issuer: String,
    /// The person's `sub` there.
    pub subject: String,
}

/// Which resource tokens are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ResourceIndicator {
    /// The URL of the server.
    #[default]
    Server,
    /// None is named.
    None,
    /// This one.
    Uri(String),
}

impl Serialize for ResourceIndicator {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Server => serializer.serialize_none(),
            Self::None => serializer.serialize_str("none"),
            Self::Uri(uri) => serializer.serialize_str(uri),
        }
    }
}

impl<'de> Deserialize<'de> for ResourceIndicator {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Option::<String>::deserialize(deserializer)? {
            None => Self::Server,
            Some(text) if text == "none" => Self::None,
            Some(text) => Self::Uri(text),
        })
    }
}

impl JsonSchema for ResourceIndicator {
    fn schema_name() -> Cow<'static, str> {
        "ResourceIndicator".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "null"],
            "description": "`none`, or a URL without fragment.",
        })
    }
}

impl CredentialsSection {
    /// The resource that tokens for the server at `url` are asked for (RFC 8707); `None` where none
    /// is named.
    pub fn resource_of(&self, url: &UpstreamUrl) -> Option<String> {
        match &self.resource {
            ResourceIndicator::None => None,
            ResourceIndicator::Uri(uri) => Some(uri.clone()),
            ResourceIndicator::Server => Some(Self::server_uri(url)),
        }
    }

    /// What the server at `url` is called (MCP, Authorization, Canonical Server URI).
    pub fn server_uri(url: &UpstreamUrl) -> String {
        // A query may hold keys, and says nothing of which server it is.
        let mut url = url.url().clone();
        url.set_query(None);
        // Without a slash that means nothing.
        let text = url.as_str();
        let bare = if url.path() == "/" {
            text.trim_end_matches('/')
        } else {
            text
        };
        bare.to_owned()
    }

    /// Whether each caller has tokens of their own.
    pub fn is_per_caller(&self) -> bool {
        self.kind != CredentialsKind::ClientCredentials
    }
}

/// What an operator should know of the section of one server.
pub(super) fn warning(server: &Upstream) -> Option<Warning> {
    let section = server.credentials.as_ref()?;
    (section.catalog == CatalogCredentials::FirstGrant).then(|| Warning {
        message: format!(
            "the lists of the server \"{}\" are read with what one person has granted (credentials.catalog: first_grant), and everyone is shown them, in all tenants, as far as policies permit",
            server.name
        ),
        help: Some("where people must not see each other's tools, prompts or resources, forbid them by a policy, or give each tenant a server of its own".into()),
    })
}

/// Checks the section of one server, and what it can't be together with.
pub(super) fn check(server: &Upstream, path: &str, findings: &mut Findings) {
    let Some(section) = &server.credentials else {
        return;
    };
    let at = format!("{path}.credentials");
    if server.url.is_none() {
        findings.report(
            &at,
            "`credentials` is for a server that is an address",
            "remove it; a program gets what it needs by `env`",
        );
    }
    if let Some(url) = server.url.as_ref().map(UpstreamUrl::url)
        && !is_safe(url)
        && !findings.placeholders()
    {
        // RFC 6750, 5.3.
        findings.report(
            format!("{path}.url"),
            "access tokens would cross the network in the clear",
            "write https; http is for loopback addresses only, where a proxy or a mesh may speak TLS",
        );
    }
    let authorization = |name: &&String| name.eq_ignore_ascii_case("authorization");
    if let Some(name) = server.headers.keys().find(authorization) {
        findings.report(
            format!("{path}.headers.{name}"),
            "the header carries the access tokens of `credentials`",
            "remove it, or `credentials`",
        );
    }
    if server.shared && section.is_per_caller() {
        findings.report(
            format!("{path}.shared"),
            "each caller has an access token of their own, so they can't share a session",
            "remove `shared`, or use client_credentials",
        );
    }
    section.check_endpoint(&at, findings);
    section.check_client(&at, findings);
    check_scopes(&format!("{at}.scopes"), section.scopes.iter(), findings);
    let step_up = section.step_up_scopes.iter();
    check_scopes(&format!("{at}.step_up_scopes"), step_up, findings);
    section.check_exchange(&at, findings);
    if let ResourceIndicator::Uri(uri) = &section.resource
        && !Url::parse(uri).is_ok_and(|url| url.fragment().is_none())
    {
        findings.report(
            format!("{at}.resource"),
            format!("`{uri}` is not an absolute URI without fragment"),
            "write it as the authorization server knows it, such as https://crm.example.com/mcp; or `none`",
        );
    }
    findings.not_zero(&format!("{at}.timeout"), section.timeout);
}

impl CredentialsSection {
    fn check_endpoint(&self, at: &str, findings: &mut Findings) {
        let (key, url) = match (&self.issuer, &self.token_endpoint) {
            (Some(issuer), None) => ("issuer", issuer),
            (None, Some(endpoint)) => ("token_endpoint", endpoint),
            (both, _) => {
                let what = if both.is_some() { "both" } else { "neither" };
                return findings.report(
                    at,
                    format!("tokens come from an issuer or a token endpoint, this has {what}"),
                    "name the authorization server with `issuer: https://…`, or its `token_endpoint`",
                );
            }
        };
        if self.kind == CredentialsKind::AuthorizationCode && self.issuer.is_none() {
            return findings.report(
                format!("{at}.token_endpoint"),
                "a token endpoint alone does not say where people grant access, nor who has answered them",
                "name the authorization server with `issuer: https://…`",
            );
        }
        let plain = key == "token_endpoint" || is_plain(url);
        let usable = |url: Url| is_web(&url) && is_safe(&url) && url.fragment().is_none();
        let usable = plain && Url::parse(url).is_ok_and(usable);
        if !usable && !findings.placeholders() {
            findings.report(
                format!("{at}.{key}"),
                format!("`{url}` is not an https URL"),
                "secrets and tokens are sent there: write https, such as https://login.example.com; http is for loopback addresses only",
            );
        }
    }

    fn check_client(&self, at: &str, findings: &mut Findings) {
        // RFC 6749, appendix A.1.
        let printable = |text: &str| text.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
        if self.client_id.is_empty() || !printable(&self.client_id) {
            findings.report(
                format!("{at}.client_id"),
                "it is empty, or has characters that an id can't have",
                "write it as the authorization server does",
            );
        }
        match &self.client_secret {
            Some(secret) if !secret.expose().is_empty() => {}
            _ if findings.placeholders() => {}
            _ => findings.report(
                format!("{at}.client_secret"),
                "it is missing, and whoever knows the client's id could be given tokens",
                "write `client_secret: ${secret:NAME}`",
            ),
        }
    }

    fn check_exchange(&self, at: &str, findings: &mut Findings) {
        if self.catalog == CatalogCredentials::FirstGrant
            && self.kind == CredentialsKind::TokenExchange
        {
            findings.report(
                format!("{at}.catalog"),
                "`first_grant` is for the kind authorization_code",
                "use client_credentials, or none where the server shows its lists to everyone",
            );
        }
        if !self.catalog_of.is_empty() && self.catalog != CatalogCredentials::FirstGrant {
            findings.report(
                format!("{at}.catalog_of"),
                "`catalog_of` says whose grants `catalog: first_grant` may use",
                "remove it, or write `catalog: first_grant`",
            );
        }
        for (index, person) in self.catalog_of.iter().enumerate() {
            if person.issuer.is_empty() || person.subject.is_empty() {
                findings.report(
                    format!("{at}.catalog_of[{index}]"),
                    "it names nobody",
                    "write the issuer of a login and the person's `sub` there",
                );
            }
        }
        let exchanges = self.kind == CredentialsKind::TokenExchange;
        let catalog = self.catalog != CatalogCredentials::default();
        for (key, misplaced, kinds) in [
            (
                "audience",
                self.audience.is_some() && !exchanges,
                "token_exchange",
            ),
            (
                "requested_token_type",
                self.requested_token_type.is_some() && !exchanges,
                "token_exchange",
            ),
            (
                "subject_issuers",
                !self.subject_issuers.is_empty() && !exchanges,
                "token_exchange",
            ),
            (
                "step_up_scopes",
                !self.step_up_scopes.is_empty() && self.kind != CredentialsKind::AuthorizationCode,
                "authorization_code",
            ),
            (
                "catalog",
                catalog && !self.is_per_caller(),
                "token_exchange or authorization_code",
            ),
        ] {
            if misplaced {
                findings.report(
                    format!("{at}.{key}"),
                    format!("`{key}` is for the kind {kinds}"),
                    "remove it",
                );
            }
        }
        if let Some(kind) = &self.requested_token_type
            && Url::parse(kind).is_err()
        {
            findings.report(
                format!("{at}.requested_token_type"),
                format!("`{kind}` is not a type of token"),
                "write a URI of RFC 8693, section 3, such as urn:ietf:params:oauth:token-type:access_token",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resource_is_the_server_unless_another_is_named() {
        let section = |resource| CredentialsSection {
            kind: CredentialsKind::ClientCredentials,
            issuer: None,
            token_endpoint: None,
            client_id: "gateway".into(),
            client_secret: None,
            client_auth: ClientAuthMethod::Basic,
            scopes: Vec::new(),
            step_up_scopes: Vec::new(),
            resource,
            audience: None,
            requested_token_type: None,
            subject_issuers: Vec::new(),
            catalog: CatalogCredentials::default(),
            catalog_of: Vec::new(),
            timeout: timeout(),
        };
        let of = |url: &str, resource| {
            let url = UpstreamUrl::parse(url).unwrap();
            section(resource).resource_of(&url)
        };
        for (url, resource) in [
            ("https://CRM.example.com", "https://crm.example.com"),
            ("https://crm.example.com/", "https://crm.example.com"),
            (
                "https://crm.example.com:8443/mcp?key=k",
                "https://crm.example.com:8443/mcp",
            ),
            (
                "https://crm.example.com/mcp/",
                "https://crm.example.com/mcp/",
            ),
        ] {
            let of = of(url, ResourceIndicator::Server);
            assert_eq!(of.as_deref(), Some(resource), "{url}");
        }
        let url = "https://crm.example.com/mcp";
        assert_eq!(of(url, ResourceIndicator::None), None);
        let other = ResourceIndicator::Uri("urn:crm".into());
        assert_eq!(of(url, other).as_deref(), Some("urn:crm"));
    }
}
