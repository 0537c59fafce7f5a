//! The stores that connect by a password, which may change while the gateway runs.

use std::sync::Arc;

use mcp_ultra_backends::{nats::Nats, redis::Redis, sql::Database};
use mcp_ultra_config::Config;

/// Those that are configured.
pub(super) struct Stores {
    pub(super) database: Option<Database>,
    pub(super) redis: Option<Redis>,
    pub(super) nats: Option<Arc<Nats>>,
}

impl Stores {
    /// Takes over the passwords of `new`. All else stays as the process was `started` with.
    pub(super) fn renew(&self, started: &Config, new: &Config) {
        let (config, _) = started.with_passwords_of(new);
        if let (Some(database), Some(settings)) = (&self.database, &config.storage.postgres) {
            database.renew(settings);
        }
        if let (Some(redis), Some(settings)) = (&self.redis, &config.storage.redis) {
            redis.renew(settings);
        }
        if let (Some(nats), Some(settings)) = (&self.nats, &config.messaging.nats) {
            nats.renew(settings);
        }
    }
}
