use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use mcp_ultra_domain::{
    ApiKey, KeySecret, PrincipalKind,
    ports::{KeyStore, KeyStoreError},
};
use sqlx::{Row, SqliteConnection, error::ErrorKind, sqlite::SqliteRow};

use super::{
    super::columns::{ColumnError, to_count, to_millis, to_set, to_text, to_time},
    Sqlite,
};

const ADD: &str = "INSERT INTO api_keys \
    (id, tenant, name, kind, roles, scopes, created_at, expires_at, revoked_at, revision) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
const ADD_SECRET: &str = "INSERT INTO api_key_secrets \
    (lookup, key_id, digest, created_at, expires_at, last_used_at) \
    VALUES ($1, $2, $3, $4, $5, $6)";
const REPLACE: &str = "UPDATE api_keys SET \
    name = $1, kind = $2, roles = $3, scopes = $4, expires_at = $5, revoked_at = $6, revision = $7 \
    WHERE id = $8 AND tenant = $9 AND revision = $10";
// What was used meanwhile stays noted.
const REPLACE_SECRET: &str = "UPDATE api_key_secrets SET expires_at = $1 \
    WHERE lookup = $2 AND key_id = $3";
const DROP_SECRET: &str = "DELETE FROM api_key_secrets WHERE lookup = $1 AND key_id = $2";
const USED: &str = "UPDATE api_key_secrets SET last_used_at = $1 \
    WHERE lookup = $2 AND (last_used_at IS NULL OR last_used_at < $1)";
const FIND: &str = "SELECT k.* FROM api_keys k \
    JOIN api_key_secrets s ON s.key_id = k.id WHERE s.lookup = $1";
const GET: &str = "SELECT * FROM api_keys WHERE id = $1 AND tenant = $2";
const LIST: &str = "SELECT * FROM api_keys WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3";
const SECRETS: &str = "SELECT * FROM api_key_secrets WHERE key_id = $1 ORDER BY created_at, lookup";
const SECRETS_LISTED: &str = "SELECT * FROM api_key_secrets WHERE key_id IN \
    (SELECT id FROM api_keys WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3) \
    ORDER BY created_at, lookup";

#[async_trait]
impl KeyStore for Sqlite {
    async fn add(&self, key: &ApiKey) -> Result<(), KeyStoreError> {
        let mut tx = self.pool.begin().await.map_err(failed)?;
        sqlx::query(ADD)
            .bind(&key.id)
            .bind(&key.tenant)
            .bind(&key.name)
            .bind(key.kind.as_str())
            .bind(to_text(&key.roles))
            .bind(to_text(&key.scopes))
            .bind(to_millis(key.created))
            .bind(key.expires.map(to_millis))
            .bind(key.revoked.map(to_millis))
            .bind(revision(key.revision))
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        for secret in &key.secrets {
            add_secret(&mut tx, &key.id, secret).await?;
        }
        tx.commit().await.map_err(failed)
    }

    async fn find(&self, lookup: &str) -> Result<Option<ApiKey>, KeyStoreError> {
        // One transaction, so that a key and its secrets are of one moment.
        let mut tx = self.pool.begin().await.map_err(failed)?;
        let row = sqlx::query(FIND).bind(lookup).fetch_optional(&mut *tx);
        let row = row.await.map_err(failed)?;
        with_secrets(&mut tx, row).await
    }

    async fn get(&self, tenant: &str, id: &str) -> Result<Option<ApiKey>, KeyStoreError> {
        let mut tx = self.pool.begin().await.map_err(failed)?;
        let row = sqlx::query(GET).bind(id).bind(tenant);
        let row = row.fetch_optional(&mut *tx).await.map_err(failed)?;
        with_secrets(&mut tx, row).await
    }

    async fn list(
        &self,
        tenant: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ApiKey>, KeyStoreError> {
        let mut tx = self.pool.begin().await.map_err(failed)?;
        let page = |sql: &'static str| {
            let after = after.unwrap_or_default();
            sqlx::query(sql).bind(tenant).bind(after).bind(limit)
        };
        let keys = page(LIST).fetch_all(&mut *tx).await.map_err(failed)?;
        let rows = page(SECRETS_LISTED).fetch_all(&mut *tx).await;
        let mut secrets: BTreeMap<String, Vec<KeySecret>> = BTreeMap::new();
        for row in rows.map_err(failed)? {
            let of = row.try_get("key_id").map_err(failed)?;
            secrets.entry(of).or_default().push(secret(&row)?);
        }
        let whole = |row: &SqliteRow| {
            let mut key = key(row)?;
            key.secrets = secrets.remove(&key.id).unwrap_or_default();
            Ok(key)
        };
        keys.iter().map(whole).collect()
    }

    async fn replace(&self, key: &ApiKey, expected: u64) -> Result<(), KeyStoreError> {
        // A transaction that begins with the write: one that reads first could be refused for what
        // another has written meanwhile.
        let mut tx = self.pool.begin().await.map_err(failed)?;
        let replaced = sqlx::query(REPLACE)
            .bind(&key.name)
            .bind(key.kind.as_str())
            .bind(to_text(&key.roles))
            .bind(to_text(&key.scopes))
            .bind(key.expires.map(to_millis))
            .bind(key.revoked.map(to_millis))
            .bind(revision(key.revision))
            .bind(&key.id)
            .bind(&key.tenant)
            .bind(revision(expected))
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        if replaced.rows_affected() == 0 {
            return Err(KeyStoreError::Changed);
        }
        for kept in secrets_of(&mut tx, &key.id).await? {
            let change = match key.secrets.iter().find(|one| one.lookup == kept.lookup) {
                Some(one) => sqlx::query(REPLACE_SECRET).bind(one.expires.map(to_millis)),
                None => sqlx::query(DROP_SECRET),
            };
            let change = change.bind(kept.lookup).bind(&key.id);
            change.execute(&mut *tx).await.map_err(failed)?;
        }
        let kept = secrets_of(&mut tx, &key.id).await?;
        let is_new = |one: &&KeySecret| kept.iter().all(|kept| kept.lookup != one.lookup);
        for secret in key.secrets.iter().filter(is_new) {
            add_secret(&mut tx, &key.id, secret).await?;
        }
        tx.commit().await.map_err(failed)
    }

    async fn used(&self, uses: &[(String, Duration)]) -> Result<(), KeyStoreError> {
        let mut tx = self.pool.begin().await.map_err(failed)?;
        for (lookup, at) in uses {
            let used = sqlx::query(USED).bind(to_millis(*at)).bind(lookup);
            used.execute(&mut *tx).await.map_err(failed)?;
        }
        tx.commit().await.map_err(failed)
    }
}

async fn add_secret(
    tx: &mut SqliteConnection,
    key: &str,
    secret: &KeySecret,
) -> Result<(), KeyStoreError> {
    let add = sqlx::query(ADD_SECRET)
        .bind(&secret.lookup)
        .bind(key)
        .bind(&secret.digest[..])
        .bind(to_millis(secret.created))
        .bind(secret.expires.map(to_millis))
        .bind(secret.last_used.map(to_millis));
    add.execute(tx).await.map_err(failed)?;
    Ok(())
}

async fn with_secrets(
    tx: &mut SqliteConnection,
    row: Option<SqliteRow>,
) -> Result<Option<ApiKey>, KeyStoreError> {
    let Some(row) = row else { return Ok(None) };
    let mut key = key(&row)?;
    key.secrets = secrets_of(tx, &key.id).await?;
    Ok(Some(key))
}

async fn secrets_of(tx: &mut SqliteConnection, key: &str) -> Result<Vec<KeySecret>, KeyStoreError> {
    let rows = sqlx::query(SECRETS).bind(key).fetch_all(tx).await;
    rows.map_err(failed)?.iter().map(secret).collect()
}

/// The key without its secrets.
fn key(row: &SqliteRow) -> Result<ApiKey, KeyStoreError> {
    let read = || -> Result<_, sqlx::Error> {
        let of = |error: ColumnError| sqlx::Error::Decode(error.into());
        let kind: String = row.try_get("kind")?;
        Ok(ApiKey {
            id: row.try_get("id")?,
            tenant: row.try_get("tenant")?,
            name: row.try_get("name")?,
            kind: PrincipalKind::parse(&kind).ok_or_else(|| of(ColumnError("kind")))?,
            roles: to_set("roles", row.try_get("roles")?).map_err(of)?,
            scopes: to_set("scopes", row.try_get("scopes")?).map_err(of)?,
            created: to_time(row.try_get("created_at")?),
            expires: row.try_get::<Option<i64>, _>("expires_at")?.map(to_time),
            revoked: row.try_get::<Option<i64>, _>("revoked_at")?.map(to_time),
            revision: to_count("revision", row.try_get("revision")?).map_err(of)?,
            secrets: Vec::new(),
        })
    };
    read().map_err(failed)
}

fn secret(row: &SqliteRow) -> Result<KeySecret, KeyStoreError> {
    let read = || -> Result<_, sqlx::Error> {
        let digest: &[u8] = row.try_get("digest")?;
        let wrong = |_| sqlx::Error::Decode(ColumnError("digest").into());
        Ok(KeySecret {
            lookup: row.try_get("lookup")?,
            digest: digest.try_into().map_err(wrong)?,
            created: to_time(row.try_get("created_at")?),
            expires: row.try_get::<Option<i64>, _>("expires_at")?.map(to_time),
            last_used: row.try_get::<Option<i64>, _>("last_used_at")?.map(to_time),
        })
    };
    read().map_err(failed)
}

fn revision(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn failed(error: sqlx::Error) -> KeyStoreError {
    let unique = error
        .as_database_error()
        .is_some_and(|error| matches!(error.kind(), ErrorKind::UniqueViolation));
    if unique {
        KeyStoreError::Exists
    } else {
        KeyStoreError::Failed(error.to_string())
    }
}
