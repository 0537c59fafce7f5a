//! Callers who are refused for a time.

use std::time::Duration;

use async_trait::async_trait;
use mcp_ultra_domain::{
    Block,
    ports::{BlockStore, BlockStoreError},
};

use crate::sql::{
    Database,
    columns::{to_millis, to_time},
    error::SqlError,
    row::Row,
    transaction::{Access, Scope},
    value::values,
};

const PUT: &str = "INSERT INTO blocks (id, tenant, issuer, subject, since_at, until_at) \
    VALUES ($1, $2, $3, $4, $5, $6) \
    ON CONFLICT (id) DO UPDATE SET \
    tenant = $2, issuer = $3, subject = $4, since_at = $5, until_at = $6";
const FORGET: &str = "DELETE FROM blocks WHERE until_at <= $1";
const IN_FORCE: &str = "SELECT * FROM blocks WHERE until_at > $1 ORDER BY id";
const REMOVE: &str = "DELETE FROM blocks WHERE id = $1 AND tenant = $2 AND since_at = $3 \
    AND until_at = $4";

#[async_trait]
impl BlockStore for Database {
    async fn put(&self, block: &Block) -> Result<(), BlockStoreError> {
        let values = values![
            &block.id,
            &block.tenant,
            &block.issuer,
            &block.subject,
            to_millis(block.since),
            to_millis(block.until),
        ];
        self.execute(Scope::Tenant(&block.tenant), PUT, values)
            .await?;
        // Apart from the one before: two that put what the other forgets would wait for each other.
        self.execute(Scope::All, FORGET, values![to_millis(block.since)])
            .await?;
        Ok(())
    }

    async fn in_force(&self, now: Duration) -> Result<Vec<Block>, BlockStoreError> {
        let now = values![to_millis(now)];
        let rows = self.fetch_all(Scope::All, Access::Read, IN_FORCE, now);
        Ok(rows.await?.iter().map(block).collect::<Result<_, _>>()?)
    }

    async fn remove(&self, block: &Block) -> Result<bool, BlockStoreError> {
        let values = values![
            &block.id,
            &block.tenant,
            to_millis(block.since),
            to_millis(block.until),
        ];
        let removed = self.execute(Scope::Tenant(&block.tenant), REMOVE, values);
        Ok(removed.await? == 1)
    }
}

fn block(row: &Row) -> Result<Block, SqlError> {
    Ok(Block {
        id: row.get("id")?,
        tenant: row.get("tenant")?,
        issuer: row.get("issuer")?,
        subject: row.get("subject")?,
        since: to_time(row.get("since_at")?),
        until: to_time(row.get("until_at")?),
    })
}
