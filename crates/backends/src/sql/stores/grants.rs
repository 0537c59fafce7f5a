//! What principals have allowed the gateway to do at servers in their name.

use std::time::Duration;

use async_trait::async_trait;
use mcp_ultra_domain::{
    Grant,
    ports::{GrantStore, GrantStoreError},
};

use crate::sql::{
    Database,
    columns::{to_count, to_millis, to_number, to_set, to_text, to_time},
    error::SqlError,
    row::Row,
    transaction::{Access, Scope},
    value::values,
};

const FIND: &str = "SELECT * FROM grants WHERE principal = $1 AND server = $2";
const PUT: &str = "INSERT INTO grants \
    (id, tenant, principal, issuer, subject, server, scopes, tokens, created_at, renewed_at, revision) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
    ON CONFLICT (principal, server) DO UPDATE SET \
    id = $1, tenant = $2, issuer = $4, subject = $5, scopes = $7, tokens = $8, created_at = $9, \
    renewed_at = $10, revision = $11, claimed_by = NULL";
const REPLACE: &str = "UPDATE grants SET \
    scopes = $1, tokens = $2, renewed_at = $3, revision = $4 \
    WHERE id = $5 AND tenant = $6 AND revision = $7";
const CLAIM: &str = "UPDATE grants SET \
    claimed_by = $1, claimed_until = $2, claimed_revision = $3 \
    WHERE id = $4 AND tenant = $5 AND revision = $3 \
    AND (claimed_by IS NULL OR claimed_revision <> $3 OR claimed_until <= $6)";
const UNCLAIM: &str = "UPDATE grants SET claimed_by = NULL \
    WHERE id = $1 AND tenant = $2 AND claimed_by = $3";
const GET: &str = "SELECT * FROM grants WHERE id = $1 AND tenant = $2";
const LIST: &str = "SELECT * FROM grants WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3";
const LIST_OF: &str = "SELECT * FROM grants WHERE tenant = $1 AND id > $2 AND subject = $4 \
    ORDER BY id LIMIT $3";
const OLDEST: &str = "SELECT * FROM grants WHERE server = $1 AND (created_at, id) > ($2, $3) \
    ORDER BY created_at, id LIMIT $4";
const REMOVE: &str = "DELETE FROM grants WHERE id = $1 AND tenant = $2 AND revision = $3";

#[async_trait]
impl GrantStore for Database {
    async fn find(&self, principal: &str, server: &str) -> Result<Option<Grant>, GrantStoreError> {
        // A principal is of one tenant, and is not taken apart here.
        let of = values![principal, server];
        let row = self.fetch_optional(Scope::All, FIND, of).await?;
        Ok(row.as_ref().map(grant).transpose()?)
    }

    async fn put(&self, grant: &Grant) -> Result<(), GrantStoreError> {
        let values = values![
            &grant.id,
            &grant.tenant,
            &grant.principal,
            &grant.issuer,
            &grant.subject,
            &grant.server,
            to_text(&grant.scopes),
            &grant.tokens,
            to_millis(grant.created),
            to_millis(grant.renewed),
            to_number(grant.revision),
        ];
        self.execute(Scope::Tenant(&grant.tenant), PUT, values)
            .await?;
        Ok(())
    }

    async fn replace(&self, grant: &Grant, expected: u64) -> Result<(), GrantStoreError> {
        let values = values![
            to_text(&grant.scopes),
            &grant.tokens,
            to_millis(grant.renewed),
            to_number(grant.revision),
            &grant.id,
            &grant.tenant,
            to_number(expected),
        ];
        one(self
            .execute(Scope::Tenant(&grant.tenant), REPLACE, values)
            .await?)
    }

    async fn claim_refresh(
        &self,
        grant: &Grant,
        by: &str,
        now: Duration,
        until: Duration,
    ) -> Result<bool, GrantStoreError> {
        let values = values![
            by,
            to_millis(until),
            to_number(grant.revision),
            &grant.id,
            &grant.tenant,
            to_millis(now),
        ];
        let scope = Scope::Tenant(&grant.tenant);
        Ok(self.execute(scope, CLAIM, values).await? == 1)
    }

    async fn unclaim_refresh(&self, grant: &Grant, by: &str) -> Result<(), GrantStoreError> {
        let of = values![&grant.id, &grant.tenant, by];
        self.execute(Scope::Tenant(&grant.tenant), UNCLAIM, of)
            .await?;
        Ok(())
    }

    async fn get(&self, tenant: &str, id: &str) -> Result<Option<Grant>, GrantStoreError> {
        let of = values![id, tenant];
        let row = self.fetch_optional(Scope::Tenant(tenant), GET, of).await?;
        Ok(row.as_ref().map(grant).transpose()?)
    }

    async fn list(
        &self,
        tenant: &str,
        subject: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Grant>, GrantStoreError> {
        let after = after.unwrap_or_default();
        let mut tx = self.begin(Scope::Tenant(tenant), Access::Stale).await?;
        let rows = match subject {
            Some(subject) => {
                tx.fetch_all(LIST_OF, values![tenant, after, limit, subject])
                    .await?
            }
            None => tx.fetch_all(LIST, values![tenant, after, limit]).await?,
        };
        tx.commit().await?;
        Ok(rows.iter().map(grant).collect::<Result<_, _>>()?)
    }

    async fn oldest(
        &self,
        server: &str,
        after: Option<(Duration, &str)>,
        limit: u32,
    ) -> Result<Vec<Grant>, GrantStoreError> {
        let (created, id) = after.map_or((i64::MIN, ""), |(at, id)| (to_millis(at), id));
        let page = values![server, created, id, limit];
        let rows = self.fetch_all(Scope::All, Access::Read, OLDEST, page);
        Ok(rows.await?.iter().map(grant).collect::<Result<_, _>>()?)
    }

    async fn remove(&self, tenant: &str, id: &str, expected: u64) -> Result<(), GrantStoreError> {
        let of = values![id, tenant, to_number(expected)];
        one(self.execute(Scope::Tenant(tenant), REMOVE, of).await?)
    }
}

fn one(rows: u64) -> Result<(), GrantStoreError> {
    if rows == 1 {
        Ok(())
    } else {
        Err(GrantStoreError::Changed)
    }
}

fn grant(row: &Row) -> Result<Grant, SqlError> {
    let text = |column| row.get::<String>(column);
    Ok(Grant {
        id: text("id")?,
        tenant: text("tenant")?,
        principal: text("principal")?,
        issuer: text("issuer")?,
        subject: text("subject")?,
        server: text("server")?,
        scopes: to_set("scopes", &text("scopes")?)?,
        tokens: text("tokens")?,
        created: to_time(row.get("created_at")?),
        renewed: to_time(row.get("renewed_at")?),
        revision: to_count("revision", row.get("revision")?)?,
    })
}
