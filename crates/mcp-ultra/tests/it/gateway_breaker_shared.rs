//! Circuit breakers of gateways that share a Redis: they open and close together, one of them probes,
//! and what an operator decides at one holds at all.

use std::time::{Duration, Instant};

use ::http::header;
use mcp_ultra_testkit::{
    fixture::{Era, http},
    gateway::Gateway,
    raw::modern::Caller,
    stores::{Nats, Redis},
};
use serde_json::{Value, json};

use super::cli::{command, finish};
use crate::{
    gateway_announced::{connected, messaging, metric},
    gateway_rates::{caller, configuration, token},
    gateway_redis::sections,
    gateway_rig::{SOON, Server, fixture, free_address, gateway, modern_tool, only, until},
};

const RULES: &str = "breaker: { window: 30s, least_calls: 4, failed: 50, open_for: 2s, open_at_most: 2s, probes: 2 }\nretry: { attempts: 0 }\n";

/// Why the upstream failed a call; empty where it did not.
async fn called(caller: &Caller) -> String {
    let reply = modern_tool(caller, "test_simple_text", json!({})).await;
    let kind = reply.message["error"]["data"]["kind"].as_str();
    kind.unwrap_or_default().to_owned()
}

async fn state(gateway: &Gateway) -> String {
    let metrics = gateway.get("/metrics").await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let of = "mcp_upstream_breaker{upstream=\"fix\",state=\"";
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(of));
    let mut states = lines.filter_map(|line| line.strip_suffix("\"} 1"));
    states.next().unwrap_or_default().to_owned()
}

/// The servers that a list says do not answer.
async fn marked(caller: &Caller) -> Value {
    let listed = caller.call("tools/list", json!({})).await.unwrap();
    let meta = &listed.result()["_meta"];
    meta["io.github.vertikon.mcp-ultra/unavailable"].clone()
}

/// Calls until the breaker is open; how many calls that took.
async fn open(caller: &Caller) -> usize {
    for calls in 1..20 {
        if called(caller).await == "circuit_open" {
            return calls;
        }
    }
    panic!("it never opens");
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_open_and_close_together_and_one_probes() {
    let mut redis = Redis::start().await.unwrap();
    let address = free_address();
    let server = Server::start(address, Era::Dual).await;
    let yaml = only(&http::url(address), &format!("{RULES}{}", sections(&redis)));
    let (one, other) = (gateway(&yaml).await, gateway(&yaml).await);
    let (here, there) = (one.caller(), other.caller());
    assert_eq!(called(&here).await, "");
    server.end().await;

    open(&here).await;
    let begun = Instant::now();
    until("the other is open", async || state(&other).await == "open").await;
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(called(&there).await, "circuit_open");
    assert_eq!(marked(&there).await, json!(["fix"]));

    // Both are asked all the time: of all calls that pass, there is one that fails in each phase.
    let mut failed = 0;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        for caller in [&here, &there] {
            failed += u32::from(called(caller).await != "circuit_open");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(
        (1..=3).contains(&failed),
        "{failed} probes in two phases or three"
    );

    let server = Server::start(address, Era::Dual).await;
    until("one has closed", async || called(&there).await.is_empty()).await;
    until("both have closed", async || {
        called(&there).await;
        state(&one).await == "closed" && state(&other).await == "closed"
    })
    .await;
    assert_eq!(called(&here).await, "");

    // Without Redis each goes by its own calls.
    redis.server_mut().kill().await.unwrap();
    server.end().await;
    open(&here).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_ne!(called(&there).await, "circuit_open");
    let server = Server::start(address, Era::Dual).await;
    until("it has closed by itself", async || {
        called(&here).await.is_empty()
    })
    .await;
    server.end().await;
}

/// Where there is NATS, nobody waits until it is time to look.
#[tokio::test(flavor = "multi_thread")]
async fn that_a_breaker_has_changed_is_announced() {
    let (redis, nats) = (Redis::start().await.unwrap(), Nats::start().await.unwrap());
    let address = free_address();
    let server = Server::start(address, Era::Dual).await;
    let rest = format!("{RULES}{}{}", sections(&redis), messaging(&nats));
    let yaml = only(&http::url(address), &rest);
    let (one, other) = (gateway(&yaml).await, gateway(&yaml).await);
    for gateway in [&one, &other] {
        connected(gateway, "1").await;
    }
    let here = one.caller();
    assert_eq!(called(&here).await, "");
    server.end().await;
    open(&here).await;
    let begun = Instant::now();
    until("the other is open", async || state(&other).await == "open").await;
    println!("another gateway has opened after {:?}", begun.elapsed());
    let counted = async |gateway: &Gateway, outcome: &str| {
        let of = format!("{{kind=\"breakers_changed\",outcome=\"{outcome}\"}}");
        let count = metric(gateway, &format!("mcp_announcements_total{of}")).await;
        count.parse::<u64>().unwrap()
    };
    until("it has heard of it", async || {
        counted(&other, "heard").await > 0
    })
    .await;
    assert!(counted(&one, "sent").await > 0);
    assert_eq!(counted(&other, "sent").await, 0, "nothing of its own");
}

/// A gateway with an admin API, and where that is.
pub(crate) async fn with_admin(yaml: &str) -> (Gateway, String) {
    let mut gateway = gateway(yaml).await;
    let line = gateway.logged(&["the admin API listens"], SOON).await;
    let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
    let admin = line["fields"]["url"].as_str().or(line["url"].as_str());
    (gateway, admin.unwrap().to_owned())
}

async fn force(admin: &str, to: &str) {
    let token = token("acme", "olga", &["operator"]);
    let token = token[header::AUTHORIZATION].to_str().unwrap();
    let mut command = command(&["breaker", "force", "fix", to, "--admin", admin]);
    command.env("MCP_ULTRA_TOKEN", token.strip_prefix("Bearer ").unwrap());
    let forced = finish(command).await;
    assert_eq!(forced.code, 0, "{}", forced.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_decides_holds_at_all_gateways_and_outlives_them() {
    let redis = Redis::start().await.unwrap();
    let upstream = fixture(Era::Dual).await;
    let folder = tempfile::tempdir().unwrap();
    let started = async |name: &str| {
        let file = folder.path().join(name);
        let storage = format!("storage:\n  sqlite: \"{}\"\n", file.display());
        let shared = sections(&redis).replace("storage:\n", &storage);
        let rest = format!("admin: {{ port: 0 }}\n{shared}");
        with_admin(&configuration(&upstream.url(), &rest)).await
    };
    let called_at =
        async |gateway: &Gateway| called(&caller(gateway, token("acme", "ana", &[]))).await;
    let (one, admin) = started("one.db").await;
    let (other, _) = started("other.db").await;
    assert_eq!(called_at(&other).await, "");
    force(&admin, "open").await;
    assert_eq!(called_at(&one).await, "circuit_open");
    until("it holds at the other", async || {
        called_at(&other).await == "circuit_open"
    })
    .await;
    drop(other);
    let (later, admin) = started("later.db").await;
    until("it holds at one that starts later", async || {
        called_at(&later).await == "circuit_open"
    })
    .await;
    force(&admin, "auto").await;
    until("it is taken back everywhere", async || {
        called_at(&one).await.is_empty()
    })
    .await;
    assert_eq!(called_at(&later).await, "");
}
