//! Grants: what a person has allowed the gateway to do at an upstream in their name.

use std::{collections::BTreeSet, fmt, time::Duration};

/// That a principal has let the gateway use one server in its name (OAuth 2.1, 4.1). Times are since
/// the Unix epoch.
///
/// The tokens are here in sealed form only, so that no store ever sees one. Who seals and opens
/// them binds them to the grant's tenant, principal and server.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its identifier, unique over all tenants; another one each time that it is given anew.
    pub id: String,
    /// Whose it is.
    pub tenant: String,
    /// The [`Principal::id`](crate::Principal::id) of who has given it.
    pub principal: String,
    /// Who vouches for the principal.
    pub issuer: String,
    /// Who the principal is for that issuer.
    pub subject: String,
    /// The name of the server in the configuration.
    pub server: String,
    /// What was granted, as far as the authorization server has said it.
    pub scopes: BTreeSet<String>,
    /// The tokens, sealed.
    pub tokens: String,
    /// When it was given.
    pub created: Duration,
    /// When its tokens were got.
    pub renewed: Duration,
    /// Counts its changes, from 1.
    pub revision: u64,
}

/// Without the tokens and who it is of: the one is useless in a log, the other personal.
impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("id", &self.id)
            .field("server", &self.server)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

impl Grant {
    /// The same grant with other tokens, which were got `now`.
    #[must_use]
    pub fn renewed(&self, tokens: String, scopes: BTreeSet<String>, now: Duration) -> Self {
        Self {
            tokens,
            scopes,
            renewed: now,
            revision: self.revision + 1,
            ..self.clone()
        }
    }
}
