use std::fmt;

use async_trait::async_trait;
use mcp_ultra_domain::Principal;
use secrecy::SecretString;

use super::{
    AccessToken, CredentialError, Failure, TokenAnswer, TokenEndpoint,
    grants::{Purpose, Source},
    settings::Lenders,
};

/// What callers have granted in a browser, by whom it is of.
#[async_trait]
pub trait Granted: Send + Sync + fmt::Debug {
    /// The access token of what `principal` has granted: one that is kept, also where another one
    /// is due, or, where that is held already, a new one for the refresh token. It is asked by one
    /// task at a time for each principal.
    ///
    /// # Errors
    /// [`CredentialError::NotGranted`](super::CredentialError::NotGranted): nothing is granted, or
    /// no longer. Others as of [`Credentials::token`](super::Credentials::token).
    async fn token(
        &self,
        principal: &Principal,
        asking: Asking<'_>,
    ) -> Result<AccessToken, Failure>;

    /// Whose grant is lent for what nobody has asked for: of those of `lenders` that can be used, the
    /// oldest that the upstream has not [`refused`](Granted::refused) lately.
    ///
    /// # Errors
    /// [`CredentialError::NobodyGranted`]: there is none.
    async fn lender(
        &self,
        asking: Asking<'_>,
        lenders: &Lenders,
    ) -> Result<Principal, CredentialError>;

    /// The upstream does not show its lists to the principal with this identifier.
    fn refused(&self, principal: &str);

    /// The upstream has not accepted the token that the principal with this identifier has: it is
    /// not to be given again.
    fn rejected(&self, principal: &str, token: &AccessToken);
}

/// What tokens are asked for with.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    pub(super) source: &'a Source,
    pub(super) held: Option<&'a AccessToken>,
}

impl<'a> Asking<'a> {
    /// The authorization server.
    pub fn endpoint(self) -> &'a TokenEndpoint {
        &self.source.endpoint
    }

    /// As of [`Credentials::bound_to`](super::Credentials::bound_to).
    pub fn bound_to(self) -> &'a str {
        self.source.bound_to()
    }

    /// As of [`Credentials::scopes`](super::Credentials::scopes).
    pub fn scopes(self) -> &'a str {
        &self.source.scope
    }

    /// The token that is in use now.
    pub fn held(self) -> Option<&'a AccessToken> {
        self.held
    }

    /// Gets another access token for a refresh token.
    ///
    /// # Errors
    /// [`CredentialError::NotGranted`](super::CredentialError::NotGranted): the authorization server
    /// says that the grant has ended (`invalid_grant`). Others as of
    /// [`Credentials::token`](super::Credentials::token).
    pub async fn refresh(self, token: &SecretString) -> Result<TokenAnswer, Failure> {
        let request = self.source.endpoint.refresh(token, &self.source.resource);
        self.source.ask(Purpose::Refresh, request).await
    }
}
