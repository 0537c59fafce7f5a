//! Legacy upstreams that ask in ways of their own: a question on the server-to-client stream before
//! the reply has begun, several at once, one that is taken back, one while the catalog is read, and
//! the error of 2025-11-25 that stands for a URL elicitation.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
    routing::post,
};
use futures_util::stream;
use mcp_ultra_testkit::{
    fixture::Era,
    raw::{Reply, modern::Caller},
    schema::Revision,
};
use serde_json::{Value, json};
use tokio::sync::{Mutex, broadcast, mpsc};

use crate::gateway_rig::{
    SOON, call_headers, call_text, fixture, gateway, judge, legacy_tool, modern, names as listed,
    only, text,
};

/// A legacy server that asks.
struct Asking {
    /// The open server-to-client stream.
    pushed: Mutex<Option<mpsc::Sender<Value>>>,
    /// What the client answers.
    answers: broadcast::Sender<Value>,
    signed_in: AtomicBool,
    /// Whether a question that was taken back has been answered.
    answered_late: AtomicBool,
}

fn events(messages: mpsc::Receiver<Value>) -> Response {
    Sse::new(stream::unfold(messages, |mut messages| async {
        let message = messages.recv().await?;
        let event = Event::default().data(message.to_string());
        Some((Ok::<_, Infallible>(event), messages))
    }))
    .into_response()
}

async fn open_stream(State(server): State<Arc<Asking>>, headers: HeaderMap) -> Response {
    let (sender, messages) = mpsc::channel(8);
    // Before anything is called. Many servers do so.
    if headers["mcp-session-id"] == "has-roots" {
        sender.send(roots("early")).await.unwrap();
    }
    *server.pushed.lock().await = Some(sender);
    events(messages)
}

fn question(id: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": {
        "message": format!("{id}?"),
        "requestedSchema": { "type": "object", "properties": { "name": { "type": "string" } } },
    } })
}

fn roots(id: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "roots/list" })
}

/// Lists the tools only once the client has said which roots it has.
async fn list_tools(server: &Asking, id: &Value) -> Response {
    let mut answers = server.answers.subscribe();
    let (sender, messages) = mpsc::channel(8);
    sender.send(roots("late")).await.unwrap();
    let id = id.clone();
    tokio::spawn(async move {
        let answer = loop {
            let answer = answers.recv().await.unwrap();
            if answer["id"] == "late" {
                break answer;
            }
        };
        let tools = ["pushed", "both", "signed", "withdrawn", "traced"].map(|name| {
            json!({
                "name": name, "inputSchema": { "type": "object" },
                "description": answer["result"].to_string(),
            })
        });
        let result = json!({ "jsonrpc": "2.0", "id": id, "result": { "tools": tools } });
        sender.send(result).await
    });
    events(messages)
}

/// Asks something, takes that back, and goes on a while later.
fn ask_in_vain(server: &Arc<Asking>, id: &Value) -> Response {
    let (sender, messages) = mpsc::channel(8);
    let (server, id) = (server.clone(), id.clone());
    tokio::spawn(async move {
        sender.send(question("vain")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let params = json!({ "requestId": "vain", "reason": "no longer needed" });
        let cancelled =
            json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
        sender.send(cancelled).await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let late = server.answered_late.load(Ordering::Relaxed);
        let text = if late { "answered" } else { "went on" };
        let result = json!({ "content": [{ "type": "text", "text": text }] });
        sender
            .send(json!({ "jsonrpc": "2.0", "id": id, "result": result }))
            .await
    });
    events(messages)
}

/// What was answered to each of the questions.
async fn names(mut answers: broadcast::Receiver<Value>, ids: &[&str]) -> String {
    let mut found = vec![String::new(); ids.len()];
    while found.iter().any(String::is_empty) {
        let answer = answers.recv().await.unwrap();
        if let Some(at) = ids.iter().position(|id| answer["id"] == *id) {
            found[at] = answer["result"]["content"]["name"].as_str().unwrap().into();
        }
    }
    found.join(" and ")
}

fn document(value: &Value) -> Response {
    (
        [(header::CONTENT_TYPE, "application/json")],
        value.to_string(),
    )
        .into_response()
}

async fn message(State(server): State<Arc<Asking>>, body: String) -> Response {
    let message: Value = serde_json::from_str(&body).unwrap();
    let id = message["id"].clone();
    let result = |result: Value| json!({ "jsonrpc": "2.0", "id": id, "result": result });
    let said = |said: &str| result(json!({ "content": [{ "type": "text", "text": said }] }));
    match message["method"].as_str() {
        None => {
            if id == "vain" {
                server.answered_late.store(true, Ordering::Relaxed);
            }
            let _ = server.answers.send(message);
            StatusCode::ACCEPTED.into_response()
        }
        Some("initialize") => {
            let answer = result(json!({
                "protocolVersion": "2025-11-25",
                "capabilities": { "tools": {} },
                "serverInfo": { "name": "asking", "version": "0" },
            }));
            let roots = message["params"]["capabilities"].get("roots").is_some();
            let session = if roots { "has-roots" } else { "has-none" };
            ([("mcp-session-id", session)], document(&answer)).into_response()
        }
        Some("tools/list") => list_tools(&server, &id).await,
        Some("tools/call") => match message["params"]["name"].as_str().unwrap() {
            "traced" => document(&said(&message["params"]["_meta"].to_string())),
            "pushed" => {
                let answers = server.answers.subscribe();
                let pushed = server.pushed.lock().await.clone().unwrap();
                pushed.send(question("q")).await.unwrap();
                document(&said(&names(answers, &["q"]).await))
            }
            "both" => {
                let answers = server.answers.subscribe();
                let (sender, messages) = mpsc::channel(8);
                sender.send(question("a")).await.unwrap();
                sender.send(question("b")).await.unwrap();
                let last = said("");
                tokio::spawn(async move {
                    let mut last = last;
                    last["result"]["content"][0]["text"] = names(answers, &["a", "b"]).await.into();
                    sender.send(last).await
                });
                events(messages)
            }
            "withdrawn" => ask_in_vain(&server, &id),
            _ if server.signed_in.swap(true, Ordering::Relaxed) => document(&said("signed in")),
            _ => document(&json!({ "jsonrpc": "2.0", "id": id, "error": {
                "code": -32042, "message": "sign in first", "data": { "elicitations": [{
                    "mode": "url", "elicitationId": "e", "url": "https://a.example/in",
                    "message": "Sign in",
                }] },
            } })),
        },
        Some(method) if method.starts_with("notifications/") => {
            StatusCode::ACCEPTED.into_response()
        }
        Some(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// The endpoint of a server, and the answers that it gets.
async fn start_watched() -> (String, broadcast::Receiver<Value>) {
    let server = Arc::new(Asking {
        pushed: Mutex::default(),
        answers: broadcast::Sender::new(16),
        signed_in: AtomicBool::new(false),
        answered_late: AtomicBool::new(false),
    });
    let answers = server.answers.subscribe();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new()
        .route("/mcp", post(message).get(open_stream))
        .with_state(server);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (format!("http://{address}/mcp"), answers)
}

async fn start() -> String {
    start_watched().await.0
}

/// Calls a tool until it asks no more. Returns what it said and what it asked for, by round.
async fn rounds(caller: &Caller, tool: &str) -> (Reply, Vec<Vec<Value>>) {
    let mut params = json!({ "name": tool, "arguments": {} });
    let mut asked = Vec::new();
    loop {
        let reply = modern(caller, "tools/call", params.clone()).await;
        let Some(requests) = reply.result()["inputRequests"].as_object() else {
            return (reply, asked);
        };
        assert!(asked.len() < 4, "{tool} asks without end");
        let responses = requests.iter().map(|(key, request)| {
            let name = request["params"]["message"].as_str().unwrap();
            let answer = json!({ "action": "accept", "content": { "name": name } });
            (key.clone(), answer)
        });
        params["inputResponses"] = Value::Object(responses.collect());
        params["requestState"] = reply.result()["requestState"].clone();
        asked.push(requests.values().cloned().collect());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_modern_caller_is_asked_whichever_way_a_legacy_upstream_asks() {
    let gateway = gateway(&only(&start().await, "")).await;
    let mut caller = gateway.caller();
    caller.capabilities = json!({ "elicitation": { "form": {}, "url": {} } });

    let (reply, asked) = rounds(&caller, "pushed").await;
    assert_eq!((text(&reply), asked.len()), ("q?", 1));

    let (reply, asked) = rounds(&caller, "both").await;
    assert_eq!(text(&reply), "a? and b?");
    assert!((1..=2).contains(&asked.len()), "{asked:?}");

    let (reply, asked) = rounds(&caller, "signed").await;
    assert_eq!(text(&reply), "signed in");
    assert_eq!(asked[0][0]["params"]["url"], "https://a.example/in");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_can_open_no_url_is_told_so() {
    let gateway = gateway(&only(&start().await, "")).await;
    let mut caller = gateway.caller();
    caller.capabilities = json!({ "elicitation": { "form": {} } });
    let params = json!({ "name": "signed", "arguments": {} });
    let reply = modern(&caller, "tools/call", params).await;
    assert_eq!(reply.message["error"]["code"], -32021);
}

/// The gateway declares roots on its own behalf, so that a server lists all that it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_the_catalog_for_roots_is_told_that_there_are_none() {
    let (url, mut answers) = start_watched().await;
    let gateway = gateway(&only(&url, "")).await;
    for _ in 0..2 {
        let answer = tokio::time::timeout(SOON, answers.recv()).await;
        let answer = answer.unwrap().unwrap();
        assert_eq!(answer["result"], json!({ "roots": [] }), "{answer}");
    }
    let tools = modern(&gateway.caller(), "tools/list", json!({})).await;
    assert_eq!(listed(&tools, "tools").len(), 5);
    let described = &tools.result()["tools"][0]["description"];
    assert_eq!(*described, r#"{"roots":[]}"#);
}

/// What a server no longer needs to know is taken back under the id that the client was asked
/// with.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_is_taken_back_is_taken_back_from_a_legacy_client() {
    let gateway = gateway(&only(&start().await, "")).await;
    let able = json!({ "elicitation": {} });
    let session = gateway.session("2025-11-25", able).await.unwrap();
    let params = json!({ "name": "withdrawn", "arguments": {} });
    let (_, answer) = session.send("tools/call", params).await.unwrap();
    let mut events = answer.events();
    let mut next = async || {
        let message = events.message().await.unwrap().unwrap();
        judge(Revision::V2025_11_25, "tools/call", &message);
        message
    };
    let asked = next().await;
    assert_eq!(asked["method"], "elicitation/create");
    assert_ne!(asked["id"], "vain", "an id of the session");
    let cancelled = next().await;
    assert_eq!(cancelled["method"], "notifications/cancelled");
    let expected = json!({ "requestId": asked["id"], "reason": "no longer needed" });
    assert_eq!(cancelled["params"], expected);
    let late = json!({ "action": "accept", "content": { "name": "late" } });
    session.respond(&asked, Some(late)).await.unwrap();
    let last = next().await;
    assert_eq!(last["result"]["content"][0]["text"], "went on", "{last}");
}

/// A modern client that comes back with its answer is not asked again.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_is_taken_back_holds_up_no_modern_client() {
    for answer in [
        json!({}),
        json!({ "input-1": { "action": "accept", "content": { "name": "late" } } }),
    ] {
        let gateway = gateway(&only(&start().await, "")).await;
        let mut caller = gateway.caller();
        caller.capabilities = json!({ "elicitation": { "form": {} } });
        let mut params = json!({ "name": "withdrawn", "arguments": {} });
        let asked = modern(&caller, "tools/call", params.clone()).await;
        let state = asked.result()["requestState"].clone();
        assert!(state.is_string(), "{}", asked.message);
        // Until it is taken back.
        tokio::time::sleep(Duration::from_secs(1)).await;
        params["requestState"] = state;
        params["inputResponses"] = answer;
        let reply = modern(&caller, "tools/call", params).await;
        assert_eq!(text(&reply), "went on", "{}", reply.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legacy_client_that_takes_json_only_is_asked_on_its_own_stream_or_not_at_all() {
    for era in [Era::Legacy, Era::Modern] {
        let upstream = fixture(era).await;
        let gateway = gateway(&only(&upstream.url(), "")).await;
        let capabilities = json!({ "elicitation": {} });
        let mut session = gateway.session("2025-11-25", capabilities).await.unwrap();
        let json_only = "application/json".parse().unwrap();
        session.extra_headers.insert("accept", json_only);
        let call = || legacy_tool(&session, "test_elicitation", json!({}));
        let reply = tokio::time::timeout(SOON, call()).await;
        let reply = reply.unwrap_or_else(|_| panic!("{era:?}: it waits"));
        let message = reply.message.to_string();
        assert!(message.contains("text/event-stream"), "{era:?}: {message}");

        let stream = session.stream(None).await.unwrap();
        let answering = session.answer_on_stream(stream, |_| {
            let content = json!({ "username": "ana", "email": "ana@example.com" });
            Some(json!({ "action": "accept", "content": content }))
        });
        tokio::select! {
            reply = tokio::time::timeout(SOON, call()) => {
                let reply = reply.unwrap();
                assert!(text(&reply).contains("ana@example.com"), "{era:?}: {}", reply.message);
            }
            ended = answering => panic!("{era:?}: the stream ended: {ended:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_of_a_request_reaches_a_legacy_server_over_http() {
    let gateway = gateway(&only(&start().await, "")).await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut headers = call_headers("traced");
    headers.insert("traceparent", parent.parse().unwrap());
    headers.insert("tracestate", "vendor=1".parse().unwrap());
    let answer = gateway
        .client()
        .post(headers, call_text("traced", "{}"))
        .await;
    let answer = answer.unwrap().json().await.unwrap();
    let meta = answer["result"]["content"][0]["text"].as_str().unwrap();
    let meta: Value = serde_json::from_str(meta).unwrap();
    assert_eq!(
        meta,
        json!({ "traceparent": parent, "tracestate": "vendor=1" })
    );
}
