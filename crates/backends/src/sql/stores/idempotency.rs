//! What was asked under which idempotency key. Their owners are principals, so they know no tenant.

use std::time::Duration;

use async_trait::async_trait;
use mcp_ultra_domain::ports::{Claim, IdempotencyError, IdempotencyStore};

use crate::sql::{
    Database,
    columns::to_millis,
    transaction::{Access, Scope},
    value::values,
};

const CLAIM: &str = "INSERT INTO idempotency_keys (owner, key, digest, made, created_at) \
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (owner, key) DO NOTHING";
const CLAIMED: &str = "SELECT digest, made FROM idempotency_keys WHERE owner = $1 AND key = $2";
const EXPIRE: &str = "DELETE FROM idempotency_keys WHERE created_at < $1";

#[async_trait]
impl IdempotencyStore for Database {
    async fn claim(
        &self,
        owner: &str,
        key: &str,
        digest: &[u8; 32],
        id: &str,
        now: Duration,
    ) -> Result<Claim, IdempotencyError> {
        // The write first: whoever comes second waits for the first, and sees what it has written.
        let mut tx = self.begin(Scope::All, Access::Write).await?;
        let claim = values![owner, key, digest, id, to_millis(now)];
        let outcome = if tx.execute(CLAIM, claim).await? == 1 {
            Claim::New
        } else {
            let row = tx.fetch_one(CLAIMED, values![owner, key]).await?;
            if row.get::<Vec<u8>>("digest")? == digest {
                Claim::Same(row.get("made")?)
            } else {
                Claim::Other
            }
        };
        tx.commit().await?;
        Ok(outcome)
    }

    async fn expire(&self, before: Duration) -> Result<u64, IdempotencyError> {
        let before = values![to_millis(before)];
        Ok(self.execute(Scope::All, EXPIRE, before).await?)
    }
}
