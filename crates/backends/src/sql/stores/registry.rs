//! Servers, policies and feature flags that are changed at run time. They are above tenants.

use async_trait::async_trait;
use mcp_ultra_domain::{
    ports::{RegistryStore, RegistryStoreError},
    registry::{Change, Entry, KEPT_CHANGES, Kind, Past, Registry},
};

use crate::sql::{
    Database,
    columns::{to_count, to_millis, to_number, to_time},
    error::SqlError,
    row::Row,
    transaction::{Access, Scope},
    value::values,
};

const REVISION: &str = "SELECT number FROM registry_revision";
const ENTRIES: &str = "SELECT * FROM registry_entries ORDER BY created, kind, name";
// Compare and set; whoever comes second waits for the first and then finds another number.
const COUNT: &str = "UPDATE registry_revision SET number = number + 1 WHERE number = $1";
const PUT: &str = "INSERT INTO registry_entries \
    (kind, name, body, revision, created, changed_by, changed_at) \
    VALUES ($1, $2, $3, $4, $4, $5, $6) \
    ON CONFLICT (kind, name) DO UPDATE SET \
    body = $3, revision = $4, changed_by = $5, changed_at = $6";
const REMOVE: &str = "DELETE FROM registry_entries WHERE kind = $1 AND name = $2";
const NOTE: &str = "INSERT INTO registry_changes \
    (revision, kind, name, body, changed_by, changed_at) VALUES ($1, $2, $3, $4, $5, $6)";
const FORGET: &str = "DELETE FROM registry_changes WHERE revision <= $1";
const HISTORY: &str = "SELECT * FROM registry_changes \
    WHERE kind = $1 AND name = $2 AND revision < $3 ORDER BY revision DESC LIMIT $4";

#[async_trait]
impl RegistryStore for Database {
    async fn revision(&self) -> Result<u64, RegistryStoreError> {
        let row = self.fetch_optional(Scope::All, REVISION, &[]).await?;
        Ok(number(row.as_ref())?)
    }

    async fn read(&self) -> Result<Registry, RegistryStoreError> {
        let mut tx = self.begin(Scope::All, Access::Read).await?;
        let revision = tx.fetch_optional(REVISION, &[]).await?;
        let rows = tx.fetch_all(ENTRIES, &[]).await?;
        tx.commit().await?;
        Ok(Registry {
            revision: number(revision.as_ref())?,
            entries: rows.iter().map(entry).collect::<Result<_, _>>()?,
        })
    }

    async fn apply(&self, on: u64, change: &Change) -> Result<u64, RegistryStoreError> {
        let revision = on.saturating_add(1);
        let (kind, name) = (change.kind.as_str(), &change.name);
        let (number, at) = (to_number(revision), to_millis(change.at));
        let mut tx = self.begin(Scope::All, Access::Write).await?;
        if tx.execute(COUNT, values![to_number(on)]).await? == 0 {
            tx.rollback().await?;
            return Err(RegistryStoreError::Changed);
        }
        match &change.text {
            Some(text) => {
                let put = values![kind, name, text, number, &change.by, at];
                tx.execute(PUT, put).await?;
            }
            None => {
                tx.execute(REMOVE, values![kind, name]).await?;
            }
        }
        let text = change.text.as_deref();
        let note = values![number, kind, name, text, &change.by, at];
        tx.execute(NOTE, note).await?;
        let forget = to_number(revision.saturating_sub(KEPT_CHANGES));
        tx.execute(FORGET, values![forget]).await?;
        tx.commit().await?;
        Ok(revision)
    }

    async fn history(
        &self,
        kind: Kind,
        name: &str,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Past>, RegistryStoreError> {
        let before = to_number(before.unwrap_or(u64::MAX));
        let of = values![kind.as_str(), name, before, limit];
        let rows = self.fetch_all(Scope::All, Access::Stale, HISTORY, of);
        Ok(rows.await?.iter().map(past).collect::<Result<_, _>>()?)
    }
}

fn number(row: Option<&Row>) -> Result<u64, SqlError> {
    let row = row.ok_or(SqlError::Column("number"))?;
    to_count("number", row.get("number")?)
}

fn kind(row: &Row) -> Result<Kind, SqlError> {
    let name: String = row.get("kind")?;
    Kind::parse(&name).ok_or(SqlError::Column("kind"))
}

fn entry(row: &Row) -> Result<Entry, SqlError> {
    Ok(Entry {
        kind: kind(row)?,
        name: row.get("name")?,
        text: row.get("body")?,
        revision: to_count("revision", row.get("revision")?)?,
        created: to_count("created", row.get("created")?)?,
        by: row.get("changed_by")?,
        at: to_time(row.get("changed_at")?),
    })
}

fn past(row: &Row) -> Result<Past, SqlError> {
    Ok(Past {
        revision: to_count("revision", row.get("revision")?)?,
        change: Change {
            kind: kind(row)?,
            name: row.get("name")?,
            text: row.get("body")?,
            by: row.get("changed_by")?,
            at: to_time(row.get("changed_at")?),
        },
    })
}
