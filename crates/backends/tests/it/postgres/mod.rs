//! What holds of PostgreSQL alone.

mod breaker;
mod failures;
mod migrations;
mod replica;
mod security;

use std::time::Duration;

use mcp_ultra_domain::{ApiKey, KeySecret, PrincipalKind};

fn key(tenant: &str, id: &str) -> ApiKey {
    let at = Duration::from_secs(10);
    ApiKey {
        id: id.into(),
        tenant: tenant.into(),
        name: format!("name of {id}"),
        kind: PrincipalKind::Agent,
        roles: [].into(),
        scopes: [].into(),
        created: at,
        expires: None,
        revoked: None,
        revision: 1,
        secrets: vec![KeySecret::new(format!("{id}-a"), [7; 32], at)],
    }
}
