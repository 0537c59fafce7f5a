use std::{sync::Arc, time::Duration};

use http::Uri;
use secrecy::SecretString;

use super::Granted;

/// How tokens for one upstream are got.
#[derive(Clone, Debug)]
pub struct CredentialSettings {
    /// Where and as whom they are asked for.
    pub client: ClientSettings,
    /// What for.
    pub grant: Grant,
    /// The scopes that are asked for (RFC 6749, 3.3).
    pub scopes: Vec<String>,
    /// The resource that they are to be good for (RFC 8707, 2).
    pub resource: Option<String>,
    /// Where they are sent to.
    pub url: String,
}

/// The gateway as a client of an authorization server.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// The token endpoint.
    pub place: EndpointPlace,
    /// `client_id`
    pub id: String,
    /// `client_secret`; without it the client is a public one.
    pub secret: Option<SecretString>,
    /// How the secret is sent.
    pub auth: ClientAuth,
    /// How long a request may take, from finding the endpoint to the last byte of its answer.
    pub timeout: Duration,
}

/// Where a token endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointPlace {
    /// There.
    Given(Uri),
    /// Where the metadata of this issuer says (RFC 8414; `OpenID` Connect Discovery).
    Issuer(String),
}

/// How a client authenticates at a token endpoint (RFC 6749, 2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// In the header `Authorization`.
    Basic,
    /// In the body.
    Post,
}

/// What tokens are asked for with.
#[derive(Clone, Debug)]
pub enum Grant {
    /// The gateway's own, for all callers (RFC 6749, 4.4).
    ClientCredentials,
    /// The token of each caller in exchange (RFC 8693).
    TokenExchange {
        /// `audience`
        audience: Option<String>,
        /// `requested_token_type`
        requested: Option<String>,
        /// Whose tokens are exchanged, by the issuer of the principal; empty: all.
        issuers: Vec<String>,
        /// Whether the gateway has a token of its own where it asks on nobody's behalf: for the
        /// catalog.
        own: bool,
    },
    /// What each caller has granted in a browser (OAuth 2.1, 4.1).
    AuthorizationCode {
        /// Where that is kept.
        granted: Arc<dyn Granted>,
        /// The scopes that may be asked for besides, where the upstream says that it needs them.
        step_up: Vec<String>,
        /// As of [`Grant::TokenExchange`].
        own: bool,
        /// Whose grants may be lent it there instead; `None`: nobody's.
        lenders: Option<Lenders>,
    },
}

/// Whose grants may be lent for what nobody has asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lenders {
    /// Those of everybody.
    Everybody,
    /// Those of these people: issuer and subject.
    These(Vec<(String, String)>),
}

impl Lenders {
    /// Whether the grant of this person is one of them.
    pub fn have(&self, issuer: &str, subject: &str) -> bool {
        match self {
            Self::Everybody => true,
            Self::These(people) => people
                .iter()
                .any(|person| person.0 == issuer && person.1 == subject),
        }
    }
}
