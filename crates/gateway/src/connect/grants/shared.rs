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
/// How often it is tried to write what could not be written.
const WRITE_AGAIN: Duration = Duration::from_millis(500);

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

    fn set_unwritten(&self, grant: Grant) {
        let key = (grant.principal.clone(), grant.server.clone());
        self.unwritten.lock().insert(key, grant);
    }

    pub(super) fn no_longer_unwritten(&self, principal: &str, server: &str) {
        let key = (principal.to_owned(), server.to_owned());
        self.unwritten.lock().remove(&key);
    }

    /// Writes a renewed grant that could not be written, as soon as that can be done: the longer it
    /// takes, the likelier another gateway shows the refresh token that was used. The end of the process
    /// does not wait for it ([`Self::finish`] writes the same).
    pub(super) fn write_later(self: &Arc<Self>, grant: Grant) {
        self.set_unwritten(grant.clone());
        let shared = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(WRITE_AGAIN).await;
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                if shared.unwritten(&grant.principal, &grant.server).as_ref() != Some(&grant) {
                    return;
                }
                match shared.write(&grant).await {
                    Ok(()) => {
                        shared.no_longer_unwritten(&grant.principal, &grant.server);
                        tracing::info!(
                            server = grant.server,
                            grant = grant.id,
                            "refreshed tokens are kept now"
                        );
                        return;
                    }
                    // The next call sees to what is there instead.
                    Err(GrantStoreError::Changed) => return,
                    Err(GrantStoreError::Failed(_)) => {}
                }
            }
        });
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
