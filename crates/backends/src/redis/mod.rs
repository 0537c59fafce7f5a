//! What replicas share and may lose, in a Redis: which proofs and links were used, what changes
//! in sessions, sessions with servers, what counts against limits, how circuit breakers are, and answers
//! that they keep for each other.
//!
//! The way in is [`Redis::start`]. Nothing that is asked of it fails because Redis is away: each
//! store has an in-memory one beside it, notes there what this process does, and goes by that alone
//! for as long. How a connection is made is in `connect`, when it is made again and when nobody
//! waits for it in `link`. Nothing is here that may not be lost: that is in [`crate::sql`].

mod breakers;
mod cache;
mod connect;
pub mod limits;
mod link;
mod news;
mod random;
mod replay;
mod sessions;
mod upstream_sessions;

use std::{path::PathBuf, sync::Arc, time::Duration};

use mcp_ultra_config::RedisSettings;
use mcp_ultra_domain::{
    breaker::{Forced, Status},
    ports::Dependency,
};

use self::link::Link;
pub use self::{
    breakers::RedisBreakerBoard, cache::RedisCacheStore, replay::RedisReplayStore,
    sessions::RedisSessionStore, upstream_sessions::RedisUpstreamSessionStore,
};

/// Why Redis can't even be tried.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// A file of certificates or of a key.
    #[error("{} can't be read: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What is configured makes no client: certificates that are none, for example.
    #[error("no connection to Redis can be set up: {0}")]
    Unfit(String),
}

/// A Redis. Clones share one connection.
#[derive(Clone)]
pub struct Redis {
    link: Arc<Link>,
    prefix: Arc<str>,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}

impl Redis {
    /// Connects, and goes on trying in a task of the current runtime where that fails. Returns after
    /// the first try, which takes `connect_timeout` at most; three times that for a cluster, and for Sentinels
    /// a second more for each three of them.
    ///
    /// # Errors
    /// Only for what no waiting heals: files that can't be read, certificates that are none.
    pub async fn start(settings: &RedisSettings) -> Result<Self, RedisError> {
        Ok(Self {
            link: Link::start(settings).await?,
            prefix: settings.prefix.as_str().into(),
        })
    }

    /// The next connection is made with the passwords of `settings`, and the one that is there goes on.
    /// Nothing else of `settings` may differ from what was connected to.
    pub fn renew(&self, settings: &RedisSettings) {
        self.link.renew(settings);
    }

    /// Whether it answers, as far as is known.
    pub fn is_reachable(&self) -> bool {
        self.link.is_reachable()
    }
}

impl Dependency for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn breaker(&self) -> (Status, Option<Duration>) {
        self.link.status()
    }

    fn force(&self, forced: Option<Forced>) {
        self.link.force(forced);
    }
}
