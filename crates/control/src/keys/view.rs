use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use mcp_ultra_domain::ApiKey;
use mcp_ultra_edge::identity::API_KEY_PREFIX;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time::timestamp;

/// An API key, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ApiKey)]
pub struct KeyView {
    /// Its identifier.
    pub id: String,
    /// Whose it is.
    pub tenant: String,
    /// What people call it, unique among the keys of the tenant.
    pub name: String,
    /// Who holds it: `user`, `agent` or `workload`.
    pub kind: String,
    /// `valid`, `expired` or `revoked`.
    pub state: String,
    /// The roles of its principal.
    pub roles: BTreeSet<String>,
    /// The scopes of its principal.
    pub scopes: BTreeSet<String>,
    /// When it was made (RFC 3339).
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// When it ends; null for never.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked: Option<Timestamp>,
    /// Counts its changes.
    pub revision: u64,
    /// Its secrets, the newest last: one, or two while it is being rotated.
    pub secrets: Vec<SecretView>,
}

/// What is known of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ApiKeySecret)]
pub struct SecretView {
    /// How it begins.
    pub prefix: String,
    /// When it was issued.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// When it ends, where that is before the key does.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires: Option<Timestamp>,
    /// When it was last used, within some seconds.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used: Option<Timestamp>,
}

impl KeyView {
    /// The key as it is at `now`.
    pub fn of(key: &ApiKey, now: Duration) -> Self {
        let secrets = key.secrets.iter().map(|secret| SecretView {
            prefix: format!("{API_KEY_PREFIX}{}", secret.lookup),
            created: timestamp(secret.created),
            expires: secret.expires.map(timestamp),
            last_used: secret.last_used.map(timestamp),
        });
        Self {
            id: key.id.clone(),
            tenant: key.tenant.clone(),
            name: key.name.clone(),
            kind: key.kind.as_str().to_owned(),
            state: match key.revoked {
                Some(_) => "revoked",
                None if key.is_valid(now) => "valid",
                None => "expired",
            }
            .to_owned(),
            roles: key.roles.clone(),
            scopes: key.scopes.clone(),
            created: timestamp(key.created),
            expires: key.expires.map(timestamp),
            revoked: key.revoked.map(timestamp),
            revision: key.revision,
            secrets: secrets.collect(),
        }
    }

    /// When any of its secrets was last used.
    pub fn last_used(&self) -> Option<Timestamp> {
        self.secrets.iter().filter_map(|one| one.last_used).max()
    }
}
