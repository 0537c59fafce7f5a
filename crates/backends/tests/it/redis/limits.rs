//! Limits that replicas share.

use std::{
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use mcp_ultra_backends::redis::{Redis, limits};
use mcp_ultra_config::{Period, RedisSettings};
use mcp_ultra_domain::{
    Clock as _, SystemClock,
    limits::{
        Key, Rate,
        lease::{most_beyond, most_beyond_quota},
    },
    ports::{LeasedLimitStore, LimitStore as _},
};
use mcp_ultra_testkit::stores;

use super::{cluster, open, sentinel, settings_of, single, until, until_reachable};

const REPLICAS: u32 = 3;
const KEY: Key<'_> = Key::Tenant("acme");

pub(super) async fn store(redis: &Redis) -> Arc<LeasedLimitStore> {
    started(redis).await.store
}

async fn started(redis: &Redis) -> limits::Limits {
    limits::start(
        redis,
        b"a secret of all replicas",
        1000,
        Arc::new(SystemClock),
    )
    .await
}

/// Replicas that know of each other.
async fn replicas(settings: &RedisSettings) -> Vec<(Redis, Arc<LeasedLimitStore>)> {
    let mut all = Vec::new();
    for _ in 0..REPLICAS {
        let redis = open(settings).await;
        let store = store(&redis).await;
        all.push((redis, store));
    }
    until("all are known to all", async || {
        let mut stores = all.iter().map(|(_, store)| store.leases().unwrap());
        stores.all(|leases| leases.replicas == REPLICAS && !leases.apart)
    })
    .await;
    all
}

fn rate(count: u32, period: Duration) -> Rate {
    let count = NonZeroU32::new(count).unwrap();
    Rate::new(count, period, count)
}

pub(super) fn one(store: &LeasedLimitStore, rate: &Rate) -> bool {
    store.rate(&KEY, rate, SystemClock.now()).is_ok()
}

/// How many events all admit who ask all the time for so long.
async fn admitted(
    replicas: &[(Redis, Arc<LeasedLimitStore>)],
    time: Duration,
    take: impl Fn(&LeasedLimitStore) -> bool,
) -> (u64, Duration) {
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < time {
        for (_, store) in replicas {
            count += u64::from(take(store));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    (count, begun.elapsed())
}

#[tokio::test]
async fn replicas_admit_a_rate_together_and_all_of_it() {
    for settings in [single().await, cluster().await, sentinel().await] {
        let replicas = replicas(&settings).await;
        let rate = rate(100, Duration::from_secs(1));
        let time = Duration::from_secs(2);
        let (count, took) = admitted(&replicas, time, |store| one(store, &rate)).await;
        let permitted = 100.0f64.mul_add(took.as_secs_f64(), 100.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "some hundred"
        )]
        let permitted = permitted as u64;
        assert!(
            count <= permitted + most_beyond(100, REPLICAS),
            "{count} of {permitted}"
        );
        // On a busy machine an answer takes its time.
        assert!(count >= permitted * 7 / 10, "{count} of {permitted}");
        while one(&replicas[0].1, &rate) {}
        let wait = replicas[0].1.rate(&KEY, &rate, SystemClock.now());
        assert!(
            wait.is_err_and(|wait| wait < Duration::from_secs(1)),
            "{wait:?}"
        );
        assert!(replicas.iter().all(|(redis, _)| redis.is_reachable()));
    }
}

#[tokio::test]
async fn replicas_use_up_a_quota_together() {
    for settings in [single().await, cluster().await] {
        let replicas = replicas(&settings).await;
        let take = |store: &LeasedLimitStore| store.quota(&KEY, 60, SystemClock.now()).is_ok();
        let (count, _) = admitted(&replicas, Duration::from_secs(3), take).await;
        let most = 60 + most_beyond_quota(60, REPLICAS);
        assert!((60..=most).contains(&count), "{count} of 60");
        // Whoever comes later finds nothing.
        let redis = open(&settings).await;
        let late = store(&redis).await;
        let first = usize::from(take(&late));
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(!take(&late), "after {first}");
    }
}

#[tokio::test]
async fn without_redis_each_goes_by_its_share_at_once_and_comes_back() {
    let mut server = stores::Redis::start().await.unwrap();
    let mut settings = settings_of(server.login());
    settings.command_timeout = Period::from_millis(250);
    let replicas = replicas(&settings).await;
    let hourly = rate(90, Duration::from_hours(1));
    // None of it is used yet.
    server.server_mut().kill().await.unwrap();
    until("all go by their share", async || {
        let mut stores = replicas.iter().map(|(_, store)| store.leases().unwrap());
        stores.all(|leases| leases.apart)
    })
    .await;
    for (_, store) in &replicas {
        let count = (0..100).filter(|_| one(store, &hourly)).count();
        assert_eq!(count, 30);
    }
    server.restart().await.unwrap();
    for (redis, store) in &replicas {
        until_reachable(redis).await;
        until("it asks again", async || !store.leases().unwrap().apart).await;
    }
    until("what was used is told", async || {
        let mut stores = replicas.iter().map(|(_, store)| store.leases().unwrap());
        stores.all(|leases| leases.asked > 0)
    })
    .await;
    let (count, _) = admitted(&replicas, Duration::from_secs(1), |store| {
        one(store, &hourly)
    })
    .await;
    assert!(count <= u64::from(REPLICAS), "{count} more");
}

#[tokio::test]
async fn a_replica_that_is_gone_is_counted_no_more() {
    let settings = single().await;
    let mut replicas = replicas(&settings).await;
    let places = |store: &LeasedLimitStore| (0..12).map_while(|_| store.enter(&KEY, 12)).count();
    assert_eq!(places(&replicas[0].1), 4);
    replicas.truncate(1);
    let store = &replicas[0].1;
    until("it is alone", async || {
        store.leases().unwrap().replicas == 1
    })
    .await;
    assert_eq!(places(store), 8, "the others' places");
}

/// What is left of a quota is the others' at once, and so is the share of a rate.
#[tokio::test]
async fn one_that_ends_gives_back_what_it_holds() {
    for settings in [single().await, cluster().await] {
        let (first, second) = (open(&settings).await, open(&settings).await);
        let (ending, staying) = (started(&first).await, store(&second).await);
        until("both are known", async || {
            staying.leases().unwrap().replicas == 2
        })
        .await;
        let most = 2000;
        let take = |store: &LeasedLimitStore| store.quota(&KEY, most, SystemClock.now()).is_ok();
        let mut used = 0;
        for _ in 0..200 {
            used += u32::from(take(&ending.store));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let ended = ending.store.clone();
        assert!(ended.leases().unwrap().granted > 0, "some is leased");
        let begun = Instant::now();
        ending.end().await;
        assert!(begun.elapsed() < Duration::from_secs(1));
        assert!(ended.leases().unwrap().returned > 0);
        until("it is known to be gone", async || {
            staying.leases().unwrap().replicas == 1
        })
        .await;
        let begun = Instant::now();
        while used < most && begun.elapsed() < Duration::from_secs(20) {
            if take(&staying) {
                used += 1;
            } else {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        assert_eq!(used, most, "none is lost");
        assert!(!take(&staying), "and no more than that");
    }
}
