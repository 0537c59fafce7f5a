use std::time::Duration;

use async_trait::async_trait;
use mcp_ultra_domain::{
    Grant,
    ports::{GrantStore, GrantStoreError},
};
use sqlx::{Row, sqlite::SqliteRow};

use super::{
    super::columns::{ColumnError, to_count, to_millis, to_set, to_text, to_time},
    Sqlite,
};

const FIND: &str = "SELECT * FROM grants WHERE principal = $1 AND server = $2";
const PUT: &str = "INSERT INTO grants \
    (id, tenant, principal, issuer, subject, server, scopes, tokens, created_at, renewed_at, revision) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
    ON CONFLICT (principal, server) DO UPDATE SET \
    id = $1, tenant = $2, issuer = $4, subject = $5, scopes = $7, tokens = $8, created_at = $9, \
    renewed_at = $10, revision = $11";
const REPLACE: &str = "UPDATE grants SET \
    scopes = $1, tokens = $2, renewed_at = $3, revision = $4 \
    WHERE id = $5 AND tenant = $6 AND revision = $7";
const GET: &str = "SELECT * FROM grants WHERE id = $1 AND tenant = $2";
const LIST: &str = "SELECT * FROM grants WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3";
const LIST_OF: &str = "SELECT * FROM grants WHERE tenant = $1 AND id > $2 AND subject = $4 \
    ORDER BY id LIMIT $3";
const OLDEST: &str = "SELECT * FROM grants WHERE server = $1 AND (created_at, id) > ($2, $3) \
    ORDER BY created_at, id LIMIT $4";
const REMOVE: &str = "DELETE FROM grants WHERE id = $1 AND tenant = $2 AND revision = $3";

#[async_trait]
impl GrantStore for Sqlite {
    async fn find(&self, principal: &str, server: &str) -> Result<Option<Grant>, GrantStoreError> {
        let row = sqlx::query(FIND).bind(principal).bind(server);
        let row = row.fetch_optional(&self.pool).await.map_err(failed)?;
        row.as_ref().map(grant).transpose()
    }

    async fn put(&self, grant: &Grant) -> Result<(), GrantStoreError> {
        let put = sqlx::query(PUT)
            .bind(&grant.id)
            .bind(&grant.tenant)
            .bind(&grant.principal)
            .bind(&grant.issuer)
            .bind(&grant.subject)
            .bind(&grant.server)
            .bind(to_text(&grant.scopes))
            .bind(&grant.tokens)
            .bind(to_millis(grant.created))
            .bind(to_millis(grant.renewed))
            .bind(revision(grant.revision));
        put.execute(&self.pool).await.map_err(failed)?;
        Ok(())
    }

    async fn replace(&self, grant: &Grant, expected: u64) -> Result<(), GrantStoreError> {
        let replace = sqlx::query(REPLACE)
            .bind(to_text(&grant.scopes))
            .bind(&grant.tokens)
            .bind(to_millis(grant.renewed))
            .bind(revision(grant.revision))
            .bind(&grant.id)
            .bind(&grant.tenant)
            .bind(revision(expected));
        let replaced = replace.execute(&self.pool).await.map_err(failed)?;
        one(replaced.rows_affected())
    }

    async fn get(&self, tenant: &str, id: &str) -> Result<Option<Grant>, GrantStoreError> {
        let row = sqlx::query(GET).bind(id).bind(tenant);
        let row = row.fetch_optional(&self.pool).await.map_err(failed)?;
        row.as_ref().map(grant).transpose()
    }

    async fn list(
        &self,
        tenant: &str,
        subject: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Grant>, GrantStoreError> {
        let sql = if subject.is_some() { LIST_OF } else { LIST };
        let page = sqlx::query(sql).bind(tenant);
        let page = page.bind(after.unwrap_or_default()).bind(limit);
        let page = match subject {
            Some(subject) => page.bind(subject),
            None => page,
        };
        let rows = page.fetch_all(&self.pool).await.map_err(failed)?;
        rows.iter().map(grant).collect()
    }

    async fn oldest(
        &self,
        server: &str,
        after: Option<(Duration, &str)>,
        limit: u32,
    ) -> Result<Vec<Grant>, GrantStoreError> {
        let (created, id) = after.map_or((i64::MIN, ""), |(at, id)| (to_millis(at), id));
        let page = sqlx::query(OLDEST).bind(server).bind(created);
        let page = page.bind(id).bind(limit);
        let rows = page.fetch_all(&self.pool).await.map_err(failed)?;
        rows.iter().map(grant).collect()
    }

    async fn remove(&self, tenant: &str, id: &str, expected: u64) -> Result<(), GrantStoreError> {
        let remove = sqlx::query(REMOVE).bind(id).bind(tenant);
        let remove = remove.bind(revision(expected));
        let removed = remove.execute(&self.pool).await.map_err(failed)?;
        one(removed.rows_affected())
    }
}

fn one(rows: u64) -> Result<(), GrantStoreError> {
    if rows == 1 {
        Ok(())
    } else {
        Err(GrantStoreError::Changed)
    }
}

fn grant(row: &SqliteRow) -> Result<Grant, GrantStoreError> {
    let text = |column| row.try_get::<String, _>(column).map_err(failed);
    let number = |column| row.try_get::<i64, _>(column).map_err(failed);
    Ok(Grant {
        id: text("id")?,
        tenant: text("tenant")?,
        principal: text("principal")?,
        issuer: text("issuer")?,
        subject: text("subject")?,
        server: text("server")?,
        scopes: to_set("scopes", &text("scopes")?).map_err(unreadable)?,
        tokens: text("tokens")?,
        created: to_time(number("created_at")?),
        renewed: to_time(number("renewed_at")?),
        revision: to_count("revision", number("revision")?).map_err(unreadable)?,
    })
}

fn revision(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn unreadable(error: ColumnError) -> GrantStoreError {
    GrantStoreError::Failed(error.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn failed(error: sqlx::Error) -> GrantStoreError {
    GrantStoreError::Failed(error.to_string())
}
