use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;

/// Workers note proofs at the same time; each of these has a lock of its own.
const SHARDS: usize = 64;
/// Below so many nothing is looked through for what has ended.
const FEW: usize = 64;

/// What names one use of a proof: a SHA-256 of the key that has signed it and of the name that it
/// has (RFC 9449, 11.1: `jti`).
pub type ProofId = [u8; 32];

/// Remembers the proofs that were used, so that none is used twice.
#[async_trait]
pub trait ReplayStore: Send + Sync {
    /// Notes at `now` that a proof is used, until it is too old to be used at `until`. Of all that
    /// use the same one, whichever process they are in, one is told `true`.
    ///
    /// # Errors
    /// It is not known whether the proof was used, or it can't be noted; it must not be accepted.
    async fn first_use(
        &self,
        proof: &ProofId,
        until: Duration,
        now: Duration,
    ) -> Result<bool, ReplayStoreError>;

    /// Whether a proof that can still be used at `now` was used before. Nothing is noted, so that
    /// somebody else may use it right after.
    ///
    /// # Errors
    /// It is not known.
    async fn was_used(&self, proof: &ProofId, now: Duration) -> Result<bool, ReplayStoreError>;
}

/// Why a [`ReplayStore`] does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayStoreError {
    /// As many are remembered as may be.
    #[error("as many proofs are remembered as may be (auth.dpop.max_proofs)")]
    Full,
    /// What is shared between processes does not answer; how it says so.
    #[error("the store of used proofs does not answer: {0}")]
    Unavailable(String),
}

/// Remembers in this process. Bounded: where it is full of proofs that could still be used, it takes
/// no new ones. Forgetting the oldest instead would let a proof be used twice by whoever sends
/// enough others in between.
pub struct MemoryReplayStore {
    shards: Box<[Mutex<Shard>]>,
    most: usize,
}

struct Shard {
    used: HashMap<ProofId, Duration>,
    /// Looked through for what has ended when there are so many.
    look_at: usize,
    /// Nothing has ended before.
    none_before: Duration,
}

impl std::fmt::Debug for MemoryReplayStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryReplayStore").finish_non_exhaustive()
    }
}

impl MemoryReplayStore {
    /// A store of about `most` proofs.
    pub fn new(most: usize) -> Self {
        let most = most.div_ceil(SHARDS);
        let shard = || {
            Mutex::new(Shard {
                used: HashMap::new(),
                look_at: most.min(FEW),
                none_before: Duration::ZERO,
            })
        };
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            most,
        }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|one| one.lock().used.len()).sum()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Shard {
    /// Forgets what has ended, where that is worth it: each entry pays for looking at it once.
    fn make_room(&mut self, most: usize, now: Duration) -> Result<(), ReplayStoreError> {
        if self.used.len() < self.look_at {
            return Ok(());
        }
        if now >= self.none_before {
            self.used.retain(|_, until| *until > now);
            self.none_before = self.used.values().min().copied().unwrap_or_default();
            self.look_at = (self.used.len() * 2).max(FEW).min(most);
            self.used.shrink_to(self.look_at);
        } else {
            self.look_at = (self.look_at * 2).min(most);
        }
        if self.used.len() >= most {
            return Err(ReplayStoreError::Full);
        }
        Ok(())
    }
}

#[async_trait]
impl ReplayStore for MemoryReplayStore {
    async fn first_use(
        &self,
        proof: &ProofId,
        until: Duration,
        now: Duration,
    ) -> Result<bool, ReplayStoreError> {
        let mut shard = self.shards[usize::from(proof[0]) % SHARDS].lock();
        if shard.used.get(proof).is_some_and(|until| *until > now) {
            return Ok(false);
        }
        shard.make_room(self.most, now)?;
        shard.used.insert(*proof, until);
        shard.none_before = shard.none_before.min(until);
        Ok(true)
    }

    async fn was_used(&self, proof: &ProofId, now: Duration) -> Result<bool, ReplayStoreError> {
        let shard = self.shards[usize::from(proof[0]) % SHARDS].lock();
        Ok(shard.used.get(proof).is_some_and(|until| *until > now))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn id(number: u64) -> ProofId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_le_bytes());
        id
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test]
    async fn a_proof_is_used_once_until_it_ends() {
        let store = MemoryReplayStore::new(1000);
        assert_eq!(store.first_use(&id(1), at(10), at(0)).await, Ok(true));
        assert_eq!(store.first_use(&id(1), at(10), at(9)).await, Ok(false));
        assert_eq!(store.first_use(&id(2), at(10), at(9)).await, Ok(true));
        assert_eq!(store.first_use(&id(1), at(20), at(10)).await, Ok(true));
        assert_eq!(store.first_use(&id(1), at(20), at(19)).await, Ok(false));
    }

    #[tokio::test]
    async fn whoever_looks_uses_nothing_up() {
        let store = MemoryReplayStore::new(1000);
        assert_eq!(store.was_used(&id(1), at(0)).await, Ok(false));
        assert_eq!(store.first_use(&id(1), at(10), at(0)).await, Ok(true));
        assert_eq!(store.was_used(&id(1), at(9)).await, Ok(true));
        assert_eq!(store.was_used(&id(1), at(10)).await, Ok(false));
        assert_eq!(store.was_used(&id(2), at(9)).await, Ok(false));
    }

    #[tokio::test]
    async fn a_full_store_takes_none_and_forgets_none_before_its_time() {
        let store = MemoryReplayStore::new(SHARDS * 100);
        let mut taken = Vec::new();
        for number in 0..20_000 {
            match store.first_use(&id(number), at(10), at(0)).await {
                Ok(first) => {
                    assert!(first);
                    taken.push(number);
                }
                Err(why) => assert_eq!(why, ReplayStoreError::Full),
            }
        }
        assert_eq!(taken.len(), SHARDS * 100);
        for number in &taken {
            assert_eq!(
                store.first_use(&id(*number), at(10), at(9)).await,
                Ok(false)
            );
        }
        for number in 100_000..101_000 {
            let first = store.first_use(&id(number), at(30), at(11)).await;
            assert_eq!(first, Ok(true), "there is room once they have ended");
        }
        assert_eq!(store.len(), 1000, "what has ended is gone");
    }

    #[tokio::test]
    async fn what_has_ended_does_not_pile_up() {
        let store = MemoryReplayStore::new(1_000_000);
        for number in 0..100_000_u64 {
            let now = Duration::from_millis(number);
            let first = store.first_use(&id(number), now + at(1), now).await;
            assert_eq!(first, Ok(true));
        }
        assert!(store.len() <= SHARDS * FEW, "{}", store.len());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_many_at_once_one_is_first() {
        let store = Arc::new(MemoryReplayStore::new(1000));
        let all: Vec<_> = (0..50)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.first_use(&id(7), at(9), at(0)).await })
            })
            .collect();
        let mut firsts = 0;
        for one in all {
            firsts += usize::from(one.await.unwrap().unwrap());
        }
        assert_eq!(firsts, 1);
    }
}
