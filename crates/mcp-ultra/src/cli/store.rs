//! The store of a configuration, which commands without `--admin` open themselves, beside the gateways
//! that run on it.

use std::sync::Arc;

use mcp_ultra_backends::sql::Database;
use mcp_ultra_config::{Config, MessagingSection};
use mcp_ultra_domain::Announcement;
use parking_lot::Mutex;

use crate::wiring::{
    messaging::Messaging,
    storage::{self, StorageError},
};

/// The store, open.
pub(super) struct Store {
    pub(super) database: Database,
    pub(super) changes: Changes,
    messaging: MessagingSection,
}

/// What a command has changed, for the gateways that run.
#[derive(Clone, Default)]
pub(super) struct Changes(Arc<Mutex<Vec<Announcement>>>);

impl Changes {
    /// Notes one more.
    pub(super) fn add(&self, change: Announcement) {
        self.0.lock().push(change);
    }
}

impl Store {
    /// Opens it; `None` where the configuration names none.
    pub(super) async fn open(config: &Config) -> Result<Option<Self>, StorageError> {
        let database = storage::open(&config.storage).await?;
        Ok(database.map(|database| Self {
            database,
            changes: Changes::default(),
            messaging: config.messaging.clone(),
        }))
    }

    /// Closes it, and tells gateways what was changed where `messaging` says how; whether they were told.
    /// They find by themselves what they are not told.
    pub(super) async fn close(self) -> bool {
        let told = self.tell().await;
        if let Err(why) = &told {
            eprintln!(
                "warning: {why}: gateways that run are not told of the change, and find it by themselves"
            );
        }
        self.database.close().await;
        told.unwrap_or_default()
    }

    async fn tell(&self) -> Result<bool, String> {
        let changes = std::mem::take(&mut *self.changes.0.lock());
        if changes.is_empty() || self.messaging.nats.is_none() {
            return Ok(false);
        }
        let messaging = Messaging::start(&self.messaging).map_err(|error| error.to_string())?;
        let others = messaging.announcements();
        for change in changes {
            others.announce(change);
        }
        if messaging.close().await {
            Ok(true)
        } else {
            Err("NATS (messaging.nats) does not answer".to_owned())
        }
    }
}
