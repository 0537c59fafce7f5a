//! Who calls: the OAuth 2.1 resource server (MCP, Authorization; RFC 6750, RFC 9068, RFC 9728).
//!
//! - `settings`: everything that is configured
//! - `bearer`: the credential of a request
//! - `token`: what a token says of itself before it is believed
//! - `keys`, `source`: the keys of an issuer, where they come from ([`crate::issuer`]), and for how
//!   long they are good
//! - `verify`: signature and claims
//! - `api_keys`, `key_secret`: API keys, and how their secrets look
//! - `claims`: from claims to a principal; `details`: what was allowed in detail (RFC 9396)
//! - `cache`: a token that was verified is not verified again
//! - `binding`: what a token is bound to, and must be shown with it
//! - `dpop`: the proof of a key that a token is bound to
//! - `certificate`: from the names of a client certificate to a principal
//! - `challenge`: what a refused client is told, and the metadata that says where to log in
//! - `blocked`: who is refused for a time, whatever they show
//! - `refused`: why nobody was identified
//!
//! - `request`: all of this for one request, on whichever listener
//!
//! The way in is [`Identity::identify_request`]. What does not live here: what a principal may do,
//! and what else there is to its requests.

mod api_keys;
mod bearer;
mod binding;
mod blocked;
mod cache;
mod certificate;
mod challenge;
mod claims;
mod details;
mod dpop;
mod key_secret;
mod keys;
mod refused;
mod request;
mod settings;
mod source;
mod token;
mod verify;

use std::sync::Arc;

use mcp_ultra_domain::{
    Clock, Principal,
    ports::{BlockStore, BlockStoreError},
};

pub use api_keys::ApiKeySettings;
pub use bearer::{Scheme, presented};
pub use binding::Believed;
pub use certificate::{CertificateRule, NoSanPattern, SanPattern};
pub use challenge::Challenges;
pub use details::authorization_details;
pub use dpop::is_signed_proof;
pub use key_secret::{API_KEY_PREFIX, IssuedSecret, NoRandomness, issue, new_key_id};
pub use refused::Refused;
pub use request::{Credentials, Identified};
pub use settings::{
    Algorithm, ClaimPaths, DpopSettings, IdentitySettings, IssuerSettings, KeyTimes, LoginRule,
    SharedSecret,
};

use self::{
    api_keys::ApiKeys,
    binding::Binding,
    blocked::Blocked,
    cache::{Cache, Digest},
    dpop::Dpop,
    verify::{Grounds, Issuer, Refusal, Verified},
};
use crate::{issuer::fetch::Fetcher, outbound::Outbound, tls::PeerCertificate};

/// The longest token that is looked at.
pub const LONGEST_TOKEN: usize = 16 * 1024;

/// Knows principals by their access tokens.
pub struct Identity {
    issuers: Vec<Issuer>,
    secret: Option<Issuer>,
    api_keys: Option<Arc<ApiKeys>>,
    certificates: Vec<CertificateRule>,
    required: Vec<String>,
    login: LoginRule,
    skew: std::time::Duration,
    dpop: Dpop,
    cache: Cache,
    blocked: Option<Blocked>,
    challenges: Challenges,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Identity {
    /// An identity that asks the issuers for their keys over `outbound`, when it needs them.
    pub fn new(settings: IdentitySettings, outbound: &Outbound, clock: Arc<dyn Clock>) -> Self {
        let challenges = Challenges::new(&settings);
        let dpop = Dpop::new(settings.dpop, &settings.resource, settings.clock_skew);
        let fetcher = Fetcher::new(outbound.clone());
        let issuers = settings.issuers.into_iter().map(|issuer| {
            Issuer::fetched(
                issuer,
                &settings.resource,
                &settings.login,
                fetcher.clone(),
                settings.times,
                clock.clone(),
            )
        });
        let most = settings.cached_tokens;
        let api_keys = settings.api_keys;
        Self {
            issuers: issuers.collect(),
            certificates: settings.certificates,
            api_keys: api_keys.map(|keys| ApiKeys::new(keys, clock.clone(), most)),
            secret: settings
                .secret
                .map(|secret| Issuer::shared(secret, &settings.resource, &settings.login)),
            required: settings.required_scopes,
            login: settings.login,
            skew: settings.clock_skew,
            dpop,
            cache: Cache::new(settings.cached_tokens),
            blocked: None,
            challenges,
            clock,
        }
    }

    /// Refuses the callers that `store` says, once it was [read](Identity::read_blocks).
    #[must_use]
    pub fn with_blocks(mut self, store: Arc<dyn BlockStore>) -> Self {
        self.blocked = Some(Blocked::new(store));
        self
    }

    /// Reads again who is blocked. Returns whether anybody is.
    ///
    /// # Errors
    /// [`BlockStoreError`]: who was known to be blocked stays so.
    pub async fn read_blocks(&self) -> Result<bool, BlockStoreError> {
        let Some(blocked) = &self.blocked else {
            return Ok(false);
        };
        blocked.read(self.clock.now()).await?;
        Ok(!blocked.is_empty())
    }

    /// Whether the principal is refused for now, whatever is shown for it.
    pub fn is_blocked(&self, principal: &Principal) -> bool {
        let blocked = self.blocked.as_ref().filter(|blocked| !blocked.is_empty());
        blocked.is_some_and(|blocked| blocked.has(principal, self.clock.now()))
    }

    /// Asks all issuers for their keys, so that the first calls do not wait for them, and begins to
    /// keep up with API keys. Must be called within a tokio runtime.
    pub fn warm(&self) {
        let now = self.clock.now();
        for issuer in &self.issuers {
            issuer.touch(now);
        }
        if let Some(keys) = &self.api_keys {
            tokio::spawn(ApiKeys::keep_up(Arc::downgrade(keys)));
        }
    }

    /// Verifies tokens with another shared secret from now on. What the one before has signed is
    /// accepted for `grace` longer, then its streams end. Must be called within a tokio runtime.
    pub fn rotate_secret(&self, secret: &[u8], grace: std::time::Duration) {
        let Some(shared) = &self.secret else { return };
        let now = self.clock.now();
        let retired = shared.rotate(secret, now, now.saturating_add(grace));
        tokio::spawn(async move {
            tokio::time::sleep(grace).await;
            for key in retired {
                key.withdraw();
            }
        });
    }

    /// Notes what would be lost: when API keys were used.
    pub async fn finish(&self) {
        if let Some(keys) = &self.api_keys {
            keys.note_uses().await;
        }
    }

    /// Ends what is known of an API key that was changed: it is read again when it is used next,
    /// and the streams of its principal end.
    pub fn forget_api_key(&self, id: &str) {
        if let Some(keys) = &self.api_keys {
            keys.forget(id);
        }
    }

    /// Reads all API keys that are known again, and ends what has changed, as it is done every
    /// `recheck`. `false` where the store can't be read: then that is still to be done.
    pub async fn recheck_api_keys(&self) -> bool {
        match &self.api_keys {
            Some(keys) => keys.recheck().await,
            None => true,
        }
    }

    /// A token that is known already: one hash and one look-up.
    pub fn recall(&self, token: &str) -> Option<Result<Believed, Refused>> {
        self.known(&Digest::of(token))
    }

    /// Verifies a token, where it is not known already.
    ///
    /// # Errors
    /// [`Refused`], of which a client must not be told more than its [challenge](Challenges).
    pub async fn believe(&self, token: &str) -> Result<Believed, Refused> {
        if token.len() > LONGEST_TOKEN {
            return Err(Refused::TooLarge);
        }
        let digest = Digest::of(token);
        if let Some(known) = self.known(&digest) {
            return known;
        }
        let verified = self.verify(token).await;
        let now = self.clock.now();
        match verified {
            Ok(verified) => {
                let (principal, binding) = (verified.principal.clone(), verified.binding.clone());
                let believed = Believed::new(principal, binding, &verified.grounds, digest);
                self.cache.keep(digest, verified, now);
                Ok(believed)
            }
            Err(refusal) => {
                let why = refusal.why;
                self.cache.keep_refused(digest, refusal, now);
                Err(why)
            }
        }
    }

    /// Whose bearer token this is, over a connection on which the client has shown this
    /// certificate.
    ///
    /// # Errors
    /// [`Refused::Bound`]: it is bound to a key, or to another certificate (RFC 8705, 3).
    /// [`Refused::Unbound`]: it would have to be bound to a key.
    pub fn bearer(
        &self,
        token: Believed,
        certificate: Option<&PeerCertificate>,
    ) -> Result<Principal, Refused> {
        if let Some(binding) = &token.binding {
            self.connected(binding, certificate)?;
            if binding.key.is_some() {
                return Err(Refused::Bound);
            }
        }
        // API keys are no access tokens.
        if self.dpop.required && !token.is_api_key {
            return Err(Refused::Unbound);
        }
        Ok(token.principal)
    }

    /// Whose token this is, with the proof that the request has for it (RFC 9449, 7.1).
    ///
    /// # Errors
    /// [`Refused::Unbound`], [`Refused::Bound`], [`Refused::Proof`], [`Refused::Replayed`] and
    /// [`Refused::ReplayStore`].
    pub async fn prove(
        &self,
        token: Believed,
        request: Credentials<'_>,
    ) -> Result<Principal, Refused> {
        let binding = token.binding.as_ref().ok_or(Refused::Unbound)?;
        let key = binding.key.as_ref().ok_or(Refused::Unbound)?;
        self.connected(binding, request.certificate)?;
        let now = self.clock.now();
        self.dpop.check(request, &token.digest, key, now).await?;
        Ok(token.principal)
    }

    /// Whose token this is, where it is all that there is of a request.
    ///
    /// # Errors
    /// [`Refused`], as of [`Identity::believe`] and [`Identity::bearer`].
    pub async fn identify(&self, token: &str) -> Result<Principal, Refused> {
        let token = self.believe(token).await?;
        self.bearer(token, None)
    }

    /// Whose identity token this is (`OpenID` Connect Core, 3.1.3.7), which `issuer` has given to its
    /// client `client` for a request with this `nonce`: the `sub` there.
    ///
    /// # Errors
    /// [`Refused`]: it is not by that issuer, for that client and request, or not good any more.
    pub async fn verify_id_token(
        &self,
        issuer: &str,
        token: &str,
        client: &str,
        nonce: &str,
    ) -> Result<String, Refused> {
        if token.len() > LONGEST_TOKEN {
            return Err(Refused::TooLarge);
        }
        let claimed = token::Claimed::read(token)?;
        if claimed.algorithm == token::Signed::Shared {
            return Err(Refused::Algorithm);
        }
        if claimed.issuer.as_deref() != Some(issuer) {
            return Err(Refused::Issuer);
        }
        let known = self.issuers.iter().find(|known| known.name == issuer);
        known
            .ok_or(Refused::Issuer)?
            .verify_id_token(token, &claimed, (client, nonce), &*self.clock, self.skew)
            .await
    }

    /// Whether a token that is bound to a certificate comes over a connection of that one.
    fn connected(&self, binding: &Binding, shown: Option<&PeerCertificate>) -> Result<(), Refused> {
        let Some(bound) = &binding.certificate else {
            return Ok(());
        };
        // A connection may last longer than the certificate that opened it.
        match shown {
            Some(shown) if shown.thumbprint == *bound && self.clock.now() < shown.not_after => {
                Ok(())
            }
            _ => Err(Refused::Bound),
        }
    }

    /// Who the certificate identifies that a client has shown on its connection.
    ///
    /// # Errors
    /// [`Refused::Expired`] and [`Refused::Certificate`].
    pub fn identify_certificate(&self, shown: &PeerCertificate) -> Result<Principal, Refused> {
        // A connection may last longer than the certificate that opened it.
        if shown.not_after <= self.clock.now() {
            return Err(Refused::Expired);
        }
        shown
            .principal
            .get_or_init(|| certificate::principal(&self.certificates, shown))
            .clone()
    }

    /// Whether the principal is not blocked and has every scope that all calls need.
    ///
    /// # Errors
    /// [`Refused::Blocked`] and [`Refused::Scope`]
    pub fn admit(&self, principal: &Principal) -> Result<(), Refused> {
        if self.is_blocked(principal) {
            return Err(Refused::Blocked);
        }
        let has = &principal.attributes().scopes;
        if self.required.iter().all(|scope| has.contains(scope)) {
            Ok(())
        } else {
            Err(Refused::Scope)
        }
    }

    /// Whether the login that the principal's access token was issued for is strong and recent
    /// enough for any call.
    ///
    /// # Errors
    /// [`Refused::Login`]
    pub fn admit_login(&self, principal: &Principal) -> Result<(), Refused> {
        let login = &principal.attributes().login;
        if self.login.holds(login, self.clock.now(), self.skew) {
            Ok(())
        } else {
            Err(Refused::Login)
        }
    }

    /// What refused clients are told.
    pub fn challenges(&self) -> &Challenges {
        &self.challenges
    }

    fn known(&self, digest: &Digest) -> Option<Result<Believed, Refused>> {
        let now = self.clock.now();
        let known = self.cache.get(digest, now)?;
        Some(known.map(|(believed, grounds)| {
            // Keys are asked for again in good time also where every token is known.
            if let Grounds::Signature {
                issuer: Some(at), ..
            } = grounds
                && let Some(issuer) = self.issuers.get(at)
            {
                issuer.touch(now);
            }
            believed
        }))
    }

    async fn verify(&self, token: &str) -> Result<Verified, Refusal> {
        if key_secret::is_one(token) {
            let keys = self.api_keys.as_ref().ok_or(Refused::Malformed)?;
            return Ok(keys.verify(token).await?);
        }
        let claimed = token::Claimed::read(token)?;
        // A secret and a public key are never tried for each other's algorithms.
        let (at, issuer) = if claimed.algorithm == token::Signed::Shared {
            (None, self.secret.as_ref().ok_or(Refused::Algorithm)?)
        } else {
            let named = claimed.issuer.as_deref().ok_or(Refused::Issuer)?;
            let at = self.issuers.iter().position(|issuer| issuer.name == named);
            let at = at.ok_or(Refused::Issuer)?;
            (Some(at), &self.issuers[at])
        };
        issuer
            .verify(token, &claimed, &*self.clock, self.skew, at)
            .await
    }
}
