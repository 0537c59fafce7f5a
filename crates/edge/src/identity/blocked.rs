use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use mcp_ultra_domain::{
    Block, Principal,
    ports::{BlockStore, BlockStoreError},
};

/// The callers who are refused for a time, as they were last read. Nothing of the store is asked for
/// while a request waits.
pub(super) struct Blocked {
    store: Arc<dyn BlockStore>,
    /// By subject; mostly there is nobody.
    held: ArcSwap<HashMap<String, Vec<Block>>>,
}

impl Blocked {
    pub(super) fn new(store: Arc<dyn BlockStore>) -> Self {
        Self {
            store,
            held: ArcSwap::default(),
        }
    }

    /// Reads them again; where the store fails, those that are known stay.
    pub(super) async fn read(&self, now: Duration) -> Result<(), BlockStoreError> {
        let mut read: HashMap<String, Vec<Block>> = HashMap::new();
        for block in self.store.in_force(now).await? {
            read.entry(block.subject.clone()).or_default().push(block);
        }
        self.held.store(Arc::new(read));
        Ok(())
    }

    /// Whether there is nobody.
    pub(super) fn is_empty(&self) -> bool {
        self.held.load().is_empty()
    }

    pub(super) fn has(&self, principal: &Principal, now: Duration) -> bool {
        let held = self.held.load();
        let of = held.get(&principal.attributes().subject);
        of.is_some_and(|blocks| blocks.iter().any(|block| block.holds(principal, now)))
    }
}
