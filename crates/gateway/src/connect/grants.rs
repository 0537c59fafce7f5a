//! The tokens that people have granted for one server: from the store to an access token, and back
//! where they are renewed or have ended.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use mcp_ultra_domain::{
    Clock, Grant, Principal,
    ports::{GrantStore, GrantStoreError},
};
use mcp_ultra_edge::credentials::{
    AccessToken, Asking, CredentialError, Fetched, Granted, TokenAnswer, TokenEndpoint, TokenError,
};
use parking_lot::Mutex;

use super::vault::{Of, Tokens, Vault};
use crate::random;

/// How many rejected tokens are remembered; they are forgotten one by one when others take their
/// place, and all where there are too many.
const MOST_REJECTED: usize = 10_000;

/// What people have granted for one server.
pub(crate) struct Grants {
    server: Arc<str>,
    store: Arc<dyn GrantStore>,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
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

/// A refresh that did not bring a token.
enum Unrefreshed {
    /// The authorization server says that the grant has ended (`invalid_grant`).
    Ended,
    Failed(CredentialError),
}

impl Grants {
    pub(crate) fn new(
        server: Arc<str>,
        store: Arc<dyn GrantStore>,
        vault: Arc<Vault>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            server,
            store,
            vault,
            clock,
            rejected: Mutex::default(),
        }
    }

    /// Whether `principal` has a grant that can be used.
    pub(super) async fn has(&self, principal: &Principal, endpoint: &TokenEndpoint) -> bool {
        let found = self.store.find(principal.id(), &self.server).await;
        let grant = found.ok().flatten();
        grant.is_some_and(|grant| self.opened(&grant, endpoint, None).is_ok())
    }

    /// Keeps what `principal` has granted now.
    pub(super) async fn keep(
        &self,
        principal: &Principal,
        endpoint: &TokenEndpoint,
        resource: &str,
        answer: TokenAnswer,
        asked: Duration,
    ) -> Result<(), GrantStoreError> {
        let attributes = principal.attributes();
        let mut grant = Grant {
            id: random::identifier(),
            tenant: attributes.tenant.to_string(),
            principal: principal.id().to_owned(),
            issuer: attributes.issuer.clone(),
            subject: attributes.subject.clone(),
            server: self.server.to_string(),
            scopes: scopes(answer.scope.as_deref()),
            tokens: String::new(),
            created: asked,
            renewed: asked,
            revision: 1,
        };
        let tokens = Tokens {
            issuer: endpoint.issuer().unwrap_or_default().to_owned(),
            resource: resource.to_owned(),
            access: answer.access_token,
            asked,
            lifetime: answer.expires_in,
            refresh: answer.refresh_token,
        };
        let sealed = self.vault.seal(Of::grant(&grant), &tokens);
        grant.tokens = sealed.map_err(|error| GrantStoreError::Failed(error.to_string()))?;
        self.store.put(&grant).await
    }

    /// The tokens of a grant, where they are of this authorization server and resource: they are
    /// shown to no other, also where the configuration has changed since.
    fn opened(
        &self,
        grant: &Grant,
        endpoint: &TokenEndpoint,
        resource: Option<&str>,
    ) -> Result<Tokens, &'static str> {
        let tokens = self.vault.open(Of::grant(grant), &grant.tokens);
        let tokens = tokens.ok_or("its tokens can't be decrypted by any of storage.keys")?;
        let same = endpoint.issuer() == Some(tokens.issuer.as_str())
            && resource.is_none_or(|resource| resource == tokens.resource);
        if same {
            Ok(tokens)
        } else {
            Err("it is of another authorization server or resource than is configured")
        }
    }

    async fn find(&self, principal: &str) -> Result<Option<Grant>, CredentialError> {
        let found = self.store.find(principal, &self.server).await;
        found.map_err(|error| {
            tracing::error!(server = %self.server, %error, "what people have granted can't be read");
            CredentialError::Unavailable
        })
    }

    /// The token of a grant, renewed where it is time; `None` where the grant has ended and was not
    /// given anew meanwhile.
    async fn token_of(
        &self,
        grant: &Grant,
        asking: Asking<'_>,
    ) -> Result<Option<AccessToken>, CredentialError> {
        let tokens = match self.opened(grant, asking.endpoint, Some(asking.resource)) {
            Ok(tokens) => tokens,
            Err(why) => {
                tracing::warn!(server = %self.server, grant = grant.id, why, "a grant is of no use, so its person is asked to connect the server again");
                return Ok(None);
            }
        };
        let rejected = self.rejected.lock().get(&*grant.principal).copied();
        let kept = kept(&tokens);
        let now = self.clock.now();
        let good = kept
            .filter(|token| token.is_good(now) && rejected.is_none_or(|when| tokens.asked > when));
        if let Some(token) = &good
            && !token.is_due(now)
        {
            return Ok(good);
        }
        let Some(refresh) = &tokens.refresh else {
            if good.is_none() {
                self.end(grant, "its token has ended, and there is no refresh token")
                    .await;
            }
            return Ok(good);
        };
        let asked = self.clock.now();
        let answer = asking.endpoint.refresh(refresh, asking.resource).await;
        match self.refreshed(answer, asking) {
            Ok(answer) => {
                let renewed = Tokens {
                    refresh: answer.refresh_token.clone().or(tokens.refresh.clone()),
                    access: answer.access_token.clone(),
                    lifetime: answer.expires_in,
                    asked,
                    ..tokens
                };
                self.renew(grant, &renewed, answer.scope.as_deref()).await
            }
            Err(Unrefreshed::Failed(_)) if good.is_some() => Ok(good),
            Err(Unrefreshed::Failed(error)) => Err(error),
            Err(Unrefreshed::Ended) => {
                self.end(grant, "the authorization server says that it has ended")
                    .await;
                Ok(None)
            }
        }
    }

    fn refreshed(
        &self,
        answer: Result<TokenAnswer, TokenError>,
        asking: Asking<'_>,
    ) -> Result<TokenAnswer, Unrefreshed> {
        let error = match answer {
            Ok(answer) => {
                (asking.told)(Fetched::Token);
                return Ok(answer);
            }
            Err(error) => error,
        };
        let ended =
            matches!(&error, TokenError::Refused(refusal) if refusal.code == "invalid_grant");
        let refused = matches!(error, TokenError::Refused(_));
        (asking.told)(if refused {
            Fetched::Refused
        } else {
            Fetched::Unavailable
        });
        if ended {
            return Err(Unrefreshed::Ended);
        }
        tracing::warn!(server = %self.server, %error, "the tokens of a grant could not be refreshed");
        Err(Unrefreshed::Failed(if refused {
            CredentialError::Refused
        } else {
            CredentialError::Unavailable
        }))
    }

    /// Keeps new tokens. Where the grant has changed meanwhile, what is there now counts.
    async fn renew(
        &self,
        grant: &Grant,
        tokens: &Tokens,
        scope: Option<&str>,
    ) -> Result<Option<AccessToken>, CredentialError> {
        let sealed = self.vault.seal(Of::grant(grant), tokens).map_err(|error| {
            tracing::error!(server = %self.server, %error, "tokens can't be encrypted");
            CredentialError::Unavailable
        })?;
        let granted = match scope {
            Some(_) => scopes(scope),
            None => grant.scopes.clone(),
        };
        let renewed = grant.renewed(sealed, granted, tokens.asked);
        match self.store.replace(&renewed, grant.revision).await {
            Ok(()) => {
                self.rejected.lock().remove(&*grant.principal);
                tracing::debug!(server = %self.server, grant = grant.id, "the tokens of a grant were refreshed");
                Ok(kept(tokens))
            }
            // Withdrawn, given anew, or refreshed by another process, while this one asked.
            Err(GrantStoreError::Changed) => {
                let now = self.find(&grant.principal).await?;
                Ok(now
                    .filter(|now| now.id != grant.id || now.revision > grant.revision)
                    .and_then(|now| kept(&self.vault.open(Of::grant(&now), &now.tokens)?)))
            }
            // The refresh token before may have ended: the new one serves until this process does.
            Err(error) => {
                tracing::error!(server = %self.server, grant = grant.id, %error, "refreshed tokens could not be kept; if this goes on, their person has to connect the server again");
                Ok(kept(tokens))
            }
        }
    }

    /// Ends the tokens of a grant at the authorization server: with the refresh token all that came
    /// of it ends (RFC 7009, 2.1).
    pub(crate) async fn revoke(&self, grant: &Grant, endpoint: &TokenEndpoint) -> Revocation {
        let tokens = match self.opened(grant, endpoint, None) {
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

    /// Removes a grant that is of no more use.
    async fn end(&self, grant: &Grant, why: &'static str) {
        let removed = self.store.remove(&grant.tenant, &grant.id, grant.revision);
        match removed.await {
            Ok(()) => {
                tracing::info!(server = %self.server, grant = grant.id, why, "a grant has ended; its person is asked again");
            }
            Err(GrantStoreError::Changed) => {}
            Err(error) => {
                tracing::warn!(server = %self.server, grant = grant.id, %error, "a grant that has ended could not be removed");
            }
        }
    }
}

#[async_trait]
impl Granted for Grants {
    async fn token(
        &self,
        principal: &Principal,
        asking: Asking<'_>,
    ) -> Result<AccessToken, CredentialError> {
        let mut seen: Option<Grant> = None;
        // A second time where the grant has changed meanwhile: another process may have used the
        // refresh token first.
        for _ in 0..2 {
            let found = self.find(principal.id()).await?;
            let Some(grant) = found.filter(|grant| seen.as_ref() != Some(grant)) else {
                break;
            };
            if let Some(token) = self.token_of(&grant, asking).await? {
                return Ok(token);
            }
            seen = Some(grant);
        }
        Err(CredentialError::NotGranted)
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
    AccessToken::new(&answer, tokens.asked, None).ok()
}

fn scopes(text: Option<&str>) -> std::collections::BTreeSet<String> {
    let words = text.unwrap_or_default().split(' ');
    words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}
