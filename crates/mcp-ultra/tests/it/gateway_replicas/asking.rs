//! A legacy server whose tools ask twice, tell things in between, and count what is done.

use std::{
    collections::HashMap,
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
    http::{StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
    routing::post,
};
use futures_util::stream;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

/// What it has done.
#[derive(Default)]
pub(super) struct Asking {
    /// Calls that it has begun.
    pub begun: AtomicUsize,
    /// Calls that it has brought to their end.
    pub ended: AtomicUsize,
    /// Calls that were cancelled.
    pub cancelled: AtomicUsize,
    asked: AtomicUsize,
    sessions: AtomicUsize,
    waiting: Mutex<HashMap<String, oneshot::Sender<Value>>>,
}

/// Starts it; its URL.
pub(super) async fn start() -> (String, Arc<Asking>) {
    let server = Arc::new(Asking::default());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new()
        .route("/mcp", post(message))
        .with_state(server.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (format!("http://{address}/mcp"), server)
}

fn events(messages: mpsc::Receiver<Value>) -> Response {
    Sse::new(stream::unfold(messages, |mut messages| async {
        let message = messages.recv().await?;
        let event = Event::default().data(message.to_string());
        Some((Ok::<_, Infallible>(event), messages))
    }))
    .into_response()
}

fn document(value: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (headers, value.to_string()).into_response()
}

async fn message(State(server): State<Arc<Asking>>, body: String) -> Response {
    let message: Value = serde_json::from_str(&body).unwrap();
    let id = message["id"].clone();
    let result = |result: Value| document(&json!({ "jsonrpc": "2.0", "id": id, "result": result }));
    match message["method"].as_str() {
        None => {
            let waiting = server.waiting.lock().remove(id.as_str().unwrap());
            if let Some(waiting) = waiting {
                let _ = waiting.send(message);
            }
            StatusCode::ACCEPTED.into_response()
        }
        Some("initialize") => {
            let number = server.sessions.fetch_add(1, Ordering::Relaxed);
            let answer = result(json!({
                "protocolVersion": "2025-11-25",
                "capabilities": { "tools": {}, "logging": {} },
                "serverInfo": { "name": "asking", "version": "0" },
            }));
            ([("mcp-session-id", format!("s{number}"))], answer).into_response()
        }
        Some("tools/list") => {
            let tools = ["ask", "stay"]
                .map(|name| json!({ "name": name, "inputSchema": { "type": "object" } }));
            result(json!({ "tools": tools }))
        }
        Some("tools/call") => {
            server.begun.fetch_add(1, Ordering::SeqCst);
            let (sender, messages) = mpsc::channel(8);
            let stays = message["params"]["name"] == "stay";
            let arguments = message["params"]["arguments"].clone();
            tokio::spawn(run(server, sender, id, stays, arguments));
            events(messages)
        }
        Some("notifications/cancelled") => {
            server.cancelled.fetch_add(1, Ordering::SeqCst);
            StatusCode::ACCEPTED.into_response()
        }
        Some(method) if method.starts_with("notifications/") => {
            StatusCode::ACCEPTED.into_response()
        }
        Some(_) => result(json!({})),
    }
}

fn told(data: usize) -> Value {
    let params = json!({ "level": "error", "data": data });
    json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": params })
}

/// Asks for a name, then for another one, and says both. Of the arguments, `size` is how much more it
/// says, and `after` how many milliseconds it takes for the first question, once it has told something.
async fn run(
    server: Arc<Asking>,
    sender: mpsc::Sender<Value>,
    id: Value,
    stays: bool,
    arguments: Value,
) {
    let size = usize::try_from(arguments["size"].as_u64().unwrap_or(0)).unwrap();
    if let Some(after) = arguments["after"].as_u64() {
        let _ = sender.send(told(0)).await;
        tokio::time::sleep(Duration::from_millis(after)).await;
    }
    let Some(first) = ask(&server, &sender).await else {
        return;
    };
    if stays {
        tokio::time::sleep(Duration::from_mins(2)).await;
    }
    for number in 0..3 {
        let _ = sender.send(told(number)).await;
    }
    let Some(second) = ask(&server, &sender).await else {
        return;
    };
    server.ended.fetch_add(1, Ordering::SeqCst);
    let said = format!("{first} and {second}");
    let content = json!([
        { "type": "text", "text": said }, { "type": "text", "text": "x".repeat(size) },
    ]);
    let answer = json!({ "jsonrpc": "2.0", "id": id, "result": { "content": content } });
    let _ = sender.send(answer).await;
}

async fn ask(server: &Asking, sender: &mpsc::Sender<Value>) -> Option<String> {
    let number = server.asked.fetch_add(1, Ordering::Relaxed);
    let (answer, answered) = oneshot::channel();
    let id = format!("q{number}");
    server.waiting.lock().insert(id.clone(), answer);
    let schema = json!({ "type": "object", "properties": { "name": { "type": "string" } } });
    let params = json!({ "message": "name?", "requestedSchema": schema });
    let asked =
        json!({ "jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": params });
    sender.send(asked).await.ok()?;
    let answer = answered.await.ok()?;
    answer["result"]["content"]["name"]
        .as_str()
        .map(str::to_owned)
}
