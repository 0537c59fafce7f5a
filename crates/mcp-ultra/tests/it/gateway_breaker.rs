//! Circuit breakers: a server that keeps failing is left alone for a while, its callers are told so
//! at once, others notice nothing, and it is used again once it answers.

use std::time::{Duration, Instant};

use mcp_ultra_testkit::{
    fixture::{Era, http},
    gateway::Gateway,
    raw::{Reply, legacy::Session, modern::Caller},
    scripted::{Scene, Scripted},
};
use serde_json::json;

use crate::gateway_rig::{
    SOON, Server, fixture, free_address, gateway, legacy_answering, modern_tool, only, until,
};

const RULES: &str = "breaker: { window: 30s, least_calls: 4, failed: 50, slow_after: 300ms, slow: 75, open_for: 1s, open_at_most: 2s, probes: 2 }\nretry: { attempts: 0 }";

/// Why an upstream failed the call; empty where it did not.
fn kind(reply: &Reply) -> &str {
    let kind = reply.message["error"]["data"]["kind"].as_str();
    kind.unwrap_or_default()
}

async fn call(caller: &Caller, tool: &str) -> Reply {
    modern_tool(caller, tool, json!({})).await
}

/// The state of the breaker of `server` in the metrics.
async fn state(gateway: &Gateway, server: &str) -> String {
    let metrics = gateway.get("/metrics").await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let of = format!("mcp_upstream_breaker{{upstream=\"{server}\",state=\"");
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(&*of));
    let mut states = lines.filter_map(|line| line.strip_suffix("\"} 1"));
    states.next().unwrap_or_default().to_owned()
}

async fn opened(gateway: &Gateway, server: &str) -> bool {
    let metrics = gateway.get("/metrics").await.unwrap();
    let metrics = metrics.text().await.unwrap();
    metrics.contains(&format!(
        "mcp_upstream_breaker_opened_total{{upstream=\"{server}\"}} 1\n"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_is_left_alone_until_it_is_back() {
    let address = free_address();
    let server = Server::start(address, Era::Dual).await;
    let other = fixture(Era::Dual).await;
    let yaml = format!(
        "{RULES}\nservers:\n  - {{ name: gone, url: \"{}\" }}\n  - {{ name: here, url: \"{}\" }}\n",
        http::url(address),
        other.url()
    );
    let gateway = gateway(&yaml).await;
    let caller = gateway.caller();
    assert_eq!(kind(&call(&caller, "gone_test_simple_text").await), "");
    assert_eq!(state(&gateway, "gone").await, "closed");
    server.end().await;
    let mut failed = Vec::new();
    let refused = loop {
        let reply = call(&caller, "gone_test_simple_text").await;
        if kind(&reply) == "circuit_open" {
            break reply;
        }
        failed.push(kind(&reply).to_owned());
        assert!(failed.len() < 10, "{failed:?}");
    };
    // Three of four calls at the latest.
    assert!((2..=4).contains(&failed.len()), "{failed:?}");
    assert_eq!(refused.status, 503);
    let error = &refused.message["error"];
    assert_eq!(error["data"]["retryable"], true, "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("\"gone\"") && message.contains("try again in"),
        "{message}"
    );
    let after: u64 = refused.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=2).contains(&after), "{after}");
    assert!(opened(&gateway, "gone").await);
    // The other one is as before.
    assert_eq!(kind(&call(&caller, "here_test_simple_text").await), "");
    assert_eq!(state(&gateway, "here").await, "closed");
    // Probes find it gone, and it stays open.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(state(&gateway, "gone").await, "half_open");
    assert_eq!(
        kind(&call(&caller, "gone_test_simple_text").await),
        "unreachable"
    );
    assert_eq!(
        kind(&call(&caller, "gone_test_simple_text").await),
        "circuit_open"
    );
    assert_eq!(state(&gateway, "gone").await, "open");
    // And find it back.
    let server = Server::start(address, Era::Dual).await;
    until("the breaker has closed", async || {
        call(&caller, "gone_test_simple_text").await;
        state(&gateway, "gone").await == "closed"
    })
    .await;
    for _ in 0..5 {
        assert_eq!(kind(&call(&caller, "gone_test_simple_text").await), "");
    }
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_slow_is_left_alone() {
    let upstream = fixture(Era::Dual).await;
    let gateway = gateway(&only(&upstream.url(), RULES)).await;
    let caller = gateway.caller();
    let wait = async |milliseconds: u64| {
        let arguments = json!({ "milliseconds": milliseconds });
        modern_tool(&caller, "test_wait", arguments).await
    };
    for _ in 0..4 {
        assert_eq!(kind(&wait(400).await), "");
    }
    let begun = Instant::now();
    assert_eq!(kind(&wait(400).await), "circuit_open");
    assert!(begun.elapsed() < Duration::from_millis(300), "at once");
}

/// Few call it, and much was good before: five wait in vain.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_left_alone_after_some_in_a_row() {
    let upstream = fixture(Era::Dual).await;
    let rest = "limits: { call_timeout: 400ms }\nretry: { attempts: 0 }\n";
    let gateway = gateway(&only(&upstream.url(), rest)).await;
    let caller = gateway.caller();
    for _ in 0..50 {
        assert_eq!(kind(&call(&caller, "test_simple_text").await), "");
    }
    let wait = json!({ "milliseconds": 60_000 });
    for number in 0..5 {
        let reply = modern_tool(&caller, "test_wait", wait.clone()).await;
        assert_eq!(kind(&reply), "timeout", "{number}");
    }
    let begun = Instant::now();
    let reply = modern_tool(&caller, "test_wait", wait).await;
    assert_eq!(kind(&reply), "circuit_open");
    assert!(begun.elapsed() < Duration::from_millis(300), "at once");
    assert_eq!(state(&gateway, "fix").await, "open");
}

/// An error is an answer too, and so is one that the caller's own arguments have led to.
#[tokio::test(flavor = "multi_thread")]
async fn errors_of_a_server_open_nothing() {
    let upstream = fixture(Era::Dual).await;
    let gateway = gateway(&only(&upstream.url(), RULES)).await;
    let caller = gateway.caller();
    for _ in 0..10 {
        let reply = modern_tool(&caller, "test_wait", json!({ "milliseconds": "x" })).await;
        assert!(reply.error_code().is_some());
        assert_eq!(kind(&reply), "");
    }
    assert_eq!(state(&gateway, "fix").await, "closed");
}

/// While a person thinks, the server is not slow; nor while it waits for one who has gone.
#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_people_opens_nothing() {
    for era in [Era::Legacy, Era::Modern] {
        let upstream = fixture(era).await;
        let gateway = gateway(&only(&upstream.url(), RULES)).await;
        let able = json!({ "elicitation": {} });
        let session = gateway.session("2025-11-25", able).await.unwrap();
        for _ in 0..5 {
            asked(&session, Duration::from_millis(400)).await;
        }
        assert_eq!(state(&gateway, "fix").await, "closed", "{era:?}");
    }
}

/// What a tool says on its way, each time more than a client that does not read takes.
fn tells() -> Scene {
    const MESSAGES: usize = 64;
    let told = |number: usize| {
        let message = "x".repeat(256 * 1024);
        // The token that the gateway asks for progress under is the id of the call.
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":$ID,"progress":{number},"message":"{message}"}}}}"#
        )
    };
    let answer = r#"{"jsonrpc":"2.0","id":$ID,"result":{"resultType":"complete","content":[]}}"#;
    let told = (1..=MESSAGES).map(told);
    Scene::Events(told.chain([answer.to_owned()]).collect())
}

/// Nor while its client does not read what it has sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_slowly_opens_nothing() {
    let tools = json!([{ "name": "tells", "inputSchema": { "type": "object" } }]);
    let upstream = Scripted::start(tools, |seen| (seen.rpc() == "tools/call").then(tells));
    let upstream = upstream.await.unwrap();
    let rules = RULES.replace("slow_after: 300ms", "slow_after: 5s");
    let yaml = only(&upstream.url(), &rules).replace("prefix: none", "prefix: none, era: modern");
    let gateway = gateway(&yaml).await;
    let caller = gateway.caller();
    let slow = async || {
        let params = json!({ "name": "tells", "arguments": {}, "_meta": { "progressToken": 1 } });
        let prepared = caller.prepare("tools/call", params);
        let answer = caller.send(prepared).await.unwrap();
        // Much longer than all of it takes, however busy the machine is.
        tokio::time::sleep(Duration::from_secs(6)).await;
        let body = answer.text().await.unwrap();
        assert!(body.contains("\"resultType\":\"complete\""));
    };
    futures_util::future::join_all((0..4).map(|_| slow())).await;
    assert_eq!(state(&gateway, "fix").await, "closed");
}

/// A call in the middle of which a person thinks for so long.
async fn asked(session: &Session, thinks: Duration) {
    let params = json!({ "name": "test_elicitation", "arguments": {} });
    let answer = |_: &serde_json::Value| {
        std::thread::sleep(thinks);
        let content = json!({ "username": "ana", "email": "ana@example.com" });
        Some(json!({ "action": "accept", "content": content }))
    };
    let called = legacy_answering(session, "tools/call", params, answer);
    let reply = tokio::time::timeout(SOON, called).await.unwrap();
    assert!(reply.message["result"].is_object(), "{}", reply.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_have_rules_of_its_own_or_none() {
    let address = free_address();
    let yaml = format!(
        "{RULES}\nservers:\n  - {{ name: none, url: \"{url}\", prefix: a, era: modern, breaker: {{ enabled: false }} }}\n",
        url = http::url(address)
    );
    let server = Server::start(address, Era::Modern).await;
    let gateway = gateway(&yaml).await;
    let caller = gateway.caller();
    assert_eq!(kind(&call(&caller, "a_test_simple_text").await), "");
    server.end().await;
    for _ in 0..10 {
        let reply = call(&caller, "a_test_simple_text").await;
        assert!(
            ["unreachable", "closed"].contains(&kind(&reply)),
            "{}",
            reply.message
        );
    }
    assert_eq!(state(&gateway, "none").await, "");
}
