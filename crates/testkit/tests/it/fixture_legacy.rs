//! The legacy fixture, through a raw session, judged by the schema.

use http::{HeaderMap, StatusCode};
use mcp_ultra_testkit::{
    fixture::{Era, Options, http as fixture},
    raw::{Client, legacy::Session},
    schema::{Revision, assert_valid},
};
use serde_json::{Value, json};

const LEGACY: Revision = Revision::V2025_11_25;

async fn start() -> (fixture::Running, Session) {
    let fixture = fixture::start(Options::new(Era::Legacy))
        .await
        .expect("a fixture");
    let capabilities = json!({ "elicitation": {}, "sampling": {} });
    let client = Client::new(fixture.url());
    let session = Session::open(client, "2025-11-25", capabilities, HeaderMap::new()).await;
    (fixture, session.expect("a session"))
}

#[tokio::test]
async fn every_list_and_a_call_is_valid_by_the_schema() {
    let (_fixture, session) = start().await;
    assert_valid(LEGACY, "InitializeResult", &session.initialized);
    for (method, definition) in [
        ("tools/list", "ListToolsResult"),
        ("resources/list", "ListResourcesResult"),
        ("resources/templates/list", "ListResourceTemplatesResult"),
        ("prompts/list", "ListPromptsResult"),
    ] {
        let reply = session.call(method, json!({})).await.expect(method);
        assert_valid(LEGACY, "JSONRPCMessage", &reply.message);
        assert_valid(LEGACY, definition, reply.result());
    }
    let echo = json!({ "name": "test_echo", "arguments": { "a": 1 } });
    let reply = session.call("tools/call", echo).await.expect("echo");
    assert_valid(LEGACY, "CallToolResult", reply.result());
    assert!(
        reply.result().get("resultType").is_none(),
        "legacy results have no type"
    );
}

#[tokio::test]
async fn the_interactive_tools_ask_on_the_stream_of_the_call() {
    let (_fixture, session) = start().await;
    let mut asked = Vec::new();
    let mut ask = async |tool: &str, answer: Value| {
        let params = json!({ "name": tool, "arguments": { "prompt": "p", "message": "m" } });
        let reply = session.call_answering("tools/call", params, |question| {
            asked.push(question["method"].as_str().unwrap_or_default().to_owned());
            Some(answer.clone())
        });
        let reply = reply.await.expect("a reply");
        reply.result()["content"][0]["text"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let answer = json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": "Paris" } });
    assert_eq!(ask("test_sampling", answer).await, "LLM response: Paris");
    for tool in [
        "test_elicitation",
        "test_elicitation_sep1034_defaults",
        "test_elicitation_sep1330_enums",
    ] {
        let text = ask(tool, json!({ "action": "decline" })).await;
        assert!(text.contains("action=decline"), "{text}");
    }
    assert_eq!(asked[0], "sampling/createMessage");
    assert_eq!(asked[1..], ["elicitation/create"; 3]);
}

#[tokio::test]
async fn a_closed_stream_is_taken_up_where_it_ended() {
    let (_fixture, session) = start().await;
    let reply = session
        .call("tools/call", json!({ "name": "test_reconnection" }))
        .await;
    let text = reply.expect("a reply").result()["content"][0]["text"].to_string();
    assert!(text.contains("after the stream was closed"), "{text}");
}

#[tokio::test]
async fn subscribers_hear_of_their_resource_on_the_get_stream() {
    let (_fixture, session) = start().await;
    let mut events = session.stream(None).await.expect("a stream").events();
    let uri = json!({ "uri": "test://static-text" });
    session
        .call("resources/subscribe", uri.clone())
        .await
        .expect("subscribed");
    for arguments in [json!({}), uri] {
        let params = json!({ "name": "test_trigger_resource_update", "arguments": arguments });
        session.call("tools/call", params).await.expect("triggered");
    }
    let heard = events
        .message()
        .await
        .expect("readable")
        .expect("a notification");
    assert_eq!(heard["method"], "notifications/resources/updated");
    assert_eq!(heard["params"]["uri"], "test://static-text");
}

#[tokio::test]
async fn a_closed_session_is_gone() {
    let fixture = fixture::start(Options::new(Era::Legacy))
        .await
        .expect("a fixture");
    let client = Client::new(fixture.url());
    let session = Session::open(client.clone(), "2025-11-25", json!({}), HeaderMap::new()).await;
    let session = session.expect("a session");
    let headers = session.headers();
    assert!(session.close().await.expect("closed").is_success());
    let ping = json!({ "jsonrpc": "2.0", "id": 9, "method": "ping" });
    let answer = client
        .post(headers, ping.to_string())
        .await
        .expect("an answer");
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}
