//! An upstream on plain hyper that keeps every request as it came, byte for byte, and answers what
//! a test tells it to. What the test says nothing about is answered as a small well-behaved server
//! of its era would.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The HTTP method.
    pub method: Method,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Seen {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON, null where it is none.
    pub fn message(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The method of the message, also where the rest is what no [`Value`] can hold.
    pub fn rpc(&self) -> String {
        let head = serde_json::from_slice::<Head>(&self.body).ok();
        head.and_then(|head| head.method).unwrap_or_default()
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// What is answered to a request. All texts go out as they are.
#[derive(Debug, Clone)]
pub enum Scene {
    /// A response with this `result`.
    Result(String),
    /// A response with this `error`.
    Error(String),
    /// These messages as events, then the end of the stream.
    Events(Vec<String>),
    /// This body as JSON.
    Body(String),
    /// This HTTP status, and no message.
    Status(StatusCode),
    /// A response with this `result`, after a while.
    Late(Duration, String),
}

type Script = dyn Fn(&Seen) -> Option<Scene> + Send + Sync;

/// A running server; dropping it closes it and all its connections.
pub struct Scripted {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _stop: DropGuard,
}

impl Scripted {
    /// Starts a modern server on a free port of 127.0.0.1. It lists `tools`; `script` is asked
    /// first for every request that wants an answer.
    pub async fn start(
        tools: Value,
        script: impl Fn(&Seen) -> Option<Scene> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = CancellationToken::new();
        let (stopped, kept) = (stop.clone(), seen.clone());
        let script: Arc<Script> = Arc::new(script);
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = accept(listener, kept, script, Arc::new(tools)) => {}
            }
        });
        Ok(Self {
            address,
            seen,
            _stop: stop.drop_guard(),
        })
    }

    /// The endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// All requests of this method so far.
    pub fn seen(&self, rpc: &str) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter()
            .filter(|one| one.rpc() == rpc)
            .cloned()
            .collect()
    }
}

async fn accept(
    listener: TcpListener,
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Script>,
    tools: Arc<Value>,
) {
    // Dropped with this future, and all connections with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        // Without it, small answers wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        while connections.try_join_next().is_some() {}
        let (seen, script, tools) = (seen.clone(), script.clone(), tools.clone());
        connections.spawn(async move {
            let service = service_fn(move |request| {
                answer(request, seen.clone(), script.clone(), tools.clone())
            });
            // A client that goes away is no fault.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Script>,
    tools: Arc<Value>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes);
    let one = Seen {
        method: head.method,
        headers: head.headers,
        body: body.unwrap_or_default(),
    };
    seen.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(one.clone());
    if one.method != Method::POST {
        return Ok(respond(StatusCode::METHOD_NOT_ALLOWED, "text/plain", ""));
    }
    let Some(id) = raw_id(&one) else {
        return Ok(respond(StatusCode::ACCEPTED, "text/plain", ""));
    };
    let scene = script(&one).unwrap_or_else(|| well_behaved(&one.rpc(), &tools));
    let scene = match scene {
        Scene::Late(wait, result) => {
            tokio::time::sleep(wait).await;
            Scene::Result(result)
        }
        at_once => at_once,
    };
    Ok(match scene {
        Scene::Result(result) | Scene::Late(_, result) => {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
            respond(StatusCode::OK, "application/json", text)
        }
        Scene::Error(error) => {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#);
            respond(StatusCode::OK, "application/json", text)
        }
        Scene::Events(messages) => {
            let events: Vec<String> = messages
                .iter()
                .map(|message| format!("data: {}\n\n", message.replace("$ID", &id)))
                .collect();
            respond(StatusCode::OK, "text/event-stream", events.concat())
        }
        Scene::Status(status) => respond(status, "text/plain", ""),
        Scene::Body(body) => respond(StatusCode::OK, "application/json", body.replace("$ID", &id)),
    })
}

/// The id of a request; the gateway's own ids are numbers and need no care.
fn raw_id(seen: &Seen) -> Option<String> {
    let head = serde_json::from_slice::<Head>(&seen.body).ok()?;
    head.id.map(|id| id.to_string())
}

/// The rest is not read.
#[derive(serde::Deserialize)]
struct Head {
    id: Option<Value>,
    method: Option<String>,
}

fn well_behaved(rpc: &str, tools: &Value) -> Scene {
    let result = match rpc {
        "server/discover" => json!({
            "resultType": "complete", "ttlMs": 0, "cacheScope": "private",
            "supportedVersions": ["2026-07-28"],
            "capabilities": { "tools": {} },
            "_meta": {
                "io.modelcontextprotocol/serverInfo": { "name": "scripted", "version": "0" }
            },
        }),
        "tools/list" => json!({
            "resultType": "complete", "ttlMs": 0, "cacheScope": "private", "tools": tools,
        }),
        "tools/call" => json!({
            "resultType": "complete", "content": [{ "type": "text", "text": "ok" }],
        }),
        _ => {
            let error = json!({ "code": -32601, "message": "Method not found" });
            return Scene::Error(error.to_string());
        }
    };
    Scene::Result(result.to_string())
}

fn respond(
    status: StatusCode,
    kind: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}
