//! The demo server over streamable HTTP, in both eras.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};
use mcp_ultra_testkit::{
    process::Process,
    raw::{
        Client,
        legacy::Session,
        modern::{Caller, Prepared},
    },
    schema::Revision,
};
use serde_json::{Value, json};

use crate::{
    demo_judge::judge,
    demo_stdio::{PATIENCE, address, calls, questions},
};

/// The server on a free port. It ends when this is dropped.
struct Server {
    process: Process,
    url: String,
}

impl Server {
    async fn start() -> Self {
        let arguments = ["demo-server", "--http", "127.0.0.1:0"];
        let mut process = Process::start(env!("CARGO_BIN_EXE_mcp-ultra"), arguments, &[]).unwrap();
        let url = process
            .line("the address", PATIENCE, |line| {
                line.starts_with("http://").then(|| line.trim().to_owned())
            })
            .await
            .unwrap();
        Self { process, url }
    }

    fn client(&self) -> Client {
        Client::new(self.url.clone())
    }

    fn caller(&self) -> Caller {
        Caller::new(self.client())
    }

    async fn session(&self, revision: Revision) -> Session {
        let capabilities = json!({"elicitation": {}});
        Session::open(
            self.client(),
            revision.as_str(),
            capabilities,
            HeaderMap::new(),
        )
        .await
        .unwrap()
    }
}

fn header(request: &mut Prepared, name: &'static str, value: &'static str) {
    request
        .headers
        .insert(name, HeaderValue::from_static(value));
}

#[tokio::test]
async fn a_modern_client_gets_everything_without_a_session() {
    let server = Server::start().await;
    let caller = server.caller();
    let revision = Revision::V2026_07_28;
    for (method, params) in questions() {
        let reply = caller.call(method, params).await.unwrap();
        assert_eq!(reply.status, StatusCode::OK, "{method}: {}", reply.message);
        assert_eq!(reply.headers.get("mcp-session-id"), None);
        judge(revision, method, &reply.message);
    }
    let tools = caller.call("tools/list", json!({})).await.unwrap();
    for (name, arguments) in calls() {
        let tools = tools.result()["tools"].as_array().unwrap();
        let tool = tools.iter().find(|tool| tool["name"] == name).unwrap();
        let schema = Some(&tool["inputSchema"]);
        let reply = caller.call_tool(name, arguments, schema).await.unwrap();
        assert_eq!(
            reply.result()["resultType"],
            "complete",
            "{name}: {}",
            reply.message
        );
        judge(revision, "tools/call", &reply.message);
    }
}

#[tokio::test]
async fn headers_and_body_must_agree() {
    let server = Server::start().await;
    let caller = server.caller();
    let orders = || {
        let params = json!({"name": "list_orders", "arguments": {"region": "sul"}});
        let mut request = caller.prepare("tools/call", params);
        header(&mut request, "mcp-param-region", "sul");
        request
    };
    let good = caller.reply(orders()).await.unwrap();
    assert_eq!(good.status, StatusCode::OK, "{}", good.message);
    for (name, value) in [
        ("mcp-param-region", "norte"),
        ("mcp-param-region", ""),
        ("mcp-name", "echo"),
        ("mcp-name", "=?base64?!?="),
        ("mcp-method", "tools/list"),
        ("mcp-protocol-version", "2025-11-25"),
    ] {
        let mut changed = orders();
        header(&mut changed, name, value);
        let mut removed = orders();
        removed.headers.remove(name);
        for request in [changed, removed] {
            let refused = caller.reply(request).await.unwrap();
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{name} {value}");
            assert_eq!(
                refused.error_code(),
                Some(-32020),
                "{name}: {}",
                refused.message
            );
        }
    }
}

#[tokio::test]
async fn statuses_say_what_is_wrong() {
    let server = Server::start().await;
    let caller = server.caller();
    let unknown = caller.call("x/y", json!({})).await.unwrap();
    assert_eq!(
        (unknown.status.as_u16(), unknown.error_code()),
        (404, Some(-32601))
    );
    let mut unable = server.caller();
    unable.capabilities = json!({});
    let refused = unable
        .call_tool("update_address", address(), None)
        .await
        .unwrap();
    assert_eq!(
        (refused.status.as_u16(), refused.error_code()),
        (400, Some(-32021))
    );
    let mut request = caller.prepare("tools/list", json!({}));
    request.message["params"]["_meta"] = json!({});
    let refused = caller.reply(request).await.unwrap();
    assert_eq!(
        (refused.status.as_u16(), refused.error_code()),
        (400, Some(-32602))
    );
    let version = json!({"_meta": {"io.modelcontextprotocol/protocolVersion": "1999-01-01"}});
    let refused = caller.call("tools/list", version).await.unwrap();
    assert_eq!(
        (refused.status.as_u16(), refused.error_code()),
        (400, Some(-32022))
    );
    for (name, value, status) in [
        ("origin", "https://example.com", 403),
        ("host", "example.com", 403),
        ("content-type", "text/plain", 415),
        ("accept", "text/html", 406),
    ] {
        let mut request = caller.prepare("tools/list", json!({}));
        header(&mut request, name, value);
        let answer = caller.send(request).await.unwrap();
        assert_eq!(answer.status.as_u16(), status, "{name}: {value}");
    }
    let big = "x".repeat(5 << 20);
    let request = caller.prepare(
        "tools/call",
        json!({"name": "echo", "arguments": {"text": big}}),
    );
    match caller.send(request).await {
        Ok(answer) => assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE),
        // The server may close before all of the body is written.
        Err(error) => assert!(
            format!("{error:?}").to_lowercase().contains("io"),
            "{error:?}"
        ),
    }
    let client = server.client();
    let bad = client
        .post(caller.prepare("x", json!({})).headers, "{")
        .await
        .unwrap();
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
    let mut modern = HeaderMap::new();
    modern.insert(
        "mcp-protocol-version",
        HeaderValue::from_static("2026-07-28"),
    );
    assert_eq!(
        client.get(modern.clone()).await.unwrap().status.as_u16(),
        405
    );
    assert_eq!(client.delete(modern).await.unwrap().status.as_u16(), 405);
}

#[tokio::test]
async fn progress_and_logs_come_on_the_stream_of_the_call() {
    let server = Server::start().await;
    let caller = server.caller();
    let params = json!({
        "name": "export_customers",
        "arguments": {"seconds": 0},
        "_meta": {"progressToken": 1, "io.modelcontextprotocol/logLevel": "info"},
    });
    let reply = caller.call("tools/call", params).await.unwrap();
    assert_eq!(reply.notifications("notifications/progress").len(), 25);
    assert!(!reply.notifications("notifications/message").is_empty());
    assert_eq!(reply.headers["x-accel-buffering"], "no");
    for message in reply.before.iter().chain([&reply.message]) {
        judge(Revision::V2026_07_28, "tools/call", message);
    }
}

#[tokio::test]
async fn a_modern_user_is_asked_by_a_result_and_answers_with_a_retry() {
    let server = Server::start().await;
    let caller = server.caller();
    let asked = caller
        .call_tool("update_address", address(), None)
        .await
        .unwrap();
    judge(Revision::V2026_07_28, "tools/call", &asked.message);
    let retry = json!({
        "name": "update_address",
        "arguments": address(),
        "inputResponses": {"confirmation": {"action": "accept", "content": {"confirm": true}}},
        "requestState": asked.result()["requestState"],
    });
    let done = caller.call("tools/call", retry).await.unwrap();
    assert_eq!(
        done.result()["structuredContent"]["updated"],
        true,
        "{}",
        done.message
    );
}

#[tokio::test]
async fn a_stream_of_changes_ends_in_order_when_the_server_stops() {
    let mut server = Server::start().await;
    let caller = server.caller();
    let filter = json!({"resourceSubscriptions": ["notes://cus-0008"]});
    let mut events = caller.listen(filter).await.unwrap();
    let revision = Revision::V2026_07_28;
    let acknowledged = events.message().await.unwrap().unwrap();
    judge(revision, "", &acknowledged);
    let note = json!({"customer_id": "cus-0008", "text": "Enviado por correio."});
    caller.call_tool("add_note", note, None).await.unwrap();
    let told = events.message().await.unwrap().unwrap();
    judge(revision, "", &told);
    assert_eq!(told["params"]["uri"], "notes://cus-0008");
    server
        .process
        .signal(nix::sys::signal::Signal::SIGTERM)
        .unwrap();
    let closed = events.message().await.unwrap().unwrap();
    judge(revision, "subscriptions/listen", &closed);
    let status = server.process.wait(Duration::from_secs(10)).await.unwrap();
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn a_legacy_client_works_in_a_session() {
    let server = Server::start().await;
    for revision in [
        Revision::V2025_03_26,
        Revision::V2025_06_18,
        Revision::V2025_11_25,
    ] {
        let session = server.session(revision).await;
        judge(
            revision,
            "initialize",
            &json!({"jsonrpc": "2.0", "id": 0, "result": session.initialized}),
        );
        for (method, params) in questions() {
            let reply = session.call(method, params).await.unwrap();
            assert_eq!(reply.status, StatusCode::OK);
            judge(revision, method, &reply.message);
        }
        for (name, arguments) in calls() {
            let params = json!({"name": name, "arguments": arguments});
            let reply = session.call("tools/call", params).await.unwrap();
            judge(revision, "tools/call", &reply.message);
            for message in &reply.before {
                judge(revision, "", message);
            }
        }
        let headers = session.headers();
        let status = session.close().await.unwrap();
        assert_eq!(status, StatusCode::NO_CONTENT);
        let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
        let ended = server
            .client()
            .post(headers.clone(), ping.clone())
            .await
            .unwrap();
        assert_eq!(ended.status, StatusCode::NOT_FOUND);
        let mut without = headers;
        without.remove("mcp-session-id");
        let refused = server.client().post(without, ping).await.unwrap();
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn a_legacy_user_is_asked_on_the_stream_of_the_call() {
    let server = Server::start().await;
    let session = server.session(Revision::V2025_11_25).await;
    let params = json!({"name": "update_address", "arguments": address()});
    let yes = |asked: &Value| {
        judge(Revision::V2025_11_25, "", asked);
        Some(json!({"action": "accept", "content": {"confirm": true}}))
    };
    let done = session
        .call_answering("tools/call", params, yes)
        .await
        .unwrap();
    assert_eq!(
        done.result()["structuredContent"]["updated"],
        true,
        "{}",
        done.message
    );
}

#[tokio::test]
async fn changes_come_on_the_one_stream_of_the_session() {
    let server = Server::start().await;
    let session = server.session(Revision::V2025_11_25).await;
    let mut events = session.stream(None).await.unwrap().events();
    let second = session.stream(None).await.unwrap();
    assert_eq!(second.status, StatusCode::CONFLICT);
    let uri = json!({"uri": "customer://cus-0001"});
    session
        .call("resources/subscribe", uri.clone())
        .await
        .unwrap();
    let note = json!({"name": "add_note", "arguments": {"customer_id": "cus-0001", "text": "Ok."}});
    session.call("tools/call", note).await.unwrap();
    let told = events.message().await.unwrap().unwrap();
    judge(Revision::V2025_11_25, "", &told);
    assert_eq!(told["params"], uri);
    session.close().await.unwrap();
    assert!(
        events.message().await.unwrap().is_none(),
        "the stream ends with the session"
    );
}

#[tokio::test]
async fn a_cancelled_legacy_call_ends_without_an_answer() {
    let server = Server::start().await;
    let session = server.session(Revision::V2025_11_25).await;
    let slow = json!({"name": "flaky", "arguments": {"mode": "slow", "seconds": 60}});
    let calling = session.send("tools/call", slow);
    let cancelling = async {
        // The call has the first id of the session.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let params = json!({"requestId": 1});
        session
            .notify("notifications/cancelled", params)
            .await
            .unwrap();
    };
    let (called, ()) = tokio::join!(calling, cancelling);
    let (_, answer) = called.unwrap();
    assert!(answer.is_event_stream());
    assert!(answer.events().message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_batch_is_answered_on_a_stream() {
    let server = Server::start().await;
    let session = server.session(Revision::V2025_03_26).await;
    let batch = json!([
        {"jsonrpc": "2.0", "id": "a", "method": "ping"},
        {"jsonrpc": "2.0", "id": "b", "method": "tools/call",
            "params": {"name": "echo", "arguments": {"text": "two"}}},
    ]);
    let mut events = session.post(&batch).await.unwrap().events();
    let mut ids = Vec::new();
    while let Some(message) = events.message().await.unwrap() {
        judge(Revision::V2025_03_26, "", &message);
        ids.push(message["id"].as_str().unwrap().to_owned());
    }
    ids.sort_unstable();
    assert_eq!(ids, ["a", "b"]);
}

#[tokio::test]
async fn an_address_that_others_can_reach_is_refused() {
    let arguments = ["demo-server", "--http", "0.0.0.0:0"];
    let mut process = Process::start(env!("CARGO_BIN_EXE_mcp-ultra"), arguments, &[]).unwrap();
    let status = process.wait(PATIENCE).await.unwrap();
    assert_eq!(status.code(), Some(2));
    // What it wrote may be read a moment after its end.
    let begun = std::time::Instant::now();
    while !process.stderr().contains("not a loopback address") {
        assert!(begun.elapsed() < PATIENCE, "{}", process.stderr());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
