//! The demo server over stdio, with clients of 2025-11-25, 2025-06-18 and 2025-03-26.

use std::time::Duration;

use mcp_ultra_testkit::schema::Revision;
use serde_json::{Value, json};

use crate::{
    demo_judge::judge_structured,
    demo_stdio::{Stdio, address, calls, questions},
};

const LEGACY: [Revision; 3] = [
    Revision::V2025_03_26,
    Revision::V2025_06_18,
    Revision::V2025_11_25,
];

#[tokio::test]
async fn everything_is_there_and_valid_in_every_legacy_revision() {
    for revision in LEGACY {
        let mut client = Stdio::legacy(revision, json!({})).await;
        for (method, params) in questions() {
            let answer = client.call(method, params).await;
            assert!(answer["result"].is_object(), "{method}: {answer}");
            for modern in ["resultType", "ttlMs", "cacheScope"] {
                assert_eq!(answer["result"].get(modern), None, "{method}");
            }
        }
        let listed = client.call("tools/list", json!({})).await;
        for (name, arguments) in calls() {
            let answer = client.tool(name, arguments).await;
            assert_eq!(answer["result"].get("isError"), None, "{name}: {answer}");
            judge_structured(&listed["result"]["tools"], name, &answer["result"]);
        }
        assert_eq!(client.call("ping", json!({})).await["result"], json!({}));
        let missing = client.call("resources/read", json!({"uri": "x://y"})).await;
        assert_eq!(missing["error"]["code"], -32002);
        let modern = client.call("server/discover", json!({})).await;
        assert_eq!(modern["error"]["code"], -32601);
        client.end().await;
    }
}

#[tokio::test]
async fn the_first_revision_has_no_structured_content() {
    let mut client = Stdio::legacy(Revision::V2025_03_26, json!({})).await;
    let listed = client.call("tools/list", json!({})).await;
    for tool in listed["result"]["tools"].as_array().unwrap() {
        assert_eq!(
            (tool.get("outputSchema"), tool.get("title")),
            (None, None),
            "{tool}"
        );
    }
    let order = client
        .tool("get_order", json!({"order_id": "ord-0001"}))
        .await;
    assert_eq!(order["result"].get("structuredContent"), None);
    assert_eq!(
        order["result"]["content"].as_array().unwrap().len(),
        1,
        "no link either"
    );
    client.end().await;
}

#[tokio::test]
async fn the_user_is_asked_in_the_middle_of_the_call() {
    for revision in [Revision::V2025_06_18, Revision::V2025_11_25] {
        let mut client = Stdio::legacy(revision, json!({"elicitation": {}})).await;
        for (answer, updated) in [
            (json!({"action": "decline"}), false),
            (
                json!({"action": "accept", "content": {"confirm": true}}),
                true,
            ),
        ] {
            let params = json!({"name": "update_address", "arguments": address()});
            let call = client.send("tools/call", params);
            let asked = client.wait(|m| m["method"] == "elicitation/create").await;
            assert_eq!(
                asked["params"].get("mode").is_some(),
                revision == Revision::V2025_11_25
            );
            let id = &asked["id"];
            client.write(&json!({"jsonrpc": "2.0", "id": id, "result": answer}));
            let done = client.response(call).await;
            assert_eq!(
                done["result"]["structuredContent"]["updated"], updated,
                "{done}"
            );
        }
        client.end().await;
    }
}

#[tokio::test]
async fn a_client_that_cannot_ask_changes_nothing() {
    for revision in LEGACY {
        let mut client = Stdio::legacy(revision, json!({})).await;
        let refused = client.tool("update_address", address()).await;
        assert_eq!(refused["result"]["isError"], true, "{refused}");
        client.end().await;
    }
}

#[tokio::test]
async fn an_error_instead_of_an_answer_changes_nothing() {
    let mut client = Stdio::legacy(Revision::V2025_11_25, json!({"elicitation": {}})).await;
    let params = json!({"name": "update_address", "arguments": address()});
    let call = client.send("tools/call", params);
    let asked = client.wait(|m| m["method"] == "elicitation/create").await;
    let error = json!({"code": -32603, "message": "no window"});
    client.write(&json!({"jsonrpc": "2.0", "id": asked["id"], "error": error}));
    let refused = client.response(call).await;
    assert_eq!(refused["result"]["isError"], true, "{refused}");
    client.end().await;
}

#[tokio::test]
async fn log_level_and_progress_are_as_the_client_wants_them() {
    let mut client = Stdio::legacy(Revision::V2025_11_25, json!({})).await;
    let mut export = json!({"name": "export_customers", "arguments": {"seconds": 0}});
    export["_meta"] = json!({"progressToken": 7});
    client
        .call("logging/setLevel", json!({"level": "warning"}))
        .await;
    client.call("tools/call", export.clone()).await;
    assert!(client.early("notifications/message").is_empty());
    let progress = client.early("notifications/progress");
    assert_eq!(progress.len(), 25);
    assert_eq!(progress[24]["params"]["progressToken"], 7);
    client
        .call("logging/setLevel", json!({"level": "info"}))
        .await;
    client.call("tools/call", export).await;
    assert!(!client.early("notifications/message").is_empty());
    let wrong = client
        .call("logging/setLevel", json!({"level": "loud"}))
        .await;
    assert_eq!(wrong["error"]["code"], -32602);
    client.end().await;
}

#[tokio::test]
async fn subscriptions_last_until_they_are_ended() {
    let mut client = Stdio::legacy(Revision::V2025_06_18, json!({})).await;
    let uri = json!({"uri": "customer://cus-0001"});
    client.call("resources/subscribe", uri.clone()).await;
    let note = json!({"customer_id": "cus-0001", "text": "Retornar a ligação."});
    client.tool("add_note", note.clone()).await;
    let told = client
        .wait(|m| m["method"] == "notifications/resources/updated")
        .await;
    assert_eq!(told["params"], uri);
    client.call("resources/unsubscribe", uri).await;
    client.tool("add_note", note).await;
    assert_eq!(client.next_within(Duration::from_millis(200)).await, None);
    let unknown = client
        .call("resources/subscribe", json!({"uri": "x://y"}))
        .await;
    assert_eq!(unknown["error"]["code"], -32002);
    client.end().await;
}

#[tokio::test]
async fn a_cancelled_request_is_not_answered() {
    let mut client = Stdio::legacy(Revision::V2025_11_25, json!({})).await;
    let slow = json!({"name": "flaky", "arguments": {"mode": "slow", "seconds": 1}});
    let slow = client.send("tools/call", slow);
    let params = json!({"requestId": slow});
    client.write(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}));
    assert_eq!(client.next_within(Duration::from_millis(1500)).await, None);
    client.end().await;
}

#[tokio::test]
async fn a_batch_is_answered_in_one_array_in_the_revision_that_has_them() {
    let batch = json!([
        {"jsonrpc": "2.0", "id": "a", "method": "ping"},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": "b", "method": "tools/call",
            "params": {"name": "echo", "arguments": {"text": "two"}}},
        {"jsonrpc": "2.0", "id": "c", "method": "initialize",
            "params": {"protocolVersion": "2025-03-26"}},
        {"jsonrpc": "2.0", "id": "d", "params": {}},
    ]);
    let mut client = Stdio::legacy(Revision::V2025_03_26, json!({})).await;
    client.write(&batch);
    let answers = client.wait(Value::is_array).await;
    let ids: Vec<&str> = answers
        .as_array()
        .unwrap()
        .iter()
        .map(|answer| answer["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 4, "{answers}");
    for id in ["a", "b", "c", "d"] {
        assert!(ids.contains(&id), "{id} in {answers}");
    }
    client.end().await;
    let mut client = Stdio::legacy(Revision::V2025_06_18, json!({})).await;
    client.write(&batch);
    let refused = client.wait(|message| message.get("error").is_some()).await;
    assert_eq!(refused["error"]["code"], -32600);
    client.end().await;
}

#[tokio::test]
async fn each_message_has_its_own_era() {
    let mut client = Stdio::legacy(Revision::V2025_11_25, json!({})).await;
    client.revision = Revision::V2026_07_28;
    let discovered = client.call("server/discover", json!({})).await;
    assert_eq!(discovered["result"]["resultType"], "complete");
    client.revision = Revision::V2025_11_25;
    let legacy = client.call("tools/list", json!({})).await;
    assert_eq!(legacy["result"].get("resultType"), None);
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}});
    let twice = client.call("initialize", params).await;
    assert_eq!(twice["error"]["code"], -32600);
    client.end().await;
}
