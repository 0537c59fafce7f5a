//! A legacy server that counts the calls of each session, and knows who has opened and ended which.

use std::{
    collections::{BTreeMap, HashSet},
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
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
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// What every session id begins with.
pub(super) const SESSION: &str = "id-of-a-session-";

/// The resource that it has.
pub(super) const WATCHED: &str = "counting://watched";

/// How long it takes to open a session.
const OPENING: Duration = Duration::from_millis(300);

/// What it knows. Sessions that a gateway opens for itself are not counted.
#[derive(Default)]
pub(super) struct Counting {
    sessions: Mutex<BTreeMap<String, Open>>,
    /// Sessions that were opened for callers.
    pub opened: AtomicUsize,
    /// Sessions of callers that were ended.
    pub ended: AtomicUsize,
    /// Ids of requests that were used before in their session.
    pub repeated: AtomicUsize,
    /// Streams that were refused, since there is one already.
    pub refused: AtomicUsize,
    /// What it was answered.
    pub answers: Mutex<Vec<Value>>,
}

#[derive(Default)]
struct Open {
    of_caller: bool,
    calls: usize,
    ids: HashSet<String>,
    /// The one stream for what belongs to no call.
    stream: Option<mpsc::Sender<Value>>,
}

impl Counting {
    /// The sessions of callers that are open.
    pub(super) fn open(&self) -> usize {
        let sessions = self.sessions.lock();
        sessions.values().filter(|open| open.of_caller).count()
    }

    /// Forgets all sessions, as a server does that is started again.
    pub(super) fn forget(&self) {
        self.sessions.lock().clear();
    }

    /// Says something in the one session of a caller; `false` where nobody listens.
    pub(super) async fn say(&self, message: Value) -> bool {
        let stream = {
            let sessions = self.sessions.lock();
            let open = sessions.values().find(|open| open.of_caller);
            open.and_then(|open| open.stream.clone())
        };
        match stream {
            Some(stream) => stream.send(message).await.is_ok(),
            None => false,
        }
    }

    pub(super) fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    pub(super) fn ended(&self) -> usize {
        self.ended.load(Ordering::SeqCst)
    }
}

/// Starts it; its URL.
pub(super) async fn start() -> (String, Arc<Counting>) {
    let server = Arc::new(Counting::default());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new()
        .route("/mcp", post(message).get(listen).delete(end))
        .with_state(server.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (format!("http://{address}/mcp"), server)
}

fn named(headers: &HeaderMap) -> String {
    let id = headers.get("mcp-session-id");
    id.map(|id| id.to_str().unwrap().to_owned())
        .unwrap_or_default()
}

async fn listen(State(server): State<Arc<Counting>>, headers: HeaderMap) -> Response {
    let mut sessions = server.sessions.lock();
    let Some(open) = sessions.get_mut(&named(&headers)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let is_there = open.stream.as_ref().is_some_and(|one| !one.is_closed());
    if is_there {
        server.refused.fetch_add(1, Ordering::SeqCst);
        return StatusCode::CONFLICT.into_response();
    }
    let (sender, messages) = mpsc::channel(8);
    open.stream = Some(sender);
    Sse::new(stream::unfold(messages, |mut messages| async {
        let message: Value = messages.recv().await?;
        let event = Event::default().data(message.to_string());
        Some((Ok::<_, Infallible>(event), messages))
    }))
    .into_response()
}

async fn end(State(server): State<Arc<Counting>>, headers: HeaderMap) -> StatusCode {
    match server.sessions.lock().remove(&named(&headers)) {
        Some(open) => {
            server
                .ended
                .fetch_add(usize::from(open.of_caller), Ordering::SeqCst);
            StatusCode::OK
        }
        None => StatusCode::NOT_FOUND,
    }
}

fn document(value: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (headers, value.to_string()).into_response()
}

async fn message(
    State(server): State<Arc<Counting>>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let message: Value = serde_json::from_str(&body).unwrap();
    let id = message["id"].clone();
    let result = |result: Value| document(&json!({ "jsonrpc": "2.0", "id": id, "result": result }));
    if message["method"] == "initialize" {
        let answer = result(json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "tools": {}, "logging": {}, "resources": { "subscribe": true } },
            "serverInfo": { "name": "counting", "version": "0" },
        }));
        let session = open(&server, &message).await;
        return ([("mcp-session-id", session)], answer).into_response();
    }
    let calls = {
        let mut sessions = server.sessions.lock();
        let Some(open) = sessions.get_mut(&named(&headers)) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        if !id.is_null() && message["method"].is_string() && !open.ids.insert(id.to_string()) {
            server.repeated.fetch_add(1, Ordering::SeqCst);
        }
        open.calls += usize::from(message["method"] == "tools/call");
        open.calls
    };
    match message["method"].as_str() {
        Some("tools/list") => {
            let tool = json!({ "name": "count", "inputSchema": { "type": "object" } });
            result(json!({ "tools": [tool] }))
        }
        Some("resources/list") => {
            let resource = json!({ "name": "watched", "uri": WATCHED });
            result(json!({ "resources": [resource] }))
        }
        Some("tools/call") => {
            let wait = message["params"]["arguments"]["wait"].as_u64();
            tokio::time::sleep(Duration::from_millis(wait.unwrap_or(0))).await;
            let text = calls.to_string();
            result(json!({ "content": [{ "type": "text", "text": text }] }))
        }
        Some("resources/templates/list") => result(json!({ "resourceTemplates": [] })),
        Some(method) if !method.starts_with("notifications/") => result(json!({})),
        Some(_) => StatusCode::ACCEPTED.into_response(),
        None => {
            server.answers.lock().push(message);
            StatusCode::ACCEPTED.into_response()
        }
    }
}

async fn open(server: &Counting, message: &Value) -> String {
    let of_caller = message["params"]["clientInfo"]["name"] == "testkit";
    if of_caller {
        tokio::time::sleep(OPENING).await;
        server.opened.fetch_add(1, Ordering::SeqCst);
    }
    let mut sessions = server.sessions.lock();
    let id = format!("{SESSION}{}", fresh());
    let open = Open {
        of_caller,
        ..Open::default()
    };
    sessions.insert(id.clone(), open);
    id
}

/// A number that no session had before, in any of the servers of a test.
fn fresh() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
