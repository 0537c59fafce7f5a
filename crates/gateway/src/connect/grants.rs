//! The tokens that people have granted for one server: from the store to an access token, and back
//! where they are renewed or have ended.
//!
//! Refresh tokens that rotate make this delicate: once a refresh has begun, the one before may be of
//! no more use, so what is answered must be kept (`renew`), also at the end of the process
//! (`Shared::finish`); of all gateways one refreshes (`claim`); and who is refused may only have been
//! slower than another process (`has_ended`).

mod claim;
mod ending;
mod lending;
mod lives;
mod needs;
mod shared;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use mcp_ultra_domain::{Grant, Principal, ports::GrantStoreError};
use mcp_ultra_edge::credentials::{
    AccessToken, Asking, CredentialError, Credentials, Failure, Granted, Lenders, TokenAnswer,
    TokenEndpoint,
};
use parking_lot::Mutex;

pub use self::ending::Revocation;
pub(super) use self::shared::Shared;
use self::{lending::Refused, needs::Needs};
use super::vault::{Of, Tokens};
use crate::random;

/// How many rejected tokens are remembered; they are forgotten one by one when others take their
/// place, and all where there are too many.
const MOST_REJECTED: usize = 10_000;
/// How often it is looked whether a grant is still there: it may have been withdrawn elsewhere.
const LOOK_AGAIN: Duration = Duration::from_mins(1);
/// How often a grant is looked at that changes all the time.
const LOOKS: usize = 3;
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
    /// Whom the server does not show its lists to.
    refused: Refused,
}

impl std::fmt::Debug for Grants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grants")
            .field("server", &self.server)
            .finish_non_exhaustive()
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
            refused: Refused::default(),
        }
    }

    /// Whether `principal` has a grant that can be used, and was asked for the scopes `besides`.
    pub(super) async fn has(
        &self,
        principal: &Principal,
        credentials: &Credentials,
        besides: &str,
    ) -> bool {
        let found = self.shared.store.find(principal.id(), &self.server).await;
        let grant = found.ok().flatten();
        grant.is_some_and(|grant| {
            let needs = Needs::of(credentials);
            self.usable(&grant, Needs { besides, ..needs }).is_ok()
        })
    }

    /// The scopes that `principal` was asked for, and when the token was that is kept; `None` where
    /// there is no grant of this authorization server.
    pub(super) async fn asked(
        &self,
        principal: &str,
        credentials: &Credentials,
    ) -> Option<(BTreeSet<String>, Duration)> {
        let found = self.shared.store.find(principal, &self.server).await;
        let grant = found.ok().flatten()?;
        let tokens = self.opened(&grant, credentials.endpoint()).ok()?;
        let wanted = tokens.wanted.as_deref().map(scopes);
        Some((wanted.unwrap_or(grant.scopes), tokens.asked))
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
        let patience = asking.endpoint().timeout();
        let Some(claim) = self.claim(grant, patience).await? else {
            return Ok(None);
        };
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
            Err(failure) => {
                self.unclaim(grant, &claim).await;
                Err(failure)
            }
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
                self.shared.write_later(renewed);
            }
        }
        self.rejected.lock().remove(&*grant.principal);
        let next = self.shared.clock.now().saturating_add(LOOK_AGAIN);
        Ok(self.kept(grant, tokens).map(|token| token.due_at(next)))
    }

    /// The access token that is kept.
    fn kept(&self, grant: &Grant, tokens: &Tokens) -> Option<AccessToken> {
        let life = self.shared.lives.of(&grant.principal, &self.server);
        kept(tokens).map(|token| token.of(life))
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

    async fn lender(
        &self,
        asking: Asking<'_>,
        lenders: &Lenders,
    ) -> Result<Principal, CredentialError> {
        self.first(asking, lenders).await
    }

    fn refused(&self, principal: &str) {
        self.refused.note(principal, self.shared.clock.now());
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

pub(super) fn scopes(text: &str) -> BTreeSet<String> {
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
