//! A small MCP server, of either era or both, that records what reaches it.

mod tools;

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use futures_util::StreamExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc};

pub(crate) const MODERN: &str = "2026-07-28";
pub(crate) const LEGACY: &str = "2025-11-25";

/// Which eras the server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Modern,
    Legacy,
    Both,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

pub(crate) struct Inner {
    speaks: Speaks,
    pub(crate) seen: Mutex<Vec<Seen>>,
    /// Legacy sessions that are alive.
    pub(crate) sessions: Mutex<HashSet<String>>,
    next: AtomicU64,
    /// What goes onto the legacy GET stream.
    stream: Mutex<Option<mpsc::UnboundedSender<String>>>,
    /// Answers of a legacy client to the server's requests.
    pub(crate) answers: Mutex<Option<mpsc::UnboundedSender<Value>>>,
    /// Requests whose stream the client closed.
    pub(crate) cancelled: AtomicU64,
    pub(crate) ready: AtomicBool,
    /// Whether it offers tools that hide something.
    pub(crate) poisoned: AtomicBool,
    /// The answer to a call whose stream was closed early.
    resumed: Mutex<Option<String>>,
}

/// A running server; it stops when this is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) inner: Arc<Inner>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn start(speaks: Speaks) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), speaks).await
    }

    pub(crate) async fn start_at(address: SocketAddr, speaks: Speaks) -> Self {
        let inner = Arc::new(Inner {
            speaks,
            seen: Mutex::default(),
            sessions: Mutex::default(),
            next: AtomicU64::new(1),
            stream: Mutex::default(),
            answers: Mutex::default(),
            cancelled: AtomicU64::new(0),
            ready: AtomicBool::new(true),
            poisoned: AtomicBool::new(false),
            resumed: Mutex::default(),
        });
        let app = Router::new()
            .route("/mcp", any(endpoint))
            .route("/livez", get(|| async { "{\"status\":\"ok\"}" }))
            .route("/readyz", get(ready))
            .with_state(inner.clone());
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Self {
            address,
            inner,
            task,
        }
    }

    pub(crate) fn target(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.inner.seen.lock().clone()
    }

    /// What came for an MCP method.
    pub(crate) fn seen_of(&self, method: &str) -> Vec<Seen> {
        let mut seen = self.seen();
        seen.retain(|seen| seen.body["method"] == method);
        seen
    }

    /// Sends something on the legacy GET stream; false where none is open.
    pub(crate) fn push(&self, message: &Value) -> bool {
        let stream = self.inner.stream.lock();
        stream
            .as_ref()
            .is_some_and(|stream| stream.send(message.to_string()).is_ok())
    }
}

async fn ready(State(inner): State<Arc<Inner>>) -> Response {
    if inner.ready.load(Ordering::Relaxed) {
        "{\"status\":\"ok\"}".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "{\"status\":\"draining\"}").into_response()
    }
}

async fn endpoint(
    State(inner): State<Arc<Inner>>,
    method: Method,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    inner.seen.lock().push(Seen {
        method: method.clone(),
        headers: headers.clone(),
        body: body.clone(),
    });
    let modern = body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"].is_string();
    match (inner.speaks, modern) {
        (Speaks::Modern | Speaks::Both, true) => modern_request(&inner, &headers, &body),
        (Speaks::Modern, false) => error(400, &body["id"], -32020, "modern only"),
        _ => legacy_request(&inner, &method, &headers, &body),
    }
}

fn modern_request(inner: &Arc<Inner>, headers: &HeaderMap, body: &Value) -> Response {
    let get = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if get("mcp-protocol-version") != Some(MODERN) || get("mcp-method") != body["method"].as_str() {
        return error(
            400,
            &body["id"],
            -32020,
            "the headers do not mirror the body",
        );
    }
    if body["method"] == "tools/call" && get("mcp-name") != body["params"]["name"].as_str() {
        return error(
            400,
            &body["id"],
            -32020,
            "Mcp-Name does not mirror the body",
        );
    }
    if body["params"]["arguments"]["region"].as_str() != get("mcp-param-region") {
        return error(
            400,
            &body["id"],
            -32020,
            "Mcp-Param-Region does not mirror the body",
        );
    }
    match body["method"].as_str().unwrap() {
        "server/discover" => result(
            body,
            &json!({"resultType":"complete","supportedVersions":[MODERN],"ttlMs":0,"cacheScope":"private",
                "capabilities":{"tools":{},"resources":{},"prompts":{}},
                "_meta":{"io.modelcontextprotocol/serverInfo":{"name":"fixture","version":"1.0"}}}),
        ),
        "subscriptions/listen" => tools::listen(inner, body),
        _ => tools::answer(inner, body, true),
    }
}

fn legacy_request(
    inner: &Arc<Inner>,
    method: &Method,
    headers: &HeaderMap,
    body: &Value,
) -> Response {
    if method == Method::POST && body["method"] == "initialize" {
        let id = format!("session-{}", inner.next.fetch_add(1, Ordering::Relaxed));
        inner.sessions.lock().insert(id.clone());
        let mut response = result(
            body,
            &json!({"protocolVersion":LEGACY,"capabilities":{"tools":{},"resources":{},"prompts":{}},
                "serverInfo":{"name":"fixture","version":"1.0"}}),
        );
        response
            .headers_mut()
            .insert("mcp-session-id", id.parse().unwrap());
        return response;
    }
    let Some(session) = headers
        .get("mcp-session-id")
        .and_then(|id| id.to_str().ok())
    else {
        return error(400, &body["id"], -32600, "no session");
    };
    if !inner.sessions.lock().contains(session) {
        return error(404, &body["id"], -32600, "no such session");
    }
    if *method == Method::DELETE {
        inner.sessions.lock().remove(session);
        return StatusCode::NO_CONTENT.into_response();
    }
    if *method == Method::GET && headers.contains_key("last-event-id") {
        assert_eq!(headers["last-event-id"], "ev-1");
        let answer = inner.resumed.lock().take().unwrap();
        return stream_of(format!("id: ev-2\ndata: {answer}\n\n"));
    }
    if *method == Method::GET {
        let (sender, receiver) = mpsc::unbounded_channel();
        *inner.stream.lock() = Some(sender);
        return events(receiver);
    }
    if body["method"].is_null() {
        if let Some(answers) = &*inner.answers.lock() {
            let _ = answers.send(body.clone());
        }
        return StatusCode::ACCEPTED.into_response();
    }
    if body["id"].is_null() {
        return StatusCode::ACCEPTED.into_response();
    }
    tools::answer(inner, body, false)
}

pub(crate) fn result(body: &Value, result: &Value) -> Response {
    json_response(
        200,
        &json!({"jsonrpc":"2.0","id":body["id"],"result":result}),
    )
}

pub(crate) fn error(status: u16, id: &Value, code: i64, message: &str) -> Response {
    let body = json!({"jsonrpc":"2.0","id":id,"error":{"code":code,"message":message}});
    json_response(status, &body)
}

fn json_response(status: u16, body: &Value) -> Response {
    // Line breaks between the tokens: a peer must not take them for the end of a message.
    let text = serde_json::to_string_pretty(body).unwrap();
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(text))
        .unwrap()
}

/// A stream that holds this and ends.
pub(crate) fn stream_of(text: String) -> Response {
    Response::builder()
        .header(header::CONTENT_TYPE, "text/event-stream")
        .body(Body::from(text))
        .unwrap()
}

/// A stream of events that ends when the sender is dropped.
pub(crate) fn events(receiver: mpsc::UnboundedReceiver<String>) -> Response {
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|message| (message, receiver))
    })
    .map(|message| {
        Ok::<_, std::convert::Infallible>(format!("event: message\ndata: {message}\n\n"))
    });
    Response::builder()
        .header(header::CONTENT_TYPE, "text/event-stream")
        .body(Body::from_stream(stream))
        .unwrap()
}
