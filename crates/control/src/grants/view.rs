use std::collections::BTreeSet;

use jiff::Timestamp;
use mcp_ultra_domain::Grant;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time::timestamp;

/// What somebody has allowed the gateway to do at a server in their name, without the tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Grant)]
pub struct GrantView {
    /// Its identifier; another one each time that it is given anew.
    pub id: String,
    /// Whose it is.
    pub tenant: String,
    /// Who vouches for whom it is of.
    pub issuer: String,
    /// Who that is for the issuer.
    pub subject: String,
    /// The server, by its name in the configuration.
    pub server: String,
    /// What was granted, as far as the authorization server has said it.
    pub scopes: BTreeSet<String>,
    /// When it was given (RFC 3339).
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// When its tokens were last refreshed.
    #[schema(value_type = String, format = DateTime)]
    pub renewed: Timestamp,
    /// Counts its changes.
    pub revision: u64,
}

impl From<&Grant> for GrantView {
    fn from(grant: &Grant) -> Self {
        Self {
            id: grant.id.clone(),
            tenant: grant.tenant.clone(),
            issuer: grant.issuer.clone(),
            subject: grant.subject.clone(),
            server: grant.server.clone(),
            scopes: grant.scopes.clone(),
            created: timestamp(grant.created),
            renewed: timestamp(grant.renewed),
            revision: grant.revision,
        }
    }
}
