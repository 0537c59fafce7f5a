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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use async_trait::async_trait;
    use mcp_ultra_domain::{Attributes, PrincipalKind, ports::MemoryBlockStore};

    use super::*;

    /// A store that can't be reached for a while.
    #[derive(Default)]
    struct Shaky {
        inner: MemoryBlockStore,
        is_down: AtomicBool,
    }

    #[async_trait]
    impl BlockStore for Shaky {
        async fn put(&self, block: &Block) -> Result<(), BlockStoreError> {
            self.inner.put(block).await
        }

        async fn in_force(&self, now: Duration) -> Result<Vec<Block>, BlockStoreError> {
            if self.is_down.load(Ordering::SeqCst) {
                return Err(BlockStoreError("it is down".into()));
            }
            self.inner.in_force(now).await
        }

        async fn remove(&self, block: &Block) -> Result<bool, BlockStoreError> {
            self.inner.remove(block).await
        }
    }

    #[tokio::test]
    async fn who_is_blocked_stays_so_while_the_store_is_down_and_until_the_end() {
        let store = Arc::new(Shaky::default());
        let (now, until) = (Duration::from_secs(10), Duration::from_secs(20));
        let block = Block {
            id: "b".into(),
            tenant: "acme".into(),
            issuer: "idp".into(),
            subject: "ana".into(),
            since: now,
            until,
        };
        store.put(&block).await.unwrap();
        let blocked = Blocked::new(store.clone());
        let of = |tenant| Attributes::new(PrincipalKind::User, tenant, "idp", "ana").into();
        let ana: Principal = of("acme");
        assert!(!blocked.has(&ana, now), "it was not read yet");
        blocked.read(now).await.unwrap();
        assert!(blocked.has(&ana, now) && !blocked.has(&of("other"), now));
        store.is_down.store(true, Ordering::SeqCst);
        assert!(blocked.read(now).await.is_err());
        assert!(blocked.has(&ana, now) && !blocked.is_empty());
        // Whether or not it can be read again.
        assert!(!blocked.has(&ana, until));
        store.is_down.store(false, Ordering::SeqCst);
        blocked.read(until).await.unwrap();
        assert!(blocked.is_empty());
    }
}
