use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::Block;

/// The store can't be reached, or its data can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store of blocks failed: {0}")]
pub struct BlockStoreError(pub String);

/// Where is kept which callers are refused for a time. What was put is durable when the call returns.
#[async_trait]
pub trait BlockStore: Send + Sync {
    /// Keeps a block, in the place of the one that its caller has, and forgets those of any tenant
    /// that were over when it began.
    async fn put(&self, block: &Block) -> Result<(), BlockStoreError>;

    /// Those of all tenants that are not over at `now`, in the order of their identifiers. They are
    /// few: somebody has made each, for a time.
    async fn in_force(&self, now: Duration) -> Result<Vec<Block>, BlockStoreError>;

    /// Removes a block, if it is still this one; `false` if not.
    async fn remove(&self, block: &Block) -> Result<bool, BlockStoreError>;
}

/// The store of a single process, which forgets everything when it ends.
#[derive(Debug, Default)]
pub struct MemoryBlockStore {
    blocks: Mutex<BTreeMap<String, Block>>,
}

#[async_trait]
impl BlockStore for MemoryBlockStore {
    async fn put(&self, block: &Block) -> Result<(), BlockStoreError> {
        let mut blocks = self.blocks.lock();
        blocks.retain(|_, kept| kept.until > block.since);
        blocks.insert(block.id.clone(), block.clone());
        Ok(())
    }

    async fn in_force(&self, now: Duration) -> Result<Vec<Block>, BlockStoreError> {
        let blocks = self.blocks.lock();
        let in_force = blocks.values().filter(|block| block.until > now);
        Ok(in_force.cloned().collect())
    }

    async fn remove(&self, block: &Block) -> Result<bool, BlockStoreError> {
        let mut blocks = self.blocks.lock();
        let is_there = blocks.get(&block.id) == Some(block);
        if is_there {
            blocks.remove(&block.id);
        }
        Ok(is_there)
    }
}
