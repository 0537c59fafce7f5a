//! Calls that a server fails are made again, where that can do no harm, and not without bounds.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::StatusCode;
use mcp_ultra_testkit::{
    fixture::{Era, http::url},
    gateway::Gateway,
    raw::Reply,
    scripted::{Scene, Scripted},
};
use serde_json::{Value, json};

use crate::gateway_rig::{Server, free_address, gateway, modern_tool, only, text};

const QUICK: &str = "retry: { attempts: 2, backoff: 50ms }\n";

/// A server whose calls fail so often at first, with three tools that say different things of
/// themselves.
async fn failing(times: usize) -> Scripted {
    let tool = |name: &str, annotations: Value| json!({ "name": name, "inputSchema": { "type": "object" }, "annotations": annotations });
    let tools = json!([
        tool("reads", json!({ "readOnlyHint": true })),
        tool("sets", json!({ "idempotentHint": true })),
        tool("adds", json!({})),
    ]);
    let left = Arc::new(AtomicUsize::new(times));
    Scripted::start(tools, move |seen| {
        let fails = seen.rpc() == "tools/call"
            && left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                    left.checked_sub(1)
                })
                .is_ok();
        fails.then_some(Scene::Status(StatusCode::SERVICE_UNAVAILABLE))
    })
    .await
    .unwrap()
}

fn kind(reply: &Reply) -> &str {
    let kind = reply.message["error"]["data"]["kind"].as_str();
    kind.unwrap_or_default()
}

async fn retries(gateway: &Gateway, outcome: &str) -> usize {
    let metrics = gateway.get("/metrics").await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let of = format!("mcp_upstream_retries_total{{upstream=\"fix\",outcome=\"{outcome}\"}} ");
    let mut lines = metrics.lines().filter_map(|line| line.strip_prefix(&*of));
    lines.next().unwrap().parse().unwrap()
}

/// `rest` stands at the server.
fn yaml(server: &Scripted, rest: &str) -> String {
    format!(
        "{QUICK}servers:\n  - {{ name: fix, url: \"{}\", prefix: none, era: modern{rest} }}\n",
        server.url()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_sent_is_sent_again_whatever_it_does() {
    let address = free_address();
    let server = Server::start(address, Era::Dual).await;
    let rest = "retry: { attempts: 5, backoff: 200ms }";
    let gateway = gateway(&only(&url(address), rest)).await;
    let caller = gateway.caller();
    let call = async || modern_tool(&caller, "test_simple_text", json!({})).await;
    assert!(text(&call().await).starts_with("This is"));
    server.end().await;
    let (reply, server) = tokio::join!(call(), async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        Server::start(address, Era::Dual).await
    });
    assert!(text(&reply).starts_with("This is"), "{}", reply.message);
    assert!(retries(&gateway, "made").await > 0);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_may_have_acted_is_asked_again_only_for_what_does_no_harm() {
    // Nobody says anything that is believed; the operator says it; the server is believed.
    for (rest, again) in [
        ("", &[][..]),
        (", read_only: [\"a*\"]", &["adds"]),
        (", trust_annotations: true", &["reads", "sets"]),
    ] {
        for tool in ["reads", "sets", "adds"] {
            let server = failing(1).await;
            let gateway = gateway(&yaml(&server, rest)).await;
            let reply = modern_tool(&gateway.caller(), tool, json!({})).await;
            let calls = server.seen("tools/call").len();
            let made = retries(&gateway, "made").await;
            if again.contains(&tool) {
                assert!(reply.error_code().is_none(), "{}", reply.message);
                assert_eq!((calls, made), (2, 1), "{tool}{rest}");
            } else {
                assert_eq!(kind(&reply), "status", "{tool}{rest}");
                assert_eq!((calls, made), (1, 0), "{tool}{rest}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_made_again_so_often_and_no_more() {
    let server = failing(usize::MAX).await;
    let gateway = gateway(&yaml(&server, ", read_only: [\"*\"]")).await;
    let reply = modern_tool(&gateway.caller(), "reads", json!({})).await;
    assert_eq!(kind(&reply), "status");
    assert_eq!(server.seen("tools/call").len(), 3);
}

/// A server that fails everything gets a fifth more, and a few, and not three times as much.
#[tokio::test(flavor = "multi_thread")]
async fn retries_have_a_budget() {
    let server = failing(usize::MAX).await;
    let rest = ", read_only: [\"*\"], breaker: { enabled: false }";
    let gateway = gateway(&yaml(&server, rest)).await;
    let caller = gateway.caller();
    for _ in 0..50 {
        modern_tool(&caller, "reads", json!({})).await;
    }
    let made = retries(&gateway, "made").await;
    assert!((10..=20).contains(&made), "{made}");
    assert_eq!(server.seen("tools/call").len(), 50 + made);
    assert!(retries(&gateway, "no_budget").await > 0);
}

/// One time holds for all attempts and the waits between them.
#[tokio::test(flavor = "multi_thread")]
async fn retries_end_with_the_time_of_their_call() {
    let server = failing(usize::MAX).await;
    let yaml = format!(
        "retry: {{ attempts: 10, backoff: 600ms, backoff_at_most: 600ms }}\nlimits: {{ call_timeout: 1s }}\nservers:\n  - {{ name: fix, url: \"{}\", prefix: none, era: modern, read_only: [\"*\"] }}\n",
        server.url()
    );
    let gateway = gateway(&yaml).await;
    let begun = Instant::now();
    let reply = modern_tool(&gateway.caller(), "reads", json!({})).await;
    assert_eq!(kind(&reply), "timeout", "{}", reply.message);
    // Ten waits would be three seconds at least.
    assert!(begun.elapsed() < Duration::from_millis(2500));
    assert!(server.seen("tools/call").len() < 6);
}
