//! What may be kept by whose word, and what becomes of that when the operator says something else.

use std::time::Duration;

use http::StatusCode;
use mcp_ultra_testkit::{
    raw::modern::Caller,
    scripted::{Scene, Scripted},
};
use serde_json::json;

use super::{
    PRIVATE,
    rig::{Rig, server, yaml},
};
use crate::gateway_rig::{gateway, modern_tool, only, text, until};

const TEN: &str = "cache: { ttl: { tools: 10m } }\n";

async fn calls(caller: &Caller, tool: &str) -> String {
    text(&modern_tool(caller, tool, json!({})).await).to_owned()
}

/// It may be good for longer than the new rules say, and while nothing was kept, nothing was noted of what
/// has changed.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_by_other_rules_is_given_to_nobody() {
    let server = server(0, PRIVATE).await;
    let of_server = ", read_only: [looks]";
    let gateway = gateway(&yaml(&server, TEN, of_server)).await;
    let caller = gateway.caller();
    let looks = async || calls(&caller, "looks").await;
    let change = |general: &str| {
        let yaml = yaml(&server, general, of_server);
        gateway.reconfigure(&yaml).unwrap();
    };
    let before = looks().await;
    assert_eq!(looks().await, before);
    change("cache: { enabled: false }\n");
    until("it is asked each time", async || {
        looks().await != looks().await
    })
    .await;
    calls(&caller, "sets").await;
    change(TEN);
    until("it is kept again", async || looks().await == looks().await).await;
    let kept = looks().await;
    assert_ne!(kept, before, "of before its caller has changed something");
    change("cache: { ttl: { tools: 1s } }\n");
    let soon = Duration::from_secs(10);
    let asked_anew = tokio::time::timeout(soon, async {
        while looks().await == kept {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    assert!(asked_anew.await.is_ok(), "it is kept for ten minutes still");
}

/// `cacheScope` is said of resources. What another answer says can only keep more from being kept.
#[tokio::test(flavor = "multi_thread")]
async fn the_result_of_a_tool_is_its_callers_alone_whatever_it_says() {
    let rig = Rig::start(0, PRIVATE, "", TEN).await;
    let (ana, bea) = (rig.caller("acme", "ana"), rig.caller("acme", "bea"));
    let hers = calls(&ana, "shows").await;
    assert_eq!(calls(&ana, "shows").await, hers);
    assert_ne!(calls(&bea, "shows").await, hers);
}

/// A client of an earlier revision gets it without the member that says that it is not the whole result.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_whole_result_is_not_kept_for_a_legacy_client_either() {
    let tools = json!([{ "name": "starts", "inputSchema": { "type": "object" } }]);
    let server = Scripted::start(tools, |seen| match &*seen.rpc() {
        "tools/call" => Some(Scene::Result(
            json!({ "resultType": "task", "taskId": "t", "status": "working", "content": [] })
                .to_string(),
        )),
        "initialize" => Some(Scene::Status(StatusCode::NOT_FOUND)),
        _ => None,
    })
    .await
    .unwrap();
    let yaml = only(&server.url(), TEN).replace(
        "prefix: none",
        "prefix: none, era: modern, read_only: [starts]",
    );
    let gateway = gateway(&yaml).await;
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    for number in 1..=2 {
        let starts = json!({ "name": "starts", "arguments": {} });
        session.call("tools/call", starts).await.unwrap();
        assert_eq!(server.seen("tools/call").len(), number);
    }
}
