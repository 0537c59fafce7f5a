use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use mcp_ultra_domain::Clock;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::{
    ClientAuth, ClientSettings, EndpointPlace, TokenAnswer,
    answer::{self, TokenRefusal},
    described::Described,
};
use crate::{
    issuer::{
        discovery::{self, DiscoveryError},
        fetch::{FetchError, Fetcher, USER_AGENT},
    },
    outbound::{Outbound, OutboundError},
};

/// How many requests to one endpoint may be under way.
const AT_ONCE: usize = 16;
/// How long what was found by discovery is used.
const FOUND_FOR: Duration = Duration::from_hours(1);
/// The parameters that nobody else may see.
const SECRETS: [&str; 5] = [
    "code",
    "code_verifier",
    "refresh_token",
    "subject_token",
    "token",
];

/// The token endpoint of an authorization server, and the gateway as its client (RFC 6749, 3.2).
pub struct TokenEndpoint {
    pub(super) settings: ClientSettings,
    secret: ArcSwapOption<SecretString>,
    found: Mutex<Option<(Uri, Duration)>>,
    pub(super) described: Described,
    pub(super) fetcher: Fetcher,
    pub(super) clock: Arc<dyn Clock>,
    places: Semaphore,
}

/// Why a request for a token failed. It is for the operator: bounded, and without secrets.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The issuer's metadata is not there, or is of no use.
    #[error("the token endpoint can't be found: {0}")]
    Discovery(String),
    /// No response came.
    #[error("{0}")]
    Outbound(#[from] OutboundError),
    /// No whole answer in time.
    #[error("the token endpoint did not answer within {0:?}")]
    Timeout(Duration),
    /// The answer is too large, or broke off.
    #[error("the token endpoint: {0}")]
    Body(String),
    /// An answer that is neither a token nor a refusal.
    #[error("the token endpoint answered with HTTP status {0}")]
    Status(StatusCode),
    /// A success that holds no token that could be used.
    #[error("the token endpoint answered with {0}")]
    Form(&'static str),
    /// A refusal.
    #[error("the token endpoint refuses: {0}")]
    Refused(TokenRefusal),
}

impl From<DiscoveryError> for TokenError {
    fn from(error: DiscoveryError) -> Self {
        Self::Discovery(error.to_string())
    }
}

impl From<FetchError> for TokenError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Outbound(error) => Self::Outbound(error),
            other => Self::Body(other.to_string()),
        }
    }
}

impl TokenEndpoint {
    /// The endpoint that `settings` describe, spoken to over `outbound`. Nothing is sent yet.
    pub fn new(settings: ClientSettings, outbound: Outbound, clock: Arc<dyn Clock>) -> Self {
        Self {
            secret: ArcSwapOption::new(settings.secret.clone().map(Arc::new)),
            settings,
            found: Mutex::default(),
            described: Described::default(),
            fetcher: Fetcher::new(outbound),
            clock,
            places: Semaphore::new(AT_ONCE),
        }
    }

    /// How long a request for a token takes at most.
    pub fn timeout(&self) -> Duration {
        self.settings.timeout
    }

    /// Authenticates with the secret of `other` from now on. Says whether it is another one.
    pub fn take_secret_of(&self, other: &Self) -> bool {
        self.swap(other.secret.load_full())
    }

    /// Authenticates with this secret from now on.
    pub fn take_secret(&self, secret: SecretString) {
        self.swap(Some(Arc::new(secret)));
    }

    fn swap(&self, new: Option<Arc<SecretString>>) -> bool {
        let other = {
            let before = self.secret.load();
            let (before, new) = (before.as_deref(), new.as_deref());
            before.map(SecretString::expose_secret) != new.map(SecretString::expose_secret)
        };
        self.secret.store(new);
        other
    }

    /// Asks for a token. `parameters` are those of the grant, `grant_type` among them; those of the
    /// client are added here. Empty ones are left out.
    ///
    /// # Errors
    /// [`TokenError`]
    pub async fn request(&self, parameters: &[(&str, &str)]) -> Result<TokenAnswer, TokenError> {
        let patience = self.settings.timeout;
        let asked = tokio::time::timeout(patience, self.ask(parameters)).await;
        let answer = asked.unwrap_or(Err(TokenError::Timeout(patience)));
        if !matches!(answer, Ok(_) | Err(TokenError::Refused(_))) {
            // It may have moved.
            *self.found.lock() = None;
            self.described.forget();
        }
        answer
    }

    async fn ask(&self, parameters: &[(&str, &str)]) -> Result<TokenAnswer, TokenError> {
        // The semaphore is never closed.
        let _place = self.places.acquire().await.ok();
        let (uri, origin) = match &self.settings.place {
            EndpointPlace::Given(uri) => (uri.clone(), None),
            EndpointPlace::Issuer(issuer) => {
                let origin = issuer.parse().map_err(|_| DiscoveryError::Url)?;
                (self.find(issuer).await?, Some(origin))
            }
        };
        let request = self.message(&uri, parameters);
        let (status, body) = self.fetcher.send(request, origin.as_ref()).await?;
        let secret = self.secret.load();
        let secret = secret.as_deref().map(SecretString::expose_secret);
        let shown = parameters.iter().filter(|(name, _)| SECRETS.contains(name));
        let secrets: Vec<&str> = secret.into_iter().chain(shown.map(|(_, v)| *v)).collect();
        answer::read(status, &body, &secrets)
    }

    async fn find(&self, issuer: &str) -> Result<Uri, DiscoveryError> {
        let known = self.found.lock().clone();
        if let Some((uri, found)) = known
            && self.clock.now() < found.saturating_add(FOUND_FOR)
        {
            return Ok(uri);
        }
        let uri = discovery::token_endpoint(&self.fetcher, issuer).await?;
        *self.found.lock() = Some((uri.clone(), self.clock.now()));
        Ok(uri)
    }

    pub(super) fn message(&self, uri: &Uri, parameters: &[(&str, &str)]) -> Request<Full<Bytes>> {
        let mut form = Serializer::new(String::new());
        for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
            form.append_pair(name, value);
        }
        let secret = self.secret.load();
        let id = &self.settings.id;
        let mut authorization = None;
        match (secret.as_deref(), self.settings.auth) {
            (Some(secret), ClientAuth::Basic) => {
                authorization = Some(basic(id, secret.expose_secret()));
            }
            (Some(secret), ClientAuth::Post) => {
                form.append_pair("client_id", id);
                form.append_pair("client_secret", secret.expose_secret());
            }
            (None, _) => {
                form.append_pair("client_id", id);
            }
        }
        let mut request = Request::new(Full::new(form.finish().into()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::USER_AGENT, USER_AGENT);
        if let Some(authorization) = authorization.flatten() {
            headers.insert(header::AUTHORIZATION, authorization);
        }
        request
    }
}

/// Id and secret are encoded before they are put together (RFC 6749, 2.3.1 and appendix B).
fn basic(id: &str, secret: &str) -> Option<HeaderValue> {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let both = STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret)));
    let mut value = HeaderValue::from_str(&format!("Basic {both}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_encoded_before_it_is_put_together() {
        let value = basic("a:b", "s p/ü").unwrap();
        let text = value.to_str().unwrap().strip_prefix("Basic ").unwrap();
        let decoded = STANDARD.decode(text).unwrap();
        assert_eq!(decoded, b"a%3Ab:s+p%2F%C3%BC");
        assert!(value.is_sensitive());
    }
}
