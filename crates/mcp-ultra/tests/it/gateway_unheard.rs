//! What changes while nobody listens to a server: before its stream is open, and while it is broken.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
};

use mcp_ultra_testkit::{
    fixture::{Era, http},
    gateway::Gateway,
    scripted::{Scene, Scripted},
};
use serde_json::{Value, json};

use crate::gateway_rig::{
    SOON, Server, free_address, gateway, judge, legacy, modern, names, only, revision, until,
};

const WATCHED: &str = "test://watched-resource";

async fn lists(gateway: &Gateway, wanted: &str) {
    let caller = gateway.caller();
    until("the new tool is listed", async || {
        let list = modern(&caller, "tools/list", json!({})).await;
        names(&list, "tools") == [wanted]
    })
    .await;
}

fn discovered() -> String {
    let result = json!({
        "resultType": "complete", "ttlMs": 0, "cacheScope": "private",
        "supportedVersions": ["2026-07-28"],
        "capabilities": { "tools": { "listChanged": true } },
        "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "scripted", "version": "0" } },
    });
    result.to_string()
}

/// A server that has a tool from the opening number `from` of its stream on, never tells of it, and
/// ends each stream at once.
async fn late_from(from: usize) -> Scripted {
    let opened = AtomicUsize::new(0);
    Scripted::start(json!([]), move |seen| match seen.rpc().as_str() {
        "server/discover" => Some(Scene::Result(discovered())),
        "subscriptions/listen" => {
            opened.fetch_add(1, Ordering::SeqCst);
            let acknowledged = json!({
                "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
                "params": {
                    "_meta": { "io.modelcontextprotocol/subscriptionId": "$ID" },
                    "notifications": { "toolsListChanged": true },
                },
            });
            Some(Scene::Events(vec![acknowledged.to_string()]))
        }
        "tools/list" if opened.load(Ordering::SeqCst) >= from => {
            let result = json!({
                "resultType": "complete", "ttlMs": 0, "cacheScope": "private",
                "tools": [{ "name": "late", "inputSchema": { "type": "object" } }],
            });
            Some(Scene::Result(result.to_string()))
        }
        _ => None,
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_before_a_server_is_listened_to_is_found() {
    let upstream = late_from(1).await;
    let gateway = gateway(&only(&upstream.url(), "")).await;
    lists(&gateway, "late").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_while_a_stream_is_broken_is_found() {
    let upstream = late_from(2).await;
    let gateway = gateway(&only(&upstream.url(), "")).await;
    lists(&gateway, "late").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_opens_its_stream_is_listed_at_once() {
    let tools = json!([{ "name": "early", "inputSchema": { "type": "object" } }]);
    let upstream = Scripted::start(tools, |seen| match seen.rpc().as_str() {
        "server/discover" => Some(Scene::Result(discovered())),
        "subscriptions/listen" => Some(Scene::Late(4 * SOON, "{}".to_owned())),
        _ => None,
    })
    .await
    .unwrap();
    let rest = "catalog: { list_timeout: 3m }";
    let gateway = gateway(&only(&upstream.url(), rest)).await;
    // The opening of a stream is given up after 30 s.
    let listed = tokio::time::timeout(SOON / 2, lists(&gateway, "early")).await;
    assert!(listed.is_ok(), "it is listed only after its stream");
    assert_eq!(upstream.seen("subscriptions/listen").len(), 1);
}

/// A program that has a tool from the opening of its stream on.
const PROGRAM: &str = r#"
import json, sys

HINTS = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
listened = False

def send(message):
    print(json.dumps(dict({"jsonrpc": "2.0"}, **message)), flush=True)

for line in sys.stdin:
    message = json.loads(line)
    method, id = message.get("method"), message.get("id")
    if method == "server/discover":
        send({"id": id, "result": dict(HINTS, supportedVersions=["2026-07-28"],
            capabilities={"tools": {"listChanged": True}},
            _meta={"io.modelcontextprotocol/serverInfo": {"name": "late", "version": "0"}})})
    elif method == "subscriptions/listen":
        listened = True
        send({"method": "notifications/subscriptions/acknowledged", "params": {
            "_meta": {"io.modelcontextprotocol/subscriptionId": id},
            "notifications": {"toolsListChanged": True}}})
    elif method == "tools/list":
        tools = [{"name": "late", "inputSchema": {"type": "object"}}] if listened else []
        send({"id": id, "result": dict(HINTS, tools=tools)})
    elif id is not None:
        send({"id": id, "error": {"code": -32601, "message": "no"}})
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_before_a_program_is_listened_to_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("late.py");
    fs::write(&script, PROGRAM).unwrap();
    let gateway = gateway(&format!(
        "servers:\n  - {{ name: late, prefix: none, command: python3, args: [\"{}\"] }}\n",
        script.display()
    ))
    .await;
    lists(&gateway, "late").await;
}

/// The watched resource may be another one after the restart, and nobody was there to say so.
#[tokio::test(flavor = "multi_thread")]
async fn watched_resources_are_told_of_when_their_stream_is_open_again() {
    let address = free_address();
    let server = Server::start(address, Era::Modern).await;
    let gateway = gateway(&only(&http::url(address), "")).await;
    let caller = gateway.caller();
    let wanted = json!({ "resourceSubscriptions": [WATCHED] });
    let mut listening = caller.listen(wanted.clone()).await.unwrap();
    let acknowledged = listening.message().await.unwrap().unwrap();
    assert_eq!(acknowledged["params"]["notifications"], wanted);
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    let mut events = session.stream(None).await.unwrap().events();
    legacy(&session, "resources/subscribe", json!({ "uri": WATCHED })).await;
    server.end().await;
    let server = Server::start(address, Era::Modern).await;
    let told = |told: &Value| {
        assert_eq!(told["method"], "notifications/resources/updated");
        assert_eq!(told["params"]["uri"], WATCHED);
    };
    let modern = tokio::time::timeout(SOON, listening.message()).await;
    told(&modern.expect("the modern client is told").unwrap().unwrap());
    let legacy = tokio::time::timeout(SOON, events.message()).await;
    let legacy = legacy.expect("the legacy client is told").unwrap().unwrap();
    judge(revision(&session), "", &legacy);
    told(&legacy);
    server.end().await;
}
