//! Answers that replicas keep for each other.

use std::time::Duration;

use futures_util::future::join_all;
use mcp_ultra_backends::redis::{Redis, RedisCacheStore};
use mcp_ultra_domain::ports::{CacheFound, CacheStore, MemoryCacheStore};

use super::{cluster, open, sentinel, shared_contracts, single};

const LONG: Duration = Duration::from_mins(1);

fn store(redis: &Redis) -> RedisCacheStore {
    RedisCacheStore::new(redis.clone())
}

fn tags() -> [String; 2] {
    ["kind:resource".to_owned(), "resource:7".to_owned()]
}

async fn found(store: &dyn CacheStore, keys: &[&str]) -> CacheFound {
    store.find("group", keys, &tags()).await.unwrap()
}

shared_contracts!(
    MemoryCacheStore::default(),
    store,
    what_is_kept_is_found_until_it_ends,
    generations_stay_until_they_are_outdated,
    of_many_at_once_one_has_the_claim,
);

async fn what_is_kept_is_found_until_it_ends(store: &dyn CacheStore) {
    let bytes = [0, 255, b'\r', b'\n', 0];
    let first = found(store, &["a", "b"]).await;
    assert_eq!(first.values, [None, None]);
    store.keep("group", "b", &bytes, LONG).await;
    store.keep("other", "a", b"of another group", LONG).await;
    assert_eq!(
        found(store, &["a", "b"]).await.values,
        [None, Some(bytes.to_vec())]
    );
    store.keep("group", "b", b"another", LONG).await;
    assert_eq!(
        found(store, &["b"]).await.values,
        [Some(b"another".to_vec())]
    );
    store
        .keep("group", "b", b"soon over", Duration::from_millis(50))
        .await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(found(store, &["b"]).await.values, [None]);
}

async fn generations_stay_until_they_are_outdated(store: &dyn CacheStore) {
    let first = found(store, &[]).await.generations;
    assert_eq!(first.len(), 2);
    assert_eq!(found(store, &[]).await.generations, first);
    assert!(store.outdate("other", &tags()).await);
    assert_eq!(found(store, &[]).await.generations, first);
    assert!(store.outdate("group", &tags()[1..]).await);
    let second = found(store, &[]).await.generations;
    assert_eq!(second[0], first[0]);
    assert_ne!(second[1], first[1]);
    assert_eq!(found(store, &[]).await.generations, second);
    // Also what nobody has asked for yet.
    assert!(store.outdate("new", &tags()).await);
    let (one, other) = (tags(), tags());
    let one = store.find("new", &[], &one).await;
    assert_eq!(one, store.find("new", &[], &other).await);
}

async fn of_many_at_once_one_has_the_claim(store: &dyn CacheStore) {
    let owners: Vec<String> = (0..20).map(|number| format!("owner-{number}")).collect();
    let claim = |owner: &String| {
        let owner = owner.clone();
        async move { store.claim("group", "a", &owner, LONG).await }
    };
    let claimed = join_all(owners.iter().map(claim)).await;
    assert_eq!(claimed.iter().filter(|claimed| **claimed).count(), 1);
    let owner = &owners[claimed.iter().position(|claimed| *claimed).unwrap()];
    assert!(claim(owner).await, "it is still theirs");
    assert!(store.claim("group", "b", "another", LONG).await);
    store.release("group", "a", "another").await;
    let late = store.claim("group", "a", "another", LONG);
    assert!(!late.await, "nobody gives up what is not theirs");
    store.release("group", "a", owner).await;
    assert!(
        store
            .claim("group", "a", "another", Duration::from_millis(50))
            .await
    );
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(claim(owner).await, "a claim ends by itself");
}

#[tokio::test]
async fn replicas_find_what_one_has_kept_and_outdated() {
    for settings in [single().await, cluster().await, sentinel().await] {
        let replicas = [open(&settings).await, open(&settings).await];
        let [one, other] = replicas.each_ref().map(store);
        let before = found(&one, &["a"]).await.generations;
        one.keep("group", "a", b"answer", LONG).await;
        let there = found(&other, &["a"]).await;
        assert_eq!(there.values, [Some(b"answer".to_vec())]);
        assert_eq!(there.generations, before);
        assert!(other.outdate("group", &tags()).await);
        assert_ne!(found(&one, &["a"]).await.generations, before);
    }
}

/// Nothing stays for ever, and what Redis has lost is outdated.
#[tokio::test]
async fn everything_has_an_end_and_a_lost_generation_is_another_one() {
    let server = mcp_ultra_testkit::stores::Redis::start().await.unwrap();
    let redis = open(&super::settings_of(server.login())).await;
    let store = store(&redis);
    let before = found(&store, &["a"]).await.generations;
    store.keep("group", "a", b"answer", LONG).await;
    assert!(store.claim("group", "a", "owner", LONG).await);
    let keys = server.login().ask(&["KEYS", "*"]).await.unwrap();
    let keys: Vec<&str> = keys.lines().filter(|key| key.contains(":cache:")).collect();
    assert_eq!(keys.len(), 4, "{keys:?}");
    for key in keys {
        let ends = server.login().ask(&["PTTL", key]).await.unwrap();
        assert!(ends.trim().parse::<i64>().unwrap() > 0, "{key}: {ends}");
    }
    server.login().ask(&["FLUSHALL"]).await.unwrap();
    assert_ne!(found(&store, &["a"]).await.generations, before);
}
