//! API keys.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use mcp_ultra_domain::{
    ApiKey, KeySecret, PrincipalKind,
    ports::{KeyStore, KeyStoreError},
};

use crate::sql::{
    Database,
    columns::{to_count, to_millis, to_number, to_set, to_text, to_time},
    error::SqlError,
    row::Row,
    transaction::{Access, Scope, Transaction},
    value::values,
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
impl KeyStore for Database {
    async fn add(&self, key: &ApiKey) -> Result<(), KeyStoreError> {
        let mut tx = self
            .begin(Scope::Tenant(&key.tenant), Access::Write)
            .await?;
        let values = values![
            &key.id,
            &key.tenant,
            &key.name,
            key.kind.as_str(),
            to_text(&key.roles),
            to_text(&key.scopes),
            to_millis(key.created),
            key.expires.map(to_millis),
            key.revoked.map(to_millis),
            to_number(key.revision),
        ];
        tx.execute(ADD, values).await?;
        for secret in &key.secrets {
            add_secret(&mut tx, &key.id, secret).await?;
        }
        Ok(tx.commit().await?)
    }

    async fn find(&self, lookup: &str) -> Result<Option<ApiKey>, KeyStoreError> {
        // Whose it is shows only then. One transaction, so that a key and its secrets are of one
        // moment.
        let mut tx = self.begin(Scope::All, Access::Read).await?;
        let row = tx.fetch_optional(FIND, values![lookup]).await?;
        let key = with_secrets(&mut tx, row).await?;
        tx.commit().await?;
        Ok(key)
    }

    async fn get(&self, tenant: &str, id: &str) -> Result<Option<ApiKey>, KeyStoreError> {
        let mut tx = self.begin(Scope::Tenant(tenant), Access::Read).await?;
        let row = tx.fetch_optional(GET, values![id, tenant]).await?;
        let key = with_secrets(&mut tx, row).await?;
        tx.commit().await?;
        Ok(key)
    }

    async fn list(
        &self,
        tenant: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ApiKey>, KeyStoreError> {
        let page = values![tenant, after.unwrap_or_default(), limit];
        let mut tx = self.begin(Scope::Tenant(tenant), Access::Stale).await?;
        let keys = tx.fetch_all(LIST, page).await?;
        let rows = tx.fetch_all(SECRETS_LISTED, page).await?;
        tx.commit().await?;
        let mut secrets: BTreeMap<String, Vec<KeySecret>> = BTreeMap::new();
        for row in &rows {
            let of = secrets.entry(row.get("key_id")?).or_default();
            of.push(secret(row)?);
        }
        let whole = |row: &Row| {
            let mut key = key(row)?;
            key.secrets = secrets.remove(&key.id).unwrap_or_default();
            Ok(key)
        };
        keys.iter().map(whole).collect()
    }

    async fn replace(&self, key: &ApiKey, expected: u64) -> Result<(), KeyStoreError> {
        let mut tx = self
            .begin(Scope::Tenant(&key.tenant), Access::Write)
            .await?;
        let values = values![
            &key.name,
            key.kind.as_str(),
            to_text(&key.roles),
            to_text(&key.scopes),
            key.expires.map(to_millis),
            key.revoked.map(to_millis),
            to_number(key.revision),
            &key.id,
            &key.tenant,
            to_number(expected),
        ];
        // Who has changed this row holds it until the end, and nobody else gets past here.
        if tx.execute(REPLACE, values).await? == 0 {
            tx.rollback().await?;
            return Err(KeyStoreError::Changed);
        }
        replace_secrets(&mut tx, key).await?;
        Ok(tx.commit().await?)
    }

    async fn used(&self, uses: &[(String, Duration)]) -> Result<(), KeyStoreError> {
        // In the order of `replace_secrets`, and of others who note uses.
        let mut uses: Vec<_> = uses.iter().collect();
        uses.sort_unstable();
        let mut tx = self.begin(Scope::All, Access::Write).await?;
        for (lookup, at) in uses {
            tx.execute(USED, values![to_millis(*at), lookup]).await?;
        }
        Ok(tx.commit().await?)
    }
}

async fn replace_secrets(tx: &mut Transaction, key: &ApiKey) -> Result<(), SqlError> {
    let mut kept = secrets_of(tx, &key.id).await?;
    kept.sort_unstable_by(|one, other| one.lookup.cmp(&other.lookup));
    for KeySecret { lookup, .. } in &kept {
        match key.secrets.iter().find(|one| one.lookup == *lookup) {
            Some(one) => {
                let values = values![one.expires.map(to_millis), lookup, &key.id];
                tx.execute(REPLACE_SECRET, values).await?;
            }
            None => {
                tx.execute(DROP_SECRET, values![lookup, &key.id]).await?;
            }
        }
    }
    let is_new = |one: &&KeySecret| kept.iter().all(|kept| kept.lookup != one.lookup);
    for secret in key.secrets.iter().filter(is_new) {
        add_secret(tx, &key.id, secret).await?;
    }
    Ok(())
}

async fn add_secret(tx: &mut Transaction, key: &str, secret: &KeySecret) -> Result<(), SqlError> {
    let values = values![
        &secret.lookup,
        key,
        &secret.digest,
        to_millis(secret.created),
        secret.expires.map(to_millis),
        secret.last_used.map(to_millis),
    ];
    tx.execute(ADD_SECRET, values).await?;
    Ok(())
}

async fn with_secrets(tx: &mut Transaction, row: Option<Row>) -> Result<Option<ApiKey>, SqlError> {
    let Some(row) = row else { return Ok(None) };
    let mut key = key(&row)?;
    key.secrets = secrets_of(tx, &key.id).await?;
    Ok(Some(key))
}

async fn secrets_of(tx: &mut Transaction, key: &str) -> Result<Vec<KeySecret>, SqlError> {
    let rows = tx.fetch_all(SECRETS, values![key]).await?;
    rows.iter().map(secret).collect()
}

/// The key without its secrets.
fn key(row: &Row) -> Result<ApiKey, SqlError> {
    let text = |column| row.get::<String>(column);
    let time = |column| Ok::<_, SqlError>(row.get::<Option<i64>>(column)?.map(to_time));
    Ok(ApiKey {
        id: text("id")?,
        tenant: text("tenant")?,
        name: text("name")?,
        kind: PrincipalKind::parse(&text("kind")?).ok_or(SqlError::Column("kind"))?,
        roles: to_set("roles", &text("roles")?)?,
        scopes: to_set("scopes", &text("scopes")?)?,
        created: to_time(row.get("created_at")?),
        expires: time("expires_at")?,
        revoked: time("revoked_at")?,
        revision: to_count("revision", row.get("revision")?)?,
        secrets: Vec::new(),
    })
}

fn secret(row: &Row) -> Result<KeySecret, SqlError> {
    let time = |column| Ok::<_, SqlError>(row.get::<Option<i64>>(column)?.map(to_time));
    let digest: Vec<u8> = row.get("digest")?;
    Ok(KeySecret {
        lookup: row.get("lookup")?,
        digest: digest.try_into().map_err(|_| SqlError::Column("digest"))?,
        created: to_time(row.get("created_at")?),
        expires: time("expires_at")?,
        last_used: time("last_used_at")?,
    })
}
