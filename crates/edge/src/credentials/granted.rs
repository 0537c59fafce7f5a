use std::fmt;

use async_trait::async_trait;
use mcp_ultra_domain::Principal;

use super::{AccessToken, CredentialError, Fetched, TokenEndpoint};

/// What callers have granted in a browser, by whom it is of.
#[async_trait]
pub trait Granted: Send + Sync + fmt::Debug {
    /// The access token of what `principal` has granted: one that is kept, or a new one for the
    /// refresh token. It is asked by one task at a time for each principal.
    ///
    /// # Errors
    /// [`CredentialError::NotGranted`]: nothing is granted, or no longer. Others as of
    /// [`Credentials::token`](super::Credentials::token).
    async fn token(
        &self,
        principal: &Principal,
        asking: Asking<'_>,
    ) -> Result<AccessToken, CredentialError>;

    /// The upstream has not accepted the token that the principal with this identifier has: it is
    /// not to be given again.
    fn rejected(&self, principal: &str, token: &AccessToken);
}

/// What tokens are asked for with.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    /// The authorization server.
    pub endpoint: &'a TokenEndpoint,
    /// The resource (RFC 8707); empty where none is named.
    pub resource: &'a str,
    /// Hears how each request came out.
    pub told: &'a (dyn Fn(Fetched) + Send + Sync),
}
