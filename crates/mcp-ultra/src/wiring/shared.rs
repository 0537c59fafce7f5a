//! What replicas share and may lose: in Redis where one is configured, else in this process.

use std::sync::Arc;

use mcp_ultra_backends::redis::{
    Redis, RedisCacheStore, RedisError, RedisReplayStore, RedisSessionStore,
};
use mcp_ultra_config::RedisSettings;
use mcp_ultra_domain::ports::{
    CacheStore, MemoryReplayStore, MemorySessionStore, ReplayStore, SessionStore,
};

/// Makes the stores of what replicas share.
pub(super) struct Shared {
    redis: Option<Redis>,
}

impl Shared {
    /// Connects where a Redis is configured. One that is away is gone on without.
    pub(super) async fn start(settings: Option<&RedisSettings>) -> Result<Self, RedisError> {
        let redis = match settings {
            Some(settings) => Some(Redis::start(settings).await?),
            None => None,
        };
        Ok(Self { redis })
    }

    /// What changes in sessions.
    pub(super) fn sessions(&self) -> Arc<dyn SessionStore> {
        match &self.redis {
            Some(redis) => Arc::new(RedisSessionStore::new(redis.clone())),
            None => Arc::new(MemorySessionStore::default()),
        }
    }

    /// Answers that gateways keep for each other; nothing where there are no others.
    pub(super) fn answers(&self) -> Option<Arc<dyn CacheStore>> {
        let redis = self.redis.clone()?;
        Some(Arc::new(RedisCacheStore::new(redis)))
    }

    /// What may be used once, of one kind. This process remembers `most` itself.
    pub(super) fn used(&self, kind: &str, most: usize) -> Arc<dyn ReplayStore> {
        match &self.redis {
            Some(redis) => Arc::new(RedisReplayStore::new(redis.clone(), kind, most)),
            None => Arc::new(MemoryReplayStore::new(most)),
        }
    }
}
