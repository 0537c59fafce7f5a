//! Proofs that were used.

use std::time::Duration;

use futures_util::future::join_all;
use mcp_ultra_backends::redis::{Redis, RedisReplayStore};
use mcp_ultra_domain::ports::{MemoryReplayStore, ProofId, ReplayStore};

use super::{cluster, open, sentinel, shared_contracts, single};

pub(super) const NOW: Duration = Duration::from_millis(1_800_000_000_123);
pub(super) const UNTIL: Duration = Duration::from_millis(1_800_000_100_123);

pub(super) fn id(number: u8) -> ProofId {
    [number; 32]
}

pub(super) fn store(redis: &Redis) -> RedisReplayStore {
    RedisReplayStore::new(redis.clone(), "proof", 1000)
}

pub(super) async fn first(store: &dyn ReplayStore, number: u8) -> bool {
    store.first_use(&id(number), UNTIL, NOW).await.unwrap()
}

shared_contracts!(
    MemoryReplayStore::new(1000),
    store,
    a_proof_is_used_once,
    whoever_looks_uses_nothing_up,
    of_many_at_once_one_is_first,
);

async fn a_proof_is_used_once(store: &dyn ReplayStore) {
    assert!(first(store, 1).await);
    assert!(!first(store, 1).await);
    assert!(first(store, 2).await);
    assert!(!first(store, 1).await);
}

async fn whoever_looks_uses_nothing_up(store: &dyn ReplayStore) {
    assert_eq!(store.was_used(&id(1), NOW).await, Ok(false));
    assert!(first(store, 1).await);
    assert_eq!(store.was_used(&id(1), NOW).await, Ok(true));
    assert_eq!(store.was_used(&id(2), NOW).await, Ok(false));
}

async fn of_many_at_once_one_is_first(store: &dyn ReplayStore) {
    let all = join_all((0..50).map(|_| first(store, 7))).await;
    assert_eq!(all.into_iter().filter(|first| *first).count(), 1);
}

/// What one replica has seen used, the others know.
#[tokio::test]
async fn replicas_share_what_was_used() {
    for settings in [single().await, cluster().await, sentinel().await] {
        let replicas = [open(&settings).await, open(&settings).await];
        let stores = replicas.each_ref().map(store);
        for number in 0..20 {
            let [one, other] = &stores;
            assert_eq!(other.was_used(&id(number), NOW).await, Ok(false));
            assert!(first(one, number).await);
            assert_eq!(other.was_used(&id(number), NOW).await, Ok(true));
            assert!(!first(other, number).await);
        }
        let both = stores.iter().cycle().take(40);
        let all = join_all(both.map(|store| first(store, 99))).await;
        assert_eq!(all.into_iter().filter(|first| *first).count(), 1);
    }
}

#[tokio::test]
async fn kinds_and_prefixes_are_apart() {
    let settings = single().await;
    let redis = open(&settings).await;
    assert!(first(&store(&redis), 1).await);
    let links = RedisReplayStore::new(redis, "link", 1000);
    assert!(first(&links, 1).await);
    let elsewhere = open(&single().await).await;
    assert!(first(&store(&elsewhere), 1).await);
}
