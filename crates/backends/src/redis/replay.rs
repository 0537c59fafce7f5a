//! Proofs and links that were used, known to all replicas.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use mcp_ultra_domain::ports::{MemoryReplayStore, ProofId, ReplayStore, ReplayStoreError};
use redis::Pipeline;

use super::{Redis, random};

/// How much longer than asked for something is remembered: the clocks of two replicas may differ.
const CLOCKS: Duration = Duration::from_mins(1);

/// A [`ReplayStore`] that replicas share.
///
/// What this process has seen used is in memory too: it is refused without asking Redis, and while
/// Redis is away. So in that time something can be used once at each replica.
#[derive(Debug)]
pub struct RedisReplayStore {
    redis: Redis,
    /// What the names of its keys begin with.
    place: String,
    here: MemoryReplayStore,
    /// What tells the uses of this process from those of others, and from each other.
    process: u64,
    uses: AtomicU64,
}

impl RedisReplayStore {
    /// A store for one kind of thing, such as `proof`; this process remembers `most` itself.
    pub fn new(redis: Redis, kind: &str, most: usize) -> Self {
        Self {
            place: format!("{}:used:{kind}:", redis.prefix),
            redis,
            here: MemoryReplayStore::new(most),
            process: random::number(),
            uses: AtomicU64::default(),
        }
    }

    fn key(&self, proof: &ProofId) -> String {
        let mut key = self.place.clone();
        for byte in proof {
            // Writing to a string can't fail.
            let _ = write!(key, "{byte:02x}");
        }
        key
    }
}

#[async_trait]
impl ReplayStore for RedisReplayStore {
    async fn first_use(
        &self,
        proof: &ProofId,
        until: Duration,
        now: Duration,
    ) -> Result<bool, ReplayStoreError> {
        if !self.here.first_use(proof, until, now).await? {
            return Ok(false);
        }
        // A command whose answer was lost is sent again, and finds what it has written itself.
        let number = self.uses.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{:x}-{number:x}", self.process);
        let lasts = until.saturating_sub(now).saturating_add(CLOCKS);
        let lasts = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        let mut command = Pipeline::new();
        command
            .cmd("SET")
            .arg(self.key(proof))
            .arg(&mark)
            .arg("NX")
            .arg("GET")
            .arg("PX")
            .arg(lasts);
        match self.redis.link.ask::<(Option<String>,)>(&command).await {
            Ok((before,)) => Ok(before.is_none_or(|before| before == mark)),
            // It is the first use here, which is all that is known.
            Err(_away) => Ok(true),
        }
    }

    async fn was_used(&self, proof: &ProofId, now: Duration) -> Result<bool, ReplayStoreError> {
        if self.here.was_used(proof, now).await? {
            return Ok(true);
        }
        let mut command = Pipeline::new();
        command.cmd("EXISTS").arg(self.key(proof));
        let found = self.redis.link.ask::<(bool,)>(&command).await;
        Ok(found.is_ok_and(|(exists,)| exists))
    }
}
