//! A misbehaving upstream on plain hyper. It speaks enough of 2026-07-28 to be catalogued
//! (`server/discover`, `tools/list` with the one tool [`TOOL`]); a call of that tool gets what the
//! path of its endpoint promises, one [`Misbehaviour`] each.
//!
//! Under `/always/<path>` every request gets it, discovery too.

mod misbehaviours;

use std::{convert::Infallible, io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::misbehaviours::{MISBEHAVIOURS, Misbehaviour};

/// The tool whose calls go wrong.
pub const TOOL: &str = "misbehave";

/// After a failed `accept`, for example for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A running server; dropping it closes it and all its connections.
pub struct Hostile {
    address: SocketAddr,
    _stop: DropGuard,
}

impl Hostile {
    /// Starts on a free port of 127.0.0.1, in the current runtime.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = accept(listener) => {}
            }
        });
        Ok(Self {
            address,
            _stop: stop.drop_guard(),
        })
    }

    /// The endpoint that misbehaves in this way (`garbage` or `always/garbage`).
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{}", self.address, path.trim_start_matches('/'))
    }
}

async fn accept(listener: TcpListener) {
    // Dropped with this future, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // Without it, small events wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            // A broken connection is what this server is for.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer))
                .await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let (path, always) = match path.strip_prefix("always/") {
        Some(path) => (path, true),
        None => (path.as_str(), false),
    };
    let Some(misbehaviour) = MISBEHAVIOURS.iter().find(|one| one.path == path) else {
        return Ok(status(StatusCode::NOT_FOUND));
    };
    if request.method() != http::Method::POST {
        return Ok(status(StatusCode::METHOD_NOT_ALLOWED));
    }
    let body = request
        .into_body()
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes);
    let message: Value = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default();
    if message.get("id").is_none() {
        return Ok(status(StatusCode::ACCEPTED));
    }
    match message["method"].as_str() {
        Some("tools/call") => {}
        _ if always => {}
        method => return Ok(well_behaved(method.unwrap_or_default(), &message["id"])),
    }
    Ok((misbehaviour.answer)(message["id"].clone()).await)
}

/// What is needed to be catalogued.
fn well_behaved(method: &str, id: &Value) -> Response<Body> {
    let result = match method {
        "server/discover" => json!({
            "resultType": "complete", "ttlMs": 0, "cacheScope": "private",
            "supportedVersions": ["2026-07-28"],
            "capabilities": { "tools": {} },
            "_meta": {
                "io.modelcontextprotocol/serverInfo": { "name": "hostile", "version": "0" }
            },
        }),
        "tools/list" => json!({
            "resultType": "complete", "ttlMs": 0, "cacheScope": "private",
            "tools": [{
                "name": TOOL,
                "description": "Goes wrong",
                "inputSchema": { "type": "object" }
            }],
        }),
        _ => {
            let error = json!({ "code": -32601, "message": "Method not found" });
            let message = json!({ "jsonrpc": "2.0", "id": id, "error": error });
            return respond(
                StatusCode::NOT_FOUND,
                "application/json",
                message.to_string(),
            );
        }
    };
    json_response(&json!({ "jsonrpc": "2.0", "id": id, "result": result }))
}

fn json_response(message: &Value) -> Response<Body> {
    respond(StatusCode::OK, "application/json", message.to_string())
}

fn status(status: StatusCode) -> Response<Body> {
    respond(status, "text/plain", Bytes::new())
}

fn respond(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(body.into()).map_err(|never: Infallible| match never {});
    with_body(status, kind, body.boxed_unsync())
}

fn with_body(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}
