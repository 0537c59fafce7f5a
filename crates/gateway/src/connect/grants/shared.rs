//! What the grants of all servers have in common.

use std::{collections::HashMap, sync::Arc, time::Duration};

use mcp_ultra_domain::{
    Clock, Grant,
    ports::{GrantStore, GrantStoreError},
};
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use super::lives::Lives;
use crate::connect::vault::Vault;

/// How long the end of the process waits for refreshes that are under way.
const FINISH: Duration = Duration::from_secs(10);

/// What the grants of all servers have in common.
pub(in crate::connect) struct Shared {
    pub(super) store: Arc<dyn GrantStore>,
    pub(super) vault: Vault,
    pub(super) clock: Arc<dyn Clock>,
    /// What goes on with which grant.
    pub(super) lives: Lives,
    /// Renewed grants that could not be written, by principal and server. They are not refreshed
    /// again before they are.
    unwritten: Mutex<HashMap<(String, String), Grant>>,
    /// Refreshes of which the answer is not kept yet.
    pub(super) under_way: TaskTracker,
}

impl Shared {
    pub(in crate::connect) fn new(
        store: Arc<dyn GrantStore>,
        vault: Vault,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            store,
            vault,
            clock,
            lives: Lives::default(),
            unwritten: Mutex::default(),
            under_way: TaskTracker::new(),
        }
    }

    pub(super) fn unwritten(&self, principal: &str, server: &str) -> Option<Grant> {
        let unwritten = self.unwritten.lock();
        let key = (principal.to_owned(), server.to_owned());
        unwritten.get(&key).cloned()
    }

    pub(super) fn set_unwritten(&self, grant: Grant) {
        let key = (grant.principal.clone(), grant.server.clone());
        self.unwritten.lock().insert(key, grant);
    }

    pub(super) fn no_longer_unwritten(&self, principal: &str, server: &str) {
        let key = (principal.to_owned(), server.to_owned());
        self.unwritten.lock().remove(&key);
    }

    /// Waits for refreshes that are under way, and writes what could not be written.
    pub(in crate::connect) async fn finish(&self) {
        self.under_way.close();
        let waiting = tokio::time::timeout(FINISH, self.under_way.wait());
        if waiting.await.is_err() {
            tracing::warn!(
                refreshes = self.under_way.len(),
                "refreshes of what people have granted were cut off; they may have to connect the server again"
            );
        }
        let unwritten = std::mem::take(&mut *self.unwritten.lock());
        for grant in unwritten.into_values() {
            if let Err(GrantStoreError::Failed(error)) = self.write(&grant).await {
                tracing::error!(
                    server = grant.server,
                    grant = grant.id,
                    error,
                    "refreshed tokens could not be kept, so their person has to connect the server again"
                );
            }
        }
    }

    /// Writes a grant in the place of the revision before.
    pub(super) async fn write(&self, grant: &Grant) -> Result<(), GrantStoreError> {
        self.store.replace(grant, grant.revision - 1).await
    }
}
