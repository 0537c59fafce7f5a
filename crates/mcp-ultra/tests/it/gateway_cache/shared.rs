//! What gateways on one Redis keep for each other.

use std::time::Duration;

use futures_util::future::join_all;
use mcp_ultra_testkit::{
    gateway::Gateway,
    scripted::Scripted,
    stores::{Nats, Redis},
};
use serde_json::json;

use super::{
    PRIVATE, PUBLIC,
    rig::{Answers, metric, read, reads, server_of, yaml},
    site::reading,
    version,
};
use crate::{
    gateway_announced::messaging,
    gateway_rig::{gateway, until},
};

/// The sections of gateways that are replicas of each other.
pub(super) fn sections(redis: &Redis, key: &str) -> String {
    let login = redis.login();
    format!(
        "session:\n  keys: [{{ id: k, secret: {key} }}]\n\
         storage:\n  redis:\n    server: {{ host: 127.0.0.1, port: {port} }}\n    user: {user}\n    password: {password}\n    tls: {{ ca_file: \"{authority}\" }}\n    command_timeout: 2s\n",
        key = key.repeat(43) + "=",
        port = login.address.port(),
        user = login.user,
        password = login.password,
        authority = login.authority.display(),
    )
}

async fn replicas(redis: &Redis, answers: Answers, rest: &str) -> ([Gateway; 2], Scripted) {
    let server = server_of(answers).await;
    let yaml = yaml(&server, &format!("{}{rest}", sections(redis, "c")), "");
    ([gateway(&yaml).await, gateway(&yaml).await], server)
}

async fn hits(gateway: &Gateway, level: &str) -> u64 {
    let sample = format!(r#"mcp_cache_hits_total{{level="{level}",kind="resource"}}"#);
    metric(gateway, &sample).await
}

/// How many answers and lists are in Redis.
pub(super) async fn in_redis(redis: &Redis) -> usize {
    let keys = redis.login().ask(&["KEYS", "*:cache:*:e:*"]).await.unwrap();
    keys.lines().count()
}

/// What is kept is written a moment after its caller has it; the lists are there too.
async fn written(redis: &Redis) {
    until("it is kept in Redis", async || in_redis(redis).await > 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_gateway_was_answered_the_other_gives_and_nobody_can_read_it() {
    let redis = Redis::start().await.unwrap();
    let ([one, other], server) = replicas(&redis, Answers::new(60_000, PRIVATE), "").await;
    assert_eq!(
        version(&read(&one.caller(), "test://a").await),
        "test://a 1"
    );
    written(&redis).await;
    for _ in 0..3 {
        let reply = read(&other.caller(), "test://a").await;
        assert_eq!(version(&reply), "test://a 1");
        assert!(reply.result()["ttlMs"].as_u64().unwrap() < 60_000);
    }
    assert_eq!(reads(&server), 1);
    assert_eq!(
        (hits(&other, "redis").await, hits(&other, "memory").await),
        (1, 2)
    );

    let keys = redis.login().ask(&["KEYS", "*"]).await.unwrap();
    let mut all = keys.clone();
    for key in keys.lines() {
        let ends = redis.login().ask(&["PTTL", key]).await.unwrap();
        assert!(!key.contains(":cache:") || ends.trim() != "-1", "{key}");
        all += &redis.login().ask(&["DUMP", key]).await.unwrap();
    }
    for hidden in ["test://a", "contents", "anonymous", "fix"] {
        assert!(!all.contains(hidden), "{hidden}");
    }
    // Another key opens nothing, and finds nothing.
    let stranger = gateway(&yaml(&server, &sections(&redis, "d"), "")).await;
    assert_eq!(
        version(&read(&stranger.caller(), "test://a").await),
        "test://a 2"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_outdated_at_one_gateway_is_so_for_all_that_look() {
    let redis = Redis::start().await.unwrap();
    let ([one, other], _server) = replicas(&redis, Answers::new(60_000, PUBLIC), "").await;
    assert_eq!(
        version(&read(&one.caller(), "test://a").await),
        "test://a 1"
    );
    written(&redis).await;
    let touch = json!({ "name": "touches", "arguments": {} });
    one.caller().call("tools/call", touch).await.unwrap();
    assert_eq!(
        version(&read(&one.caller(), "test://a").await),
        "test://a 2"
    );
    // Redis is told a moment later. The other has never had it, and what is kept there is of no use.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let reply = read(&other.caller(), "test://a").await;
    assert_ne!(version(&reply), "test://a 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_all_gateways_are_one_to_the_server() {
    let redis = Redis::start().await.unwrap();
    let answers = Answers {
        late: Duration::from_millis(500),
        ..Answers::new(60_000, PRIVATE)
    };
    let ([one, other], server) = replicas(&redis, answers, "").await;
    let callers = [one.caller(), other.caller()];
    let all = join_all((0..20).map(|number| read(&callers[number % 2], "test://a"))).await;
    assert!(all.iter().all(|reply| version(reply) == "test://a 1"));
    assert_eq!(reads(&server), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_each_gateway_keeps_its_own_and_nothing_fails() {
    let mut redis = Redis::start().await.unwrap();
    let ([one, other], _server) = replicas(&redis, Answers::new(60_000, PRIVATE), "").await;
    assert_eq!(
        version(&read(&one.caller(), "test://a").await),
        "test://a 1"
    );
    written(&redis).await;
    redis.server_mut().kill().await.unwrap();
    assert_eq!(
        version(&read(&one.caller(), "test://a").await),
        "test://a 1"
    );
    assert_eq!(
        version(&read(&other.caller(), "test://a").await),
        "test://a 2"
    );
    assert_eq!(
        version(&read(&other.caller(), "test://a").await),
        "test://a 2"
    );
    // What changes meanwhile is told Redis once it is back.
    let touch = json!({ "name": "touches", "arguments": {} });
    one.caller().call("tools/call", touch).await.unwrap();
    assert_eq!(
        version(&read(&one.caller(), "test://a").await),
        "test://a 3"
    );
    redis.restart().await.unwrap();
    until("it is back", async || {
        metric(&one, "mcp_redis_up").await == 1
    })
    .await;
    assert_eq!(
        version(&read(&one.caller(), "test://a").await),
        "test://a 3"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_to_be_shared_is_not() {
    let redis = Redis::start().await.unwrap();
    let rest = "cache: { shared: false }\n";
    let ([one, other], _server) = replicas(&redis, Answers::new(60_000, PRIVATE), rest).await;
    assert_eq!(
        version(&read(&one.caller(), "test://a").await),
        "test://a 1"
    );
    assert_eq!(
        version(&read(&other.caller(), "test://a").await),
        "test://a 2"
    );
    assert_eq!(in_redis(&redis).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_starts_has_the_lists_that_another_one_has_read() {
    let redis = Redis::start().await.unwrap();
    let server = server_of(Answers::new(60_000, PRIVATE)).await;
    let yaml = yaml(&server, &sections(&redis, "c"), "");
    let one = gateway(&yaml).await;
    let listed = async |gateway: &Gateway| {
        let reply = gateway
            .caller()
            .call("tools/list", json!({}))
            .await
            .unwrap();
        reply.result()["tools"].as_array().unwrap().len()
    };
    until("it is read", async || listed(&one).await == 11).await;
    until("they are kept in Redis", async || {
        in_redis(&redis).await == 1
    })
    .await;
    // The server is gone; its URL is what it was.
    drop(server);
    let other = gateway(&yaml).await;
    assert_eq!(listed(&other).await, 11);
    until("it is known to be gone", async || {
        metric(&other, "mcp_upstream_up{upstream=\"fix\"}").await == 0
    })
    .await;
    assert_eq!(listed(&other).await, 11);
}

/// Each has an answer of its own in memory, which the other's server says is outdated.
async fn told_over_nats(general: &str) {
    let nats = Nats::start().await.unwrap();
    let messaging = messaging(&nats);
    let server = server_of(Answers::new(60_000, PRIVATE)).await;
    let yaml = yaml(&server, &format!("{messaging}{general}"), "");
    let [one, other] = [gateway(&yaml).await, gateway(&yaml).await];
    for gateway in [&one, &other] {
        until("it hears of the others", async || {
            metric(gateway, "mcp_announcements_connected").await == 1
        })
        .await;
    }
    let kept = read(&other.caller(), "test://a").await;
    assert_eq!(
        version(&read(&other.caller(), "test://a").await),
        version(&kept)
    );
    let touch = json!({ "name": "touches", "arguments": {} });
    one.caller().call("tools/call", touch).await.unwrap();
    let begun = std::time::Instant::now();
    until("the other is told", async || {
        let reply = read(&other.caller(), "test://a").await;
        version(&reply) != version(&kept)
    })
    .await;
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_outdated_at_one_gateway_is_so_in_the_memory_of_the_others() {
    told_over_nats("").await;
    let redis = Redis::start().await.unwrap();
    told_over_nats(&sections(&redis, "c")).await;
}

/// As whom a server is asked, and for what, may stand where nobody is shown it: gateways that are started
/// anew with other values, and those that are not yet, have nothing of each other.
#[tokio::test(flavor = "multi_thread")]
async fn gateways_that_ask_a_server_otherwise_keep_nothing_for_each_other() {
    let redis = Redis::start().await.unwrap();
    let server = server_of(Answers::new(600_000, PRIVATE)).await;
    let general = sections(&redis, "c");
    let asks = async |account: &str, workspace: &str| {
        let headers = format!(", headers: {{ authorization: \"Bearer {account}\" }}");
        let yaml = yaml(&server, &general, &headers);
        let yaml = yaml.replace("/mcp\"", &format!("/mcp?workspace={workspace}\""));
        let gateway = gateway(&yaml).await;
        (reading(&gateway.caller()).await, gateway)
    };
    let (first, _one) = asks("a", "x").await;
    until("it is kept in Redis", async || in_redis(&redis).await > 1).await;
    let (same, _other) = asks("a", "x").await;
    assert_eq!(same, first);
    for (account, workspace) in [("b", "x"), ("a", "y")] {
        let (other, _gateway) = asks(account, workspace).await;
        assert_ne!(other, first, "{account} {workspace}");
    }
}
