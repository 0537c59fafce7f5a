//! Redis that is slow, silent, cut off, gone, or another one: nothing fails, nobody waits for long,
//! and it heals by itself.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use mcp_ultra_backends::redis::Redis;
use mcp_ultra_config::{Period, RedisServer, RedisSettings};
use mcp_ultra_domain::ports::{ReplayStore, SessionStore as _};
use mcp_ultra_testkit::stores::{
    self, Fault,
    redis::{Cluster, Sentinels},
};

use super::{
    PATIENCE, open,
    replay::{self, first, id},
    sessions, settings_of, settings_of_cluster, settings_of_group, until, until_reachable,
};

const COMMAND: Duration = Duration::from_millis(250);
/// What a busy machine adds to that.
const SLACK: Duration = Duration::from_millis(750);

fn through(fault: &Fault, login: &stores::redis::Login) -> RedisSettings {
    let mut settings = settings_of(login);
    settings.server = Some(RedisServer {
        host: fault.address().ip().to_string(),
        port: Some(fault.address().port()),
    });
    settings.command_timeout = Period::from_millis(250);
    settings.connect_timeout = Period::from_secs(1);
    settings
}

/// Uses new proofs until it is known that Redis is away. None may take longer than a command, and
/// few may wait at all.
async fn falls_away(redis: &Redis, store: &dyn ReplayStore, mut number: u8) {
    let mut waited = 0;
    while redis.is_reachable() {
        let begun = Instant::now();
        assert!(first(store, number).await, "nothing fails");
        let took = begun.elapsed();
        assert!(took < COMMAND + SLACK, "{took:?}");
        number += 1;
        waited += 1;
        assert!(waited < 10, "it is never left alone");
    }
    let begun = Instant::now();
    for more in 0..100 {
        assert!(first(store, number + more).await);
    }
    assert!(begun.elapsed() < COMMAND, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_silent_redis_is_waited_for_a_few_times_and_comes_back() {
    let server = stores::Redis::start().await.unwrap();
    let fault = Fault::before(server.login().address).unwrap();
    let settings = through(&fault, server.login());
    let redis = open(&settings).await;
    let other = open(&settings_of_same(&settings, server.login())).await;
    let (here, there) = (replay::store(&redis), replay::store(&other));
    assert!(first(&here, 1).await && !first(&there, 1).await);

    fault.lost();
    falls_away(&redis, &here, 10).await;
    assert!(!first(&here, 10).await, "what was used here is known here");
    assert!(first(&there, 110).await, "and not elsewhere");

    fault.heal();
    until_reachable(&redis).await;
    assert!(!first(&here, 10).await, "also afterwards");
    assert!(!first(&here, 1).await);
    assert!(first(&here, 200).await && !first(&there, 200).await);
}

/// The same keys, straight to the server.
fn settings_of_same(settings: &RedisSettings, login: &stores::redis::Login) -> RedisSettings {
    RedisSettings {
        prefix: settings.prefix.clone(),
        ..settings_of(login)
    }
}

#[tokio::test]
async fn connections_that_are_reset_are_made_again_within_one_command() {
    let server = stores::Redis::start().await.unwrap();
    let fault = Fault::before(server.login().address).unwrap();
    let mut settings = through(&fault, server.login());
    settings.command_timeout = Period::from_secs(2);
    let redis = open(&settings).await;
    let other = open(&settings_of_same(&settings, server.login())).await;
    let (here, there) = (replay::store(&redis), replay::store(&other));
    for number in 0..5 {
        fault.reset();
        assert!(first(&here, number).await);
        assert!(!first(&there, number).await, "it has reached Redis");
        assert!(redis.is_reachable());
    }
}

#[tokio::test]
async fn a_use_whose_answer_was_lost_is_still_the_first() {
    let server = stores::Redis::start().await.unwrap();
    let fault = Fault::before(server.login().address).unwrap();
    let mut settings = through(&fault, server.login());
    settings.command_timeout = Period::from_secs(5);
    let redis = open(&settings).await;
    let store = replay::store(&redis);
    let key = format!("{}:used:proof:{}", settings.prefix, "07".repeat(32));
    fault.slow(Duration::from_millis(1500));
    let lose_answer = async {
        until("it has reached Redis", async || {
            server.login().ask(&["EXISTS", &key]).await.unwrap() == "1"
        })
        .await;
        fault.reset();
    };
    let (is_first, ()) = tokio::join!(first(&store, 7), lose_answer);
    assert!(is_first);
    assert!(!first(&store, 7).await);
    assert!(redis.is_reachable());
}

#[tokio::test]
async fn a_redis_that_is_gone_is_not_waited_for_and_comes_back() {
    let mut server = stores::Redis::start().await.unwrap();
    let fault = Fault::before(server.login().address).unwrap();
    let redis = open(&through(&fault, server.login())).await;
    let store = replay::store(&redis);
    server.server_mut().kill().await.unwrap();
    falls_away(&redis, &store, 10).await;
    server.restart().await.unwrap();
    until_reachable(&redis).await;
    assert!(!first(&store, 10).await);
    assert_eq!(store.was_used(&id(250), replay::NOW).await, Ok(false));

    server.server_mut().pause().unwrap();
    falls_away(&redis, &store, 120).await;
    server.server_mut().resume().unwrap();
    until_reachable(&redis).await;
}

#[tokio::test]
async fn a_gateway_starts_without_redis_and_finds_it_later() {
    let server = stores::Redis::start().await.unwrap();
    let fault = Fault::before(server.login().address).unwrap();
    fault.cut();
    let settings = through(&fault, server.login());
    let begun = Instant::now();
    let redis = Redis::start(&settings).await.unwrap();
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    assert!(!redis.is_reachable());
    assert!(first(&replay::store(&redis), 1).await);
    fault.heal();
    until_reachable(&redis).await;
    assert!(first(&replay::store(&redis), 2).await);
}

#[tokio::test]
async fn sessions_that_changed_meanwhile_are_told_of_afterwards() {
    let server = stores::Redis::start().await.unwrap();
    let fault = Fault::before(server.login().address).unwrap();
    let settings = through(&fault, server.login());
    let redis = open(&settings).await;
    let other = open(&settings_of_same(&settings, server.login())).await;
    let (here, there) = (sessions::store(&redis), sessions::store(&other));
    let live = || vec!["s".to_owned(), "t".to_owned()];
    for store in [&here, &there] {
        store.changed_elsewhere(&live).await.unwrap();
    }
    here.set_log_level("t", "debug").await.unwrap();
    here.subscribe("t", "file:///b", true).await.unwrap();

    fault.cut();
    here.terminate("s", sessions::NOW).await.unwrap();
    here.subscribe("t", "file:///a", true).await.unwrap();
    here.subscribe("t", "file:///b", false).await.unwrap();
    assert!(sessions::state(&here, "s").await.terminated);
    let known = sessions::state(&here, "t").await;
    assert!(known.log_level.is_some() && known.subscriptions.len() == 1);
    assert!(!sessions::state(&there, "s").await.terminated);

    fault.heal();
    until_reachable(&redis).await;
    let after = here.changed_elsewhere(&live).await.unwrap();
    assert_eq!(after, live(), "all may have changed meanwhile");
    let mut news = there.changed_elsewhere(&live).await.unwrap();
    news.sort();
    news.dedup();
    assert_eq!(news, ["s", "t"]);
    assert!(sessions::state(&there, "s").await.terminated);
    let known = sessions::state(&there, "t").await;
    assert!(known.log_level.is_some() && known.subscriptions.len() == 1);
    assert!(known.subscriptions.contains("file:///a"), "{known:?}");
}

#[tokio::test]
async fn another_master_is_found() {
    let mut group = Sentinels::start().await.unwrap();
    let mut settings = settings_of_group(&group);
    settings.command_timeout = Period::from_millis(250);
    settings.connect_timeout = Period::from_secs(2);
    let redis = open(&settings).await;
    let store = replay::store(&redis);
    assert!(first(&store, 1).await);
    let master = group.nodes()[0].login().clone();
    let copied = master.ask(&["WAIT", "1", "5000"]).await.unwrap();
    assert_eq!(copied, "1");

    group.node_mut(0).server_mut().kill().await.unwrap();
    falls_away(&redis, &store, 10).await;
    group.failed_over_to(1).await.unwrap();
    until_reachable(&redis).await;
    let elsewhere = open(&settings).await;
    let elsewhere = replay::store(&elsewhere);
    assert!(!first(&elsewhere, 1).await, "it was copied");
    until("the new master is written to", async || {
        static NUMBER: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(150);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        assert!(first(&store, number).await);
        !first(&elsewhere, number).await
    })
    .await;
}

/// A server that takes connections and says nothing, as a host that is gone without a word.
fn silent() -> (TcpListener, RedisServer) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = RedisServer {
        host: "127.0.0.1".to_owned(),
        port: Some(listener.local_addr().unwrap().port()),
    };
    (listener, server)
}

#[tokio::test]
async fn a_cluster_is_found_beside_a_named_node_that_is_silent() {
    let mut settings = super::cluster().await;
    let (_listener, silent) = silent();
    settings.cluster.insert(0, silent);
    settings.connect_timeout = Period::from_secs(1);
    let redis = Redis::start(&settings).await.unwrap();
    until_reachable(&redis).await;
    assert!(first(&replay::store(&redis), 1).await);
    assert!(redis.is_reachable());
}

#[tokio::test]
async fn a_master_is_found_beside_a_sentinel_that_is_silent() {
    let mut settings = super::sentinel().await;
    let (_listener, silent) = silent();
    settings
        .sentinel
        .as_mut()
        .unwrap()
        .servers
        .insert(0, silent);
    settings.connect_timeout = Period::from_millis(900);
    let redis = Redis::start(&settings).await.unwrap();
    until_reachable(&redis).await;
    assert!(first(&replay::store(&redis), 1).await);
    assert!(redis.is_reachable());
}

#[tokio::test]
async fn a_cluster_that_has_lost_a_node_serves_the_rest_and_takes_it_back() {
    let mut group = Cluster::start().await.unwrap();
    let mut settings = settings_of_cluster(&group);
    settings.command_timeout = Period::from_millis(250);
    let redis = open(&settings).await;
    let other = open(&settings).await;
    let (here, there) = (replay::store(&redis), replay::store(&other));
    let shared = async |numbers: std::ops::Range<u8>| {
        let mut count = 0;
        for number in numbers {
            let begun = Instant::now();
            assert!(first(&here, number).await, "nothing fails");
            assert!(begun.elapsed() < COMMAND + SLACK, "{:?}", begun.elapsed());
            count += usize::from(!first(&there, number).await);
        }
        count
    };
    assert_eq!(shared(0..20).await, 20);
    group.node_mut(2).server_mut().kill().await.unwrap();
    shared(20..60).await;
    group.node_mut(2).restart().await.unwrap();
    group.agrees().await.unwrap();
    let next = std::sync::atomic::AtomicU8::new(60);
    until("all nodes are used again", async || {
        let from = next.fetch_add(20, std::sync::atomic::Ordering::Relaxed);
        from > 200 || shared(from..from + 20).await == 20
    })
    .await;
    assert!(next.into_inner() < 220, "it never healed");
}
