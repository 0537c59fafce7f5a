use std::time::Duration;

use async_trait::async_trait;
use mcp_ultra_domain::ports::{Claim, IdempotencyError, IdempotencyStore};
use sqlx::Row;

use super::{super::columns::to_millis, Sqlite};

const CLAIM: &str = "INSERT INTO idempotency_keys (owner, key, digest, made, created_at) \
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (owner, key) DO NOTHING";
const CLAIMED: &str = "SELECT digest, made FROM idempotency_keys WHERE owner = $1 AND key = $2";
const EXPIRE: &str = "DELETE FROM idempotency_keys WHERE created_at < $1";

#[async_trait]
impl IdempotencyStore for Sqlite {
    async fn claim(
        &self,
        owner: &str,
        key: &str,
        digest: &[u8; 32],
        id: &str,
        now: Duration,
    ) -> Result<Claim, IdempotencyError> {
        // The write first: whoever comes second sees what the first has written.
        let mut tx = self.pool.begin().await.map_err(failed)?;
        let claim = sqlx::query(CLAIM)
            .bind(owner)
            .bind(key)
            .bind(&digest[..])
            .bind(id)
            .bind(to_millis(now));
        let claimed = claim.execute(&mut *tx).await.map_err(failed)?;
        let outcome = if claimed.rows_affected() == 1 {
            Claim::New
        } else {
            let row = sqlx::query(CLAIMED).bind(owner).bind(key);
            let row = row.fetch_one(&mut *tx).await.map_err(failed)?;
            let kept: &[u8] = row.try_get("digest").map_err(failed)?;
            if kept == digest {
                Claim::Same(row.try_get("made").map_err(failed)?)
            } else {
                Claim::Other
            }
        };
        tx.commit().await.map_err(failed)?;
        Ok(outcome)
    }

    async fn expire(&self, before: Duration) -> Result<u64, IdempotencyError> {
        let expire = sqlx::query(EXPIRE).bind(to_millis(before));
        let expired = expire.execute(&self.pool).await.map_err(failed)?;
        Ok(expired.rows_affected())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn failed(error: sqlx::Error) -> IdempotencyError {
    IdempotencyError(error.to_string())
}
