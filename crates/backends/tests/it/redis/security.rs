//! Who is believed, and what Redis gets to know.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use mcp_ultra_backends::redis::{Redis, RedisError};
use mcp_ultra_config::{Period, RedisSettings, Secret};
use mcp_ultra_domain::{
    Clock as _, SystemClock,
    breaker::Forced,
    limits::{Key, Rate},
    ports::{BreakerBoard as _, BreakerNews, LimitStore as _, SessionStore as _},
};
use mcp_ultra_testkit::stores::{
    self,
    redis::{Cluster, Login, Options, Sentinels},
};

use super::{
    breakers, limits, open, replay, sessions, settings_of, settings_of_cluster, settings_of_group,
    until, until_reachable, upstream_sessions,
};

#[tokio::test]
async fn another_authority_a_wrong_password_and_none_are_refused() {
    let server = stores::Redis::start().await.unwrap();
    let other = stores::Redis::start().await.unwrap();
    let good = settings_of(server.login());
    let mut authority = good.clone();
    authority.tls.ca_file = Some(other.login().authority.display().to_string());
    let mut public = good.clone();
    public.tls.ca_file = None;
    let mut password = good.clone();
    password.password = Some(Secret::literal("something-else"));
    let mut nobody = good.clone();
    nobody.password = None;
    for mut settings in [authority, public, password, nobody] {
        settings.connect_timeout = Period::from_secs(2);
        let redis = Redis::start(&settings).await.unwrap();
        assert!(!redis.is_reachable(), "{settings:?}");
        // It is gone on without.
        assert!(replay::first(&replay::store(&redis), 1).await);
    }
    open(&good).await;
}

#[tokio::test]
async fn a_password_that_changes_is_used_for_the_next_connection() {
    let server = stores::Redis::start().await.unwrap();
    let old = server.login();
    let mut settings = settings_of(old);
    let redis = open(&settings).await;
    let another = ["ACL", "SETUSER", &*old.user, "resetpass", ">another"];
    old.expect(&another, "OK").await.unwrap();
    let store = replay::store(&redis);
    assert!(replay::first(&store, 1).await);
    assert!(redis.is_reachable(), "who is connected stays so");
    let new = old.user(&old.user, "another");
    let kill = ["CLIENT", "KILL", "USER", &*old.user];
    new.ask(&kill).await.unwrap();
    until("the loss", async || {
        replay::first(&store, 2).await;
        !redis.is_reachable()
    })
    .await;
    settings.password = Some(Secret::literal("another"));
    redis.renew(&settings);
    until_reachable(&redis).await;
}

#[tokio::test]
async fn a_certificate_is_shown_where_one_is_asked_for() {
    let options = Options {
        client_certificates: true,
        ..Options::default()
    };
    let server = stores::Redis::start_with(&options).await.unwrap();
    let mut settings = settings_of(server.login());
    open(&settings).await;
    settings.tls.certificate = None;
    settings.tls.key = None;
    settings.connect_timeout = Period::from_secs(2);
    let without = Redis::start(&settings).await.unwrap();
    assert!(!without.is_reachable());
}

#[tokio::test]
async fn files_that_are_none_are_told_of_at_start() {
    let server = stores::Redis::start().await.unwrap();
    let mut settings = settings_of(server.login());
    settings.tls.ca_file = Some("/nowhere/ca.pem".to_owned());
    let missing = Redis::start(&settings).await.unwrap_err();
    assert!(matches!(missing, RedisError::File { .. }), "{missing}");
    assert!(missing.to_string().contains("/nowhere/ca.pem"), "{missing}");
}

/// Makes a user with the rights that docs/runbooks/redis.md says are enough: those for Redis are the
/// first on that page, those for Sentinels the second.
async fn make_user(admin: &Login, prefix: &str, at_sentinel: bool) {
    let page = include_str!("../../../../../docs/runbooks/redis.md");
    let rights = page
        .lines()
        .filter_map(|line| line.strip_prefix("ACL SETUSER mcp_ultra on >PASSWORD "))
        .nth(usize::from(at_sentinel))
        .unwrap();
    let rights = rights.replace("mcp-ultra:", &format!("{prefix}:"));
    let user = ["ACL", "SETUSER", "mcp_ultra", "on", ">secret"];
    let command: Vec<&str> = user.into_iter().chain(rights.split(' ')).collect();
    admin.expect(&command, "OK").await.unwrap();
}

fn as_user(mut settings: RedisSettings) -> RedisSettings {
    "mcp_ultra".clone_into(&mut settings.user);
    settings.password = Some(Secret::literal("secret"));
    settings
}

#[tokio::test]
async fn the_least_rights_are_enough_at_clusters_and_sentinels_too() {
    let cluster = Cluster::start().await.unwrap();
    let at_cluster = as_user(settings_of_cluster(&cluster));
    for node in cluster.nodes() {
        make_user(node.login(), &at_cluster.prefix, false).await;
    }
    let group = Sentinels::start().await.unwrap();
    let at_group = as_user(settings_of_group(&group));
    for node in group.nodes() {
        make_user(node.login(), &at_group.prefix, false).await;
    }
    for sentinel in group.logins() {
        make_user(&sentinel, &at_group.prefix, true).await;
    }
    for settings in [at_cluster, at_group] {
        let (one, other) = (open(&settings).await, open(&settings).await);
        let (here, there) = (replay::store(&one), replay::store(&other));
        for number in 0..9 {
            assert!(replay::first(&here, number).await);
            assert!(!replay::first(&there, number).await, "it reaches Redis");
        }
    }
}

#[tokio::test]
async fn a_user_who_may_not_write_is_told_of_and_gone_on_without() {
    let server = stores::Redis::start().await.unwrap();
    let settings = as_user(settings_of(server.login()));
    let rights = format!(
        "ACL SETUSER mcp_ultra on >secret ~{}:* +ping +get",
        settings.prefix
    );
    let command: Vec<&str> = rights.split(' ').collect();
    server.login().expect(&command, "OK").await.unwrap();
    let redis = Redis::start(&settings).await.unwrap();
    assert!(!redis.is_reachable());
    assert!(replay::first(&replay::store(&redis), 1).await);
    make_user(server.login(), &settings.prefix, false).await;
    until_reachable(&redis).await;
}

/// Each key ends by itself.
#[tokio::test]
async fn a_user_with_the_least_rights_is_enough_and_every_key_but_the_news_ends() {
    let server = stores::Redis::start().await.unwrap();
    let admin = server.login();
    let mut settings = settings_of(admin);
    settings.prefix = "gateway".to_owned();
    make_user(admin, "gateway", false).await;
    let settings = as_user(settings);

    let redis = open(&settings).await;
    assert!(replay::first(&replay::store(&redis), 1).await);
    let store = sessions::store(&redis);
    store.set_log_level("s", "debug").await.unwrap();
    store.subscribe("s", "file:///a", true).await.unwrap();
    store.subscribe("s", "file:///a", false).await.unwrap();
    store.terminate("t", sessions::NOW).await.unwrap();
    store.changed_elsewhere(&Vec::new).await.unwrap();
    store.changed_elsewhere(&Vec::new).await.unwrap();
    let crm: Arc<str> = "crm".into();
    let news = [
        BreakerNews::Opened(Duration::from_secs(1)),
        BreakerNews::Forced(Some(Forced::Open)),
    ];
    let posted = breakers::board(&redis)
        .exchange(&news.map(|one| (crm.clone(), one)))
        .await;
    assert_eq!(posted.unwrap().len(), 1);
    upstream_sessions::all_of_it(&redis).await;
    let counted = limits::store(&redis).await;
    let now = SystemClock.now();
    let principal = Key::Principal("user:4:acme:3:idp:ana");
    let hourly = Rate::new(NonZeroU32::MIN, Duration::from_hours(1), NonZeroU32::MIN);
    assert_eq!(counted.rate(&principal, &hourly, now), Ok(()));
    assert_eq!(counted.quota(&principal, 10, now), Ok(()));
    until("both are counted", async || {
        counted.leases().unwrap().asked == 2
    })
    .await;
    assert!(redis.is_reachable());

    let keys = admin.ask(&["KEYS", "*"]).await.unwrap();
    // The probe of a new connection ends within a second.
    let mut keys: Vec<&str> = keys.lines().filter(|key| *key != "gateway:probe").collect();
    keys.sort_unstable();
    let (limits, keys): (Vec<&str>, Vec<&str>) = keys
        .into_iter()
        .partition(|key| key.starts_with("gateway:limit:"));
    assert_eq!(limits.len(), 2, "{limits:?}");
    for key in limits {
        let ends: i64 = admin.ask(&["PTTL", key]).await.unwrap().parse().unwrap();
        assert!((1..=86_400_000 + 60_000).contains(&ends), "{key}: {ends}");
        assert!(!key.contains("ana") && key.len() < 50, "{key}");
    }
    let proof = format!("gateway:used:proof:{}", "01".repeat(32));
    let expected = [
        "gateway:breakers",
        "gateway:breakers-forced",
        "gateway:replicas",
        "gateway:session:s",
        "gateway:session:t",
        "gateway:sessions-changed",
        "gateway:upstream-session:stays",
        &proof,
    ];
    assert_eq!(keys, expected);
    for key in &keys {
        let left: i64 = admin.ask(&["TTL", key]).await.unwrap().parse().unwrap();
        let expected = match *key {
            "gateway:sessions-changed" => -2..0,
            key if key == proof => 150..161,
            "gateway:replicas" => 0..6,
            "gateway:upstream-session:stays" => 50..61,
            "gateway:breakers" => 3590..3601,
            "gateway:breakers-forced" => 2_591_900..2_592_001,
            _ => 604_700..604_801,
        };
        assert!(expected.contains(&left), "{key} ends in {left} s");
    }
}
