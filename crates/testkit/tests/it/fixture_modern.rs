//! The modern fixture, through the raw client, judged by the schema.

use std::time::Duration;

use mcp_ultra_testkit::{
    fixture::{Era, Options, http as fixture},
    raw::{Client, modern::Caller},
    schema::{Revision, assert_valid},
};
use serde_json::{Value, json};

const MODERN: Revision = Revision::V2026_07_28;

async fn start() -> (fixture::Running, Caller) {
    let fixture = fixture::start(Options::new(Era::Modern))
        .await
        .expect("a fixture");
    let caller = Caller::new(Client::new(fixture.url()));
    (fixture, caller)
}

#[tokio::test]
async fn every_list_and_a_call_is_valid_by_the_schema() {
    let (_fixture, caller) = start().await;
    for (method, definition) in [
        ("server/discover", "DiscoverResult"),
        ("tools/list", "ListToolsResult"),
        ("resources/list", "ListResourcesResult"),
        ("resources/templates/list", "ListResourceTemplatesResult"),
        ("prompts/list", "ListPromptsResult"),
    ] {
        let reply = caller.call(method, json!({})).await.expect(method);
        assert_valid(MODERN, "JSONRPCMessage", &reply.message);
        assert_valid(MODERN, definition, reply.result());
    }
    let reply = caller
        .call_tool("test_echo", json!({ "a": [1, "b"] }), None)
        .await
        .expect("echo");
    assert_valid(MODERN, "CallToolResult", reply.result());
    assert_eq!(
        reply.result()["structuredContent"],
        json!({ "a": [1, "b"] })
    );
}

#[tokio::test]
async fn the_interactive_tools_ask_by_input_required() {
    let (_fixture, caller) = start().await;
    let answers = json!({
        "test_sampling": { "role": "assistant", "model": "m", "content": { "type": "text", "text": "Paris" } },
        "test_elicitation": { "action": "accept", "content": { "username": "ana", "email": "a@example.com" } },
        "test_elicitation_sep1034_defaults": { "action": "accept", "content": { "age": 31 } },
        "test_elicitation_sep1330_enums": { "action": "decline" }
    });
    for (tool, answer) in answers.as_object().expect("an object") {
        let params = json!({ "name": tool, "arguments": { "prompt": "p", "message": "m" } });
        let asked = caller
            .call("tools/call", params.clone())
            .await
            .expect("a question");
        assert_valid(MODERN, "InputRequiredResult", asked.result());
        let key = asked.result()["inputRequests"]
            .as_object()
            .expect("questions")
            .keys()
            .next();
        let mut retry = params;
        retry["inputResponses"] = json!({ key.expect("a key"): answer });
        let done = caller.call("tools/call", retry).await.expect("an answer");
        assert_valid(MODERN, "CallToolResult", done.result());
        let text = done.result()["content"][0]["text"].as_str().expect("text");
        let expected = match tool.as_str() {
            "test_sampling" => "Paris",
            "test_elicitation_sep1330_enums" => "decline",
            _ => "accept",
        };
        assert!(text.contains(expected), "{tool}: {text}");
    }
}

#[tokio::test]
async fn a_question_needs_the_capability_to_answer_it() {
    let (_fixture, mut caller) = start().await;
    caller.capabilities = json!({});
    let params = json!({ "message": "m" });
    let reply = caller
        .call_tool("test_elicitation", params, None)
        .await
        .expect("a reply");
    assert_eq!(reply.error_code(), Some(-32021));
    assert_eq!(reply.status, http::StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn logs_come_only_when_meta_asks_for_them() {
    let (_fixture, caller) = start().await;
    for (level, count) in [(None, 0), (Some("debug"), 3), (Some("error"), 0)] {
        let meta = level.map_or(
            json!({}),
            |level| json!({ "io.modelcontextprotocol/logLevel": level }),
        );
        let params = json!({ "name": "test_tool_with_logging", "_meta": meta });
        let reply = caller.call("tools/call", params).await.expect("a reply");
        assert_eq!(
            reply.notifications("notifications/message").len(),
            count,
            "{level:?}"
        );
    }
}

#[tokio::test]
async fn listeners_hear_what_their_filter_asks_for() {
    let (_fixture, caller) = start().await;
    let mut events = caller
        .listen(json!({ "toolsListChanged": true }))
        .await
        .expect("a stream");
    let acknowledged = events
        .message()
        .await
        .expect("readable")
        .expect("an acknowledgement");
    assert_eq!(
        acknowledged["method"],
        "notifications/subscriptions/acknowledged"
    );
    for tool in ["test_trigger_prompt_change", "test_trigger_tool_change"] {
        caller
            .call_tool(tool, json!({}), None)
            .await
            .expect("triggered");
    }
    let heard = events
        .message()
        .await
        .expect("readable")
        .expect("a notification");
    assert_eq!(heard["method"], "notifications/tools/list_changed");
    assert_valid(MODERN, "ToolListChangedNotification", &heard);
    let more = events
        .next_within(Duration::from_millis(200))
        .await
        .expect("readable");
    assert!(
        more.is_none_or(|event| event.data.is_empty()),
        "the prompts were not asked for"
    );
}

#[tokio::test]
async fn a_resource_is_listened_to_by_its_uri() {
    let (_fixture, caller) = start().await;
    let filter = json!({ "resourceSubscriptions": ["test://static-text"] });
    let mut events = caller.listen(filter).await.expect("a stream");
    events
        .message()
        .await
        .expect("readable")
        .expect("an acknowledgement");
    for arguments in [json!({}), json!({ "uri": "test://static-text" })] {
        let triggered = caller
            .call_tool("test_trigger_resource_update", arguments, None)
            .await;
        triggered.expect("triggered");
    }
    let heard = events
        .message()
        .await
        .expect("readable")
        .expect("a notification");
    assert_valid(MODERN, "ResourceUpdatedNotification", &heard);
    assert_eq!(heard["params"]["uri"], "test://static-text");
}

#[tokio::test]
async fn mirrored_parameters_are_checked() {
    let (_fixture, caller) = start().await;
    let tools = caller.call("tools/list", json!({})).await.expect("tools");
    let tools = tools.result()["tools"].as_array().expect("a list").clone();
    let tool = tools
        .iter()
        .find(|tool| tool["name"] == "test_custom_header")
        .expect("the tool");
    let arguments = json!({ "value": "São Paulo" });
    let schema = Some(&tool["inputSchema"]);
    let good = caller
        .call_tool("test_custom_header", arguments.clone(), schema)
        .await;
    assert_eq!(
        good.expect("a reply").result()["content"][0]["text"],
        "São Paulo"
    );
    let bare = caller
        .call_tool("test_custom_header", arguments, None)
        .await
        .expect("a reply");
    assert_eq!(bare.error_code(), Some(-32020));
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_call() {
    let (_fixture, caller) = start().await;
    let wait = json!({ "name": "test_wait", "arguments": { "milliseconds": 60_000 } });
    let request = caller.prepare("tools/call", wait);
    let leaving = tokio::time::timeout(Duration::from_millis(300), caller.reply(request)).await;
    assert!(leaving.is_err(), "the call ended before its time");
    let mut cancelled = Value::Null;
    for _ in 0..100 {
        let reply = caller
            .call_tool("test_cancelled_waits", json!({}), None)
            .await
            .expect("count");
        cancelled = reply.result()["structuredContent"]["cancelled"].clone();
        if cancelled == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the wait was not cancelled: {cancelled}");
}
