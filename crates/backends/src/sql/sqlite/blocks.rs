use std::time::Duration;

use async_trait::async_trait;
use mcp_ultra_domain::{
    Block,
    ports::{BlockStore, BlockStoreError},
};
use sqlx::{Row, sqlite::SqliteRow};

use super::{
    super::columns::{to_millis, to_time},
    Sqlite,
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
impl BlockStore for Sqlite {
    async fn put(&self, block: &Block) -> Result<(), BlockStoreError> {
        let put = sqlx::query(PUT)
            .bind(&block.id)
            .bind(&block.tenant)
            .bind(&block.issuer)
            .bind(&block.subject)
            .bind(to_millis(block.since))
            .bind(to_millis(block.until));
        put.execute(&self.pool).await.map_err(failed)?;
        let forget = sqlx::query(FORGET).bind(to_millis(block.since));
        forget.execute(&self.pool).await.map_err(failed)?;
        Ok(())
    }

    async fn in_force(&self, now: Duration) -> Result<Vec<Block>, BlockStoreError> {
        let rows = sqlx::query(IN_FORCE).bind(to_millis(now));
        let rows = rows.fetch_all(&self.pool).await.map_err(failed)?;
        rows.iter().map(block).collect()
    }

    async fn remove(&self, block: &Block) -> Result<bool, BlockStoreError> {
        let remove = sqlx::query(REMOVE).bind(&block.id).bind(&block.tenant);
        let remove = remove
            .bind(to_millis(block.since))
            .bind(to_millis(block.until));
        let removed = remove.execute(&self.pool).await.map_err(failed)?;
        Ok(removed.rows_affected() == 1)
    }
}

fn block(row: &SqliteRow) -> Result<Block, BlockStoreError> {
    let text = |column| row.try_get::<String, _>(column).map_err(failed);
    let number = |column| row.try_get::<i64, _>(column).map_err(failed);
    Ok(Block {
        id: text("id")?,
        tenant: text("tenant")?,
        issuer: text("issuer")?,
        subject: text("subject")?,
        since: to_time(number("since_at")?),
        until: to_time(number("until_at")?),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn failed(error: sqlx::Error) -> BlockStoreError {
    BlockStoreError(error.to_string())
}
