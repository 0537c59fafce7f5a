use std::{fmt, sync::Arc, time::Duration};

use mcp_ultra_domain::{Clock, Principal};
use parking_lot::Mutex;

use super::{
    AccessToken, Asking, CallerToken, CredentialError, CredentialSettings, Failure, Fetched, Grant,
    Subject, TokenAnswer, TokenCache, TokenEndpoint, TokenError, gate::Gate,
};
use crate::outbound::Outbound;

/// RFC 8693, 3.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// The tokens of one upstream.
pub struct Credentials {
    pub(super) source: Arc<Source>,
    cache: TokenCache<Key>,
    /// Whose grant is lent at the moment.
    pub(super) lender: Mutex<Option<Principal>>,
}

/// Whom a token is for. A token that was exchanged is for the token that it was exchanged for, and
/// not for its principal: it must not allow one token of a principal what was given for another.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Gateway,
    Principal(Arc<str>),
    Token([u8; 32]),
}

/// What tokens are asked for with.
pub(super) struct Source {
    upstream: Arc<str>,
    pub(super) endpoint: TokenEndpoint,
    gate: Gate,
    pub(super) grant: Grant,
    /// Separated by spaces.
    pub(super) scope: String,
    pub(super) resource: String,
    url: String,
    clock: Arc<dyn Clock>,
    told: Box<dyn Fn(Fetched) + Send + Sync>,
}

/// What a request is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Own,
    Exchange,
    Refresh,
}

/// For whom a request is made.
enum Party {
    Gateway,
    Caller(Principal, CallerToken),
    Person(Principal),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("upstream", &self.source.upstream)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// The tokens of `upstream`, asked for over `outbound` when they are needed. `told` hears how
    /// each request came out.
    pub fn new(
        upstream: Arc<str>,
        settings: CredentialSettings,
        outbound: Outbound,
        clock: Arc<dyn Clock>,
        told: impl Fn(Fetched) + Send + Sync + 'static,
    ) -> Self {
        let source = Source {
            upstream,
            endpoint: TokenEndpoint::new(settings.client, outbound, clock.clone()),
            gate: Gate::default(),
            grant: settings.grant,
            scope: settings.scopes.join(" "),
            resource: settings.resource.unwrap_or_default(),
            url: settings.url,
            clock: clock.clone(),
            told: Box::new(told),
        };
        Self {
            source: Arc::new(source),
            cache: TokenCache::new(clock),
            lender: Mutex::default(),
        }
    }

    /// The token that speaks for `subject`: one that is kept, or a new one. `None` where nothing is
    /// sent: on nobody's behalf, where the gateway has no token of its own. Must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// [`CredentialError`]
    pub async fn token(
        &self,
        subject: &Subject,
    ) -> Result<Option<Arc<AccessToken>>, CredentialError> {
        let (subject, is_lent) = self.spoken_for(subject)?;
        let subject = &*subject;
        let Some(key) = self.source.key(subject)? else {
            return Ok(None);
        };
        let fetch = |held| {
            let party = self.source.party(subject);
            self.source.clone().fetch(party, held)
        };
        let token = self.cache.get(&key, fetch).await;
        token.map(Some).map_err(|error| match error {
            // Not of the caller, who would be asked for it.
            CredentialError::NotGranted if is_lent => CredentialError::NobodyGranted,
            other => other,
        })
    }

    /// The authorization server, and the gateway as its client.
    pub fn endpoint(&self) -> &TokenEndpoint {
        &self.source.endpoint
    }

    /// The scopes that are asked for.
    pub fn scopes(&self) -> &str {
        &self.source.scope
    }

    /// The resource that tokens are asked for; empty where none is named.
    pub fn resource(&self) -> &str {
        &self.source.resource
    }

    /// What a token that was got for this is good for: the resource, and where none is named, the
    /// place that it is sent to.
    pub fn bound_to(&self) -> &str {
        self.source.bound_to()
    }

    /// Whether callers have to grant access in a browser.
    pub fn are_granted(&self) -> bool {
        matches!(self.source.grant, Grant::AuthorizationCode { .. })
    }

    /// The scopes that people may be asked for besides.
    pub fn step_up(&self) -> &[String] {
        match &self.source.grant {
            Grant::AuthorizationCode { step_up, .. } => step_up,
            Grant::ClientCredentials | Grant::TokenExchange { .. } => &[],
        }
    }

    /// When the token was asked for that is in use of what a principal has granted.
    pub fn in_use_since(&self, principal: &str) -> Option<Duration> {
        let held = self.cache.held(&Key::Principal(principal.into()))?;
        Some(held.fetched())
    }

    /// Forgets the token of what a principal has granted, since that has changed.
    pub fn forget(&self, principal: &str) {
        self.cache.forget(&Key::Principal(principal.into()));
    }

    /// The upstream has not accepted `token` (401). Says whether [`Credentials::token`] may have
    /// another one.
    pub fn rejected(&self, subject: &Subject, token: &Arc<AccessToken>) -> bool {
        let Ok((subject, _)) = self.spoken_for(subject) else {
            return false;
        };
        match self.source.key(&subject) {
            Ok(Some(key)) if self.cache.rejected(&key, token) => {
                if let (Grant::AuthorizationCode { granted, .. }, Key::Principal(principal)) =
                    (&self.source.grant, &key)
                {
                    granted.rejected(principal, token);
                }
                true
            }
            _ => false,
        }
    }

    /// Authenticates with the secret of `other` from now on. Tokens stay; what was refused is tried
    /// again.
    pub fn take_secret_of(&self, other: &Self) {
        if self.source.endpoint.take_secret_of(&other.source.endpoint) {
            self.source.gate.forgive();
            self.cache.forgive();
        }
    }

    /// Forgets tokens that have ended.
    pub fn sweep(&self) {
        self.cache.sweep();
    }
}

impl Source {
    pub(super) fn bound_to(&self) -> &str {
        if self.resource.is_empty() {
            &self.url
        } else {
            &self.resource
        }
    }

    fn party(&self, subject: &Subject) -> Party {
        match (&self.grant, subject) {
            (Grant::AuthorizationCode { .. }, Subject::Caller { principal, .. }) => {
                Party::Person(principal.clone())
            }
            (
                Grant::TokenExchange { .. },
                Subject::Caller {
                    principal,
                    token: Some(token),
                },
            ) => Party::Caller(principal.clone(), token.clone()),
            _ => Party::Gateway,
        }
    }

    fn key(&self, subject: &Subject) -> Result<Option<Key>, CredentialError> {
        let (principal, token) = match subject {
            Subject::Session(_) => return self.key(&subject.current()),
            Subject::Gateway => return Ok(self.has_own().then_some(Key::Gateway)),
            Subject::Caller { principal, token } => (principal, token.as_ref()),
        };
        Ok(Some(match &self.grant {
            Grant::ClientCredentials => Key::Gateway,
            Grant::AuthorizationCode { .. } => Key::Principal(principal.shared_id()),
            Grant::TokenExchange { issuers, .. } => {
                Key::Token(*self.exchangeable(principal, token, issuers)?.digest())
            }
        }))
    }

    /// Whether the gateway has a token where it asks on nobody's behalf.
    fn has_own(&self) -> bool {
        match &self.grant {
            Grant::ClientCredentials => true,
            Grant::TokenExchange { own, .. } | Grant::AuthorizationCode { own, .. } => *own,
        }
    }

    /// The token of a caller, where it may be exchanged.
    fn exchangeable<'t>(
        &self,
        principal: &Principal,
        token: Option<&'t CallerToken>,
        issuers: &[String],
    ) -> Result<&'t CallerToken, CredentialError> {
        let token = token.ok_or(CredentialError::NoCallerToken)?;
        let caller = principal.attributes();
        // What one issuer has issued is not shown to another one's server.
        if !issuers.is_empty() && !issuers.contains(&caller.issuer) {
            return Err(CredentialError::NoCallerToken);
        }
        let ended = caller.expires.is_some_and(|ends| ends <= self.clock.now());
        if ended || caller.withdrawal.is_withdrawn() {
            return Err(CredentialError::CallerEnded);
        }
        Ok(token)
    }

    async fn fetch(
        self: Arc<Self>,
        party: Party,
        held: Option<Arc<AccessToken>>,
    ) -> Result<AccessToken, Failure> {
        let asked = self.clock.now();
        match (&party, &self.grant) {
            (Party::Person(principal), Grant::AuthorizationCode { granted, .. }) => {
                let asking = Asking {
                    source: &self,
                    held: held.as_deref(),
                };
                granted.token(principal, asking).await
            }
            (Party::Caller(principal, token), _) => {
                let until = principal.attributes().expires;
                let request =
                    async { AccessToken::new(&self.exchange(token).await?, asked, until) };
                self.ask(Purpose::Exchange, request).await
            }
            _ => {
                let request = async { AccessToken::new(&self.own().await?, asked, None) };
                self.ask(Purpose::Own, request).await
            }
        }
    }

    /// Makes a request where the authorization server is to be asked, tells the operator how it came
    /// out, and says what a caller is told.
    pub(super) async fn ask<T>(
        &self,
        purpose: Purpose,
        request: impl Future<Output = Result<T, TokenError>>,
    ) -> Result<T, Failure> {
        self.gate.pass(self.clock.now())?;
        let outcome = request.await;
        let failed = outcome.as_ref().err().map(|error| why(error, purpose));
        self.gate.take(failed, self.clock.now());
        (self.told)(match failed {
            None => Fetched::Token,
            Some(CredentialError::Unavailable) => Fetched::Unavailable,
            Some(_) => Fetched::Refused,
        });
        outcome
            .inspect(|_| {
                tracing::debug!(upstream = %self.upstream, "there is another access token for the upstream");
            })
            .map_err(|error| {
                let why = why(&error, purpose);
                // A grant that has ended is told by who keeps it.
                if why != CredentialError::NotGranted {
                    tracing::warn!(upstream = %self.upstream, %error, "there is no access token for the upstream");
                }
                why.into()
            })
    }

    /// RFC 6749, 4.4.
    async fn own(&self) -> Result<TokenAnswer, TokenError> {
        let parameters = [
            ("grant_type", "client_credentials"),
            ("scope", &self.scope),
            ("resource", &self.resource),
            ("audience", self.audience()),
        ];
        self.endpoint.request(&parameters).await
    }

    /// RFC 8693, 2.1.
    async fn exchange(&self, token: &CallerToken) -> Result<TokenAnswer, TokenError> {
        let requested = match &self.grant {
            Grant::TokenExchange {
                requested: Some(requested),
                ..
            } => requested,
            _ => ACCESS_TOKEN,
        };
        let parameters = [
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:token-exchange",
            ),
            ("subject_token", token.expose()),
            ("subject_token_type", ACCESS_TOKEN),
            ("requested_token_type", requested),
            ("scope", &self.scope),
            ("resource", &self.resource),
            ("audience", self.audience()),
        ];
        let answer = self.endpoint.request(&parameters).await?;
        // A JWT may be an access token, and an access token a JWT (RFC 8693, 3).
        let alike = |kind: &str| kind == requested || [ACCESS_TOKEN, JWT].contains(&kind);
        match &answer.issued_token_type {
            Some(issued) if !alike(issued) => Err(TokenError::Form(
                "a token of another type than was asked for",
            )),
            _ => Ok(answer),
        }
    }

    fn audience(&self) -> &str {
        match &self.grant {
            Grant::TokenExchange { audience, .. } => audience.as_deref().unwrap_or_default(),
            Grant::ClientCredentials | Grant::AuthorizationCode { .. } => "",
        }
    }
}

fn why(error: &TokenError, purpose: Purpose) -> CredentialError {
    let TokenError::Refused(refusal) = error else {
        return CredentialError::Unavailable;
    };
    match (refusal.code.as_str(), purpose) {
        ("temporarily_unavailable" | "server_error" | "slow_down", _) => {
            CredentialError::Unavailable
        }
        // What is said of a subject token that is not valid, or not acceptable (RFC 8693, 2.2.2).
        ("invalid_request" | "invalid_grant" | "access_denied", Purpose::Exchange) => {
            CredentialError::CallerRefused
        }
        ("invalid_grant", Purpose::Refresh) => CredentialError::NotGranted,
        _ => CredentialError::Refused,
    }
}
