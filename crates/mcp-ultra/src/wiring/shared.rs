//! What replicas share and may lose: in Redis where one is configured, else in this process.

use std::sync::Arc;

use mcp_ultra_backends::redis::{
    self, Redis, RedisBreakerBoard, RedisCacheStore, RedisError, RedisReplayStore,
    RedisSessionStore, RedisUpstreamSessionStore, limits::Limits,
};
use mcp_ultra_config::Config;
use mcp_ultra_domain::{
    Clock,
    ports::{
        BreakerBoard, CacheStore, Dependency, LimitStore, MemoryLimitStore, MemoryReplayStore,
        MemorySessionStore, ReplayStore, SessionStore, UpstreamSessionStore,
    },
};

/// Makes the stores of what replicas share.
pub(super) struct Shared {
    redis: Option<Redis>,
}

impl Shared {
    /// Connects where a Redis is configured. One that is away is gone on without.
    pub(super) async fn start(config: &Config) -> Result<Self, RedisError> {
        let redis = match &config.storage.redis {
            Some(settings) => Some(Redis::start(settings).await?),
            None => None,
        };
        if redis.is_some() && config.session.keys.is_empty() {
            tracing::warn!(
                "storage.redis is set and session.keys is not: a session of a legacy client is known to the gateway alone that began it, and \
                 each gateway keeps answers and sessions with servers for itself; give all gateways the same session.keys"
            );
        }
        Ok(Self { redis })
    }

    /// The Redis itself.
    pub(super) fn redis(&self) -> Option<Redis> {
        self.redis.clone()
    }

    /// What changes in sessions.
    pub(super) fn sessions(&self) -> Arc<dyn SessionStore> {
        match &self.redis {
            Some(redis) => Arc::new(RedisSessionStore::new(redis.clone())),
            None => Arc::new(MemorySessionStore::default()),
        }
    }

    /// What counts against limits; and what has to be ended with the gateway, where they are shared.
    pub(super) async fn limits(
        &self,
        config: &Config,
        clock: Arc<dyn Clock>,
    ) -> (Arc<dyn LimitStore>, Option<Limits>) {
        let tracked = usize::try_from(config.limits.tracked.get()).unwrap_or(usize::MAX);
        let Some(redis) = &self.redis else {
            return (Arc::new(MemoryLimitStore::new(tracked)), None);
        };
        let limits = redis::limits::start(redis, limits_secret(config), tracked, clock).await;
        (limits.store.clone(), Some(limits))
    }

    /// What is needed for that.
    pub(super) fn dependency(&self) -> Option<Arc<dyn Dependency>> {
        let redis = self.redis.clone()?;
        Some(Arc::new(redis))
    }

    /// Where replicas say how their circuit breakers are.
    pub(super) fn breakers(&self) -> Option<Arc<dyn BreakerBoard>> {
        let redis = self.redis.clone()?;
        Some(Arc::new(RedisBreakerBoard::new(redis)))
    }

    /// Answers that gateways keep for each other; nothing where there are no others.
    pub(super) fn answers(&self) -> Option<Arc<dyn CacheStore>> {
        let redis = self.redis.clone()?;
        Some(Arc::new(RedisCacheStore::new(redis)))
    }

    /// Sessions with servers that gateways keep for each other; nothing where there are no others.
    pub(super) fn upstream_sessions(&self) -> Option<Arc<dyn UpstreamSessionStore>> {
        let redis = self.redis.clone()?;
        Some(Arc::new(RedisUpstreamSessionStore::new(redis)))
    }

    /// What may be used once, of one kind. This process remembers `most` itself.
    pub(super) fn used(&self, kind: &str, most: usize) -> Arc<dyn ReplayStore> {
        match &self.redis {
            Some(redis) => Arc::new(RedisReplayStore::new(redis.clone(), kind, most)),
            None => Arc::new(MemoryReplayStore::new(most)),
        }
    }
}

/// What all replicas know and who reads Redis does not: the first of `session.keys`, else the
/// password of Redis.
fn limits_secret(config: &Config) -> &[u8] {
    let redis = config.storage.redis.as_ref();
    let key = config.session.keys.first().map(|key| key.secret.expose());
    let password = || redis.and_then(|redis| Some(redis.password.as_ref()?.expose()));
    let secret = key.or_else(password);
    secret.unwrap_or_default().as_bytes()
}
