//! The tokens that people have granted for one server: from the store to an access token, and back
//! where they are renewed or have ended.
//!
//! Refresh tokens that rotate make this delicate: once a refresh has begun, the one before may be of
//! no more use, so what is answered must be kept (`renew`), also at the end of the process
//! (`Shared::finish`); and who is refused may only have been slower than another process
//! (`has_ended`).

mod lives;
mod shared;

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use mcp_ultra_domain::{Grant, Principal, ports::GrantStoreError};
use mcp_ultra_edge::credentials::{
    AccessToken, Asking, CredentialError, Credentials, Failure, Granted, TokenAnswer, TokenEndpoint,
};
use parking_lot::Mutex;

pub(super) use self::shared::Shared;
use super::vault::{Of, Tokens};
use crate::random;

/// How many rejected tokens are remembered; they are forgotten one by one when others take their
/// place, and all where there are too many.
const MOST_REJECTED: usize = 10_000;
/// How often it is looked whether a grant is still there: it may have been withdrawn elsewhere.
const LOOK_AGAIN: Duration = Duration::from_mins(1);
/// How often a grant is looked at that changes all the time.
const LOOKS: usize = 3;
/// How long another process may take to keep what it has refreshed.
const OTHERS: Duration = Duration::from_millis(1500);
/// When a write that failed is tried again.
const WRITE_AGAIN: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
];

/// What people have granted for one server.
pub(crate) struct Grants {
    server: Arc<str>,
    shared: Arc<Shared>,
    /// When the token was asked for that the server does not accept, by whose it is.
    rejected: Mutex<HashMap<Arc<str>, Duration>>,
}

impl std::fmt::Debug for Grants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grants")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// What became of the tokens of a grant at the authorization server (RFC 7009).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// It has ended them.
    Done,
    /// It does not offer that.
    NotOffered,
    /// It was not reached, or they are not its own or can't be decrypted.
    Failed,
}

/// What a grant has to be good for.
#[derive(Clone, Copy)]
struct Needs<'a> {
    endpoint: &'a TokenEndpoint,
    bound_to: &'a str,
    /// Separated by spaces.
    scopes: &'a str,
}

impl<'a> Needs<'a> {
    fn of(credentials: &'a Credentials) -> Self {
        Self {
            endpoint: credentials.endpoint(),
            bound_to: credentials.bound_to(),
            scopes: credentials.scopes(),
        }
    }

    fn of_asking(asking: Asking<'a>) -> Self {
        Self {
            endpoint: asking.endpoint(),
            bound_to: asking.bound_to(),
            scopes: asking.scopes(),
        }
    }

    /// Whether the person was asked for all of it already. What they were asked for counts, and not
    /// what they have granted of it: who has granted less would be asked in a circle. Where the
    /// former is not known (grants of before it was kept), it is the latter: they may be asked once.
    fn asks_no_more_than(&self, grant: &Grant, tokens: &Tokens) -> bool {
        let wanted = tokens.wanted.as_deref().map(scopes);
        let wanted = wanted.as_ref().unwrap_or(&grant.scopes);
        scopes(self.scopes).is_subset(wanted)
    }
}

/// A grant as it is now.
struct Current {
    grant: Grant,
    /// Whether the store has it like that.
    is_written: bool,
}

impl Grants {
    pub(super) fn new(server: Arc<str>, shared: Arc<Shared>) -> Self {
        Self {
            server,
            shared,
            rejected: Mutex::default(),
        }
    }

    /// Whether `principal` has a grant that can be used.
    pub(super) async fn has(&self, principal: &Principal, credentials: &Credentials) -> bool {
        let found = self.shared.store.find(principal.id(), &self.server).await;
        let grant = found.ok().flatten();
        grant.is_some_and(|grant| self.usable(&grant, Needs::of(credentials)).is_ok())
    }

    /// Keeps what `principal` has granted now, who was asked for the scopes `wanted`.
    pub(super) async fn keep(
        &self,
        principal: &Principal,
        credentials: &Credentials,
        wanted: &str,
        answer: TokenAnswer,
        asked: Duration,
    ) -> Result<(), GrantStoreError> {
        let attributes = principal.attributes();
        let endpoint = credentials.endpoint();
        // Where nothing is said, it is what was asked for (RFC 6749, 5.1).
        let granted = answer.scope.as_deref().unwrap_or(wanted);
        let mut grant = Grant {
            id: random::identifier(),
            tenant: attributes.tenant.to_string(),
            principal: principal.id().to_owned(),
            issuer: attributes.issuer.clone(),
            subject: attributes.subject.clone(),
            server: self.server.to_string(),
            scopes: scopes(granted),
            tokens: String::new(),
            created: asked,
            renewed: asked,
            revision: 1,
        };
        let tokens = Tokens {
            issuer: endpoint.issuer().unwrap_or_default().to_owned(),
            client: endpoint.client_id().to_owned(),
            resource: credentials.bound_to().to_owned(),
            access: answer.access_token,
            asked: whole(asked),
            lifetime: answer.expires_in,
            refresh: answer.refresh_token,
            wanted: Some(wanted.to_owned()),
        };
        let sealed = self.shared.vault.seal(Of::grant(&grant), &tokens);
        grant.tokens = sealed.map_err(|error| GrantStoreError::Failed(error.to_string()))?;
        self.shared.store.put(&grant).await?;
        self.shared
            .no_longer_unwritten(&grant.principal, &self.server);
        Ok(())
    }

    /// The tokens of a grant, where they are of this authorization server: they are shown to no
    /// other, also where the configuration has changed since.
    fn opened(&self, grant: &Grant, endpoint: &TokenEndpoint) -> Result<Tokens, &'static str> {
        let tokens = self.shared.vault.open(Of::grant(grant), &grant.tokens);
        let tokens = tokens.ok_or("its tokens can't be decrypted by any of storage.keys")?;
        if endpoint.issuer() == Some(tokens.issuer.as_str()) {
            Ok(tokens)
        } else {
            Err("it is of another authorization server than is configured")
        }
    }

    /// The same, where they can be used for what is configured.
    fn usable(&self, grant: &Grant, needs: Needs<'_>) -> Result<Tokens, &'static str> {
        let tokens = self.opened(grant, needs.endpoint)?;
        if tokens.client != needs.endpoint.client_id() || tokens.resource != needs.bound_to {
            return Err("it is of another client, resource or URL than is configured");
        }
        if !needs.asks_no_more_than(grant, &tokens) {
            return Err("its person was not asked for all the scopes that are configured");
        }
        Ok(tokens)
    }

    async fn find(&self, principal: &str) -> Result<Option<Grant>, CredentialError> {
        let found = self.shared.store.find(principal, &self.server).await;
        found.map_err(|error| {
            tracing::error!(server = %self.server, %error, "what people have granted can't be read");
            CredentialError::Unavailable
        })
    }

    /// What a principal has granted, with what of it could not be written before.
    async fn current(
        &self,
        principal: &str,
        endpoint: &TokenEndpoint,
    ) -> Result<Option<Current>, CredentialError> {
        if let Some(grant) = self.shared.unwritten(principal, &self.server) {
            match self.shared.write(&grant).await {
                Ok(()) => {
                    tracing::info!(server = %self.server, grant = grant.id, "refreshed tokens are kept now");
                }
                Err(GrantStoreError::Changed) => {
                    if self.find(principal).await?.is_none() {
                        self.revoke(&grant, endpoint).await;
                    }
                }
                Err(GrantStoreError::Failed(_)) => {
                    return Ok(Some(Current {
                        grant,
                        is_written: false,
                    }));
                }
            }
            self.shared.no_longer_unwritten(principal, &self.server);
        }
        let found = self.find(principal).await?;
        Ok(found.map(|grant| Current {
            grant,
            is_written: true,
        }))
    }

    /// The token of a grant, renewed where it is time; `None` where the grant has changed meanwhile.
    async fn token_of(
        &self,
        current: &Current,
        asking: Asking<'_>,
    ) -> Result<Option<AccessToken>, Failure> {
        let grant = &current.grant;
        let tokens = match self.usable(grant, Needs::of_asking(asking)) {
            Ok(tokens) => tokens,
            Err(why) => {
                tracing::warn!(server = %self.server, grant = grant.id, why, "a grant is of no use, so its person is asked to connect the server again");
                return Err(CredentialError::NotGranted.into());
            }
        };
        if let Some(token) = self.serving(grant, &tokens, asking.held()) {
            return Ok(Some(token));
        }
        let Some(refresh) = tokens.refresh.clone() else {
            let why = "its token has ended, and there is no refresh token";
            return self.end(grant, why).await;
        };
        if !current.is_written {
            return Err(CredentialError::Unavailable.into());
        }
        let _under_way = self.shared.under_way.token();
        let asked = whole(self.shared.clock.now());
        match asking.refresh(&refresh).await {
            Ok(answer) => {
                let scope = answer.scope;
                let renewed = Tokens {
                    refresh: answer.refresh_token.or(Some(refresh)),
                    access: answer.access_token,
                    lifetime: answer.expires_in,
                    asked,
                    ..tokens
                };
                self.renew(grant, &renewed, scope.as_deref(), asking.endpoint())
                    .await
            }
            Err(failure) if failure.error == CredentialError::NotGranted => {
                self.has_ended(grant).await
            }
            Err(failure) => Err(failure),
        }
    }

    /// The access token that is kept, where it can be used. One that is due serves until somebody
    /// comes who holds it already.
    fn serving(
        &self,
        grant: &Grant,
        tokens: &Tokens,
        held: Option<&AccessToken>,
    ) -> Option<AccessToken> {
        let token = self.kept(grant, tokens)?;
        let rejected = self.rejected.lock().get(&*grant.principal).copied();
        let now = self.shared.clock.now();
        let good = token.is_good(now) && rejected.is_none_or(|when| tokens.asked > when);
        let is_old = token.is_due(now) && held.is_some_and(|held| held.is(&token));
        (good && !is_old).then(|| token.due_at(now.saturating_add(LOOK_AGAIN)))
    }

    /// Keeps new tokens. `None` where the grant has changed meanwhile: what is there now counts.
    async fn renew(
        &self,
        grant: &Grant,
        tokens: &Tokens,
        scope: Option<&str>,
        endpoint: &TokenEndpoint,
    ) -> Result<Option<AccessToken>, Failure> {
        let sealed = self.shared.vault.seal(Of::grant(grant), tokens);
        let sealed = sealed.map_err(|error| {
            tracing::error!(server = %self.server, %error, "tokens can't be encrypted");
            CredentialError::Unavailable
        })?;
        let granted = scope.map_or_else(|| grant.scopes.clone(), scopes);
        let renewed = grant.renewed(sealed, granted, tokens.asked);
        let mut written = self.shared.write(&renewed).await;
        for pause in WRITE_AGAIN {
            if !matches!(written, Err(GrantStoreError::Failed(_))) {
                break;
            }
            tokio::time::sleep(pause).await;
            written = self.shared.write(&renewed).await;
        }
        match written {
            Ok(()) => {
                tracing::debug!(server = %self.server, grant = grant.id, "the tokens of a grant were refreshed");
            }
            // Withdrawn, given anew, or refreshed by another process, while this one asked; or a
            // write was said to have failed and has not.
            Err(GrantStoreError::Changed) => {
                if self.find(&grant.principal).await?.is_some() {
                    return Ok(None);
                }
                // Nobody else knows of these.
                self.revoke(&renewed, endpoint).await;
                return Err(CredentialError::NotGranted.into());
            }
            Err(error) => {
                tracing::error!(server = %self.server, grant = grant.id, %error, "refreshed tokens could not be kept yet; if this process ends before they are, their person has to connect the server again");
                self.shared.set_unwritten(renewed);
            }
        }
        self.rejected.lock().remove(&*grant.principal);
        let next = self.shared.clock.now().saturating_add(LOOK_AGAIN);
        Ok(self.kept(grant, tokens).map(|token| token.due_at(next)))
    }

    /// Ends what goes on with what a principal has granted, since it was withdrawn.
    pub(crate) fn ends(&self, principal: &str) {
        self.shared.lives.end(principal, &self.server);
    }

    /// The principals with whose grants something goes on.
    pub(crate) fn in_use(&self) -> Vec<Arc<str>> {
        self.shared.lives.in_use(&self.server)
    }

    /// Whether a principal has no grant (any more). Not where the store can't be read.
    pub(crate) async fn is_gone(&self, principal: &str) -> bool {
        let found = self.shared.store.find(principal, &self.server).await;
        matches!(found, Ok(None))
    }

    /// The access token that is kept.
    fn kept(&self, grant: &Grant, tokens: &Tokens) -> Option<AccessToken> {
        let life = self.shared.lives.of(&grant.principal, &self.server);
        kept(tokens).map(|token| token.of(life))
    }

    /// Ends the tokens of a grant at the authorization server: with the refresh token all that came
    /// of it ends (RFC 7009, 2.1).
    pub(crate) async fn revoke(&self, grant: &Grant, endpoint: &TokenEndpoint) -> Revocation {
        let tokens = match self.opened(grant, endpoint) {
            Ok(tokens) => tokens,
            Err(why) => {
                tracing::warn!(server = %self.server, grant = grant.id, why, "the tokens of a grant can't be revoked");
                return Revocation::Failed;
            }
        };
        let (token, hint) = match &tokens.refresh {
            Some(refresh) => (refresh, "refresh_token"),
            None => (&tokens.access, "access_token"),
        };
        match endpoint.revoke(token, hint).await {
            Ok(true) => Revocation::Done,
            Ok(false) => Revocation::NotOffered,
            Err(error) => {
                tracing::warn!(server = %self.server, grant = grant.id, %error, "the tokens of a grant could not be revoked");
                Revocation::Failed
            }
        }
    }

    /// The authorization server says that a grant has ended. It says so too where another process
    /// has used the refresh token first, and that one may be about to keep what it got.
    async fn has_ended(&self, grant: &Grant) -> Result<Option<AccessToken>, Failure> {
        tokio::time::sleep(OTHERS).await;
        let now = self.find(&grant.principal).await?;
        if now.is_some_and(|now| now != *grant) {
            return Ok(None);
        }
        let why = "the authorization server says that it has ended";
        self.end(grant, why).await
    }

    /// Removes a grant that is of no more use; `None` where it has changed meanwhile.
    async fn end(&self, grant: &Grant, why: &'static str) -> Result<Option<AccessToken>, Failure> {
        let store = &self.shared.store;
        let removed = store.remove(&grant.tenant, &grant.id, grant.revision);
        match removed.await {
            Ok(()) => {
                tracing::info!(server = %self.server, grant = grant.id, why, "a grant has ended; its person is asked again");
            }
            Err(GrantStoreError::Changed) => return Ok(None),
            Err(error) => {
                tracing::warn!(server = %self.server, grant = grant.id, %error, "a grant that has ended could not be removed");
            }
        }
        Err(CredentialError::NotGranted.into())
    }
}

#[async_trait]
impl Granted for Grants {
    async fn token(
        &self,
        principal: &Principal,
        asking: Asking<'_>,
    ) -> Result<AccessToken, Failure> {
        // Again where the grant has changed meanwhile: another process may have used the refresh
        // token first.
        for _ in 0..LOOKS {
            let current = self.current(principal.id(), asking.endpoint()).await?;
            let Some(current) = current else {
                // Where there was one, it was withdrawn.
                self.ends(principal.id());
                return Err(CredentialError::NotGranted.into());
            };
            if let Some(token) = self.token_of(&current, asking).await? {
                return Ok(token);
            }
        }
        Err(CredentialError::Unavailable.into())
    }

    fn rejected(&self, principal: &str, token: &AccessToken) {
        let mut rejected = self.rejected.lock();
        if rejected.len() >= MOST_REJECTED {
            rejected.clear();
        }
        rejected.insert(principal.into(), token.fetched());
    }
}

fn kept(tokens: &Tokens) -> Option<AccessToken> {
    let answer = TokenAnswer {
        access_token: tokens.access.clone(),
        expires_in: tokens.lifetime,
        refresh_token: None,
        issued_token_type: None,
        scope: None,
        id_token: None,
    };
    AccessToken::granted(&answer, tokens.asked, tokens.refresh.is_some()).ok()
}

fn scopes(text: &str) -> std::collections::BTreeSet<String> {
    let words = text.split(' ');
    words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// In whole milliseconds, as it is kept.
fn whole(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
