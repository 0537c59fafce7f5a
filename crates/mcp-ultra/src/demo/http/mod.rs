//! The streamable HTTP transport, on loopback, at `/mcp`: stateless for modern clients, with
//! sessions for legacy ones.
//!
//! `post` takes messages, `stream` makes the bodies of answers, `sessions` knows the legacy
//! clients, `headers` compares what stands twice. There is no authentication: whoever can reach
//! the address reads the (invented) people, so it can't be other than loopback.

mod headers;
mod post;
mod sessions;
mod stream;

use std::{future::IntoFuture, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
    routing::any,
    serve::ListenerExt,
};
use http::{HeaderMap, Method, StatusCode, Uri, header};
use mcp_ultra_protocol::{Response as Answer, WireError};
use tokio::net::TcpListener;

use self::sessions::{Lookup, Sessions};
use super::{DemoError, server::Server};

/// How long answers may take that are still due when the server is told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// What the handlers share.
struct Shared {
    server: Arc<Server>,
    sessions: Sessions,
}

/// Serves on `listener` until `stop` is ready, then ends open streams in order.
pub(super) async fn serve(
    server: Arc<Server>,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> Result<(), DemoError> {
    let stopping = server.stopping.clone();
    let shared = Arc::new(Shared {
        server,
        sessions: Sessions::default(),
    });
    let router = Router::new()
        .route("/mcp", any(handle))
        .with_state(Arc::clone(&shared));
    let listener = listener.tap_io(|connection| {
        // Without it small answers wait for the other side's acknowledgement.
        let _ = connection.set_nodelay(true);
    });
    let serving = axum::serve(listener, router)
        .with_graceful_shutdown(stopping.clone().cancelled_owned())
        .into_future();
    tokio::pin!(serving);
    tokio::select! {
        served = &mut serving => return served.map_err(DemoError::Http),
        () = stop => {}
    }
    stopping.cancel();
    shared.sessions.close_all();
    // Who is still at work after that is cut off.
    match tokio::time::timeout(GRACE, serving).await {
        Ok(served) => served.map_err(DemoError::Http),
        Err(_) => Ok(()),
    }
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    if !is_local(request.uri(), request.headers()) {
        let error = WireError::invalid_request(
            "this server answers to loopback names only, and to pages from loopback only",
        );
        return refusal(StatusCode::FORBIDDEN, &error);
    }
    let (head, body) = request.into_parts();
    match head.method {
        Method::POST => post::post(&shared, &head.headers, body).await,
        Method::GET => get(&shared, &head.headers),
        Method::DELETE => delete(&shared, &head.headers),
        _ => not_allowed(),
    }
}

/// Whether `Host` and `Origin` name this machine: a page from elsewhere whose name was rebound
/// to loopback does not (2026-07-28, Streamable HTTP, Security).
fn is_local(uri: &Uri, headers: &HeaderMap) -> bool {
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str());
    let host = match (uri.authority(), text(header::HOST)) {
        (Some(authority), _) => Some(authority.as_str()),
        (None, Some(Ok(host))) => Some(host),
        (None, _) => None,
    };
    let origin = match text(header::ORIGIN) {
        None => true,
        Some(Ok(origin)) => url::Url::parse(origin).is_ok_and(|url| has_local_host(&url)),
        Some(Err(_)) => false,
    };
    origin
        && host
            .filter(|host| is_host_and_port(host))
            .and_then(|host| url::Url::parse(&format!("http://{host}/")).ok())
            .is_some_and(|url| has_local_host(&url))
}

/// Whether `text` holds a host and a port and no other part of a URL.
fn is_host_and_port(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
}

fn has_local_host(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The stream of a legacy session for what belongs to no request.
fn get(shared: &Arc<Shared>, headers: &HeaderMap) -> Response {
    if headers::is_modern(headers) {
        return not_allowed();
    }
    match shared.sessions.of(headers) {
        Lookup::Found(session) => stream::of_session(&shared.server, session),
        Lookup::Missing(response) => response,
    }
}

/// Ends a legacy session.
fn delete(shared: &Shared, headers: &HeaderMap) -> Response {
    if headers::is_modern(headers) {
        return not_allowed();
    }
    match shared.sessions.of(headers) {
        Lookup::Found(_) => {
            shared.sessions.end(headers);
            status(StatusCode::NO_CONTENT)
        }
        Lookup::Missing(response) => response,
    }
}

fn not_allowed() -> Response {
    let mut response = status(StatusCode::METHOD_NOT_ALLOWED);
    let allow = http::HeaderValue::from_static("POST, GET, DELETE");
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

/// An answer without a body.
fn status(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// An answer with a JSON body.
fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// An error that belongs to no request.
fn refusal(status: StatusCode, error: &WireError) -> Response {
    json(status, Answer::error(None, error).text.into_bytes())
}

/// Checks that `address` is one that only this machine can reach.
pub(super) fn check(address: SocketAddr) -> Result<(), DemoError> {
    if address.ip().is_loopback() {
        Ok(())
    } else {
        Err(DemoError::NotLoopback(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(host: Option<&str>, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in [(header::HOST, host), (header::ORIGIN, origin)] {
            if let Some(value) = value {
                headers.insert(name, value.parse().unwrap());
            }
        }
        is_local(&Uri::from_static("/mcp"), &headers)
    }

    #[test]
    fn only_loopback_names_are_answered() {
        for host in ["127.0.0.1:8080", "localhost", "[::1]:9", "127.9.9.9"] {
            assert!(local(Some(host), None), "{host}");
        }
        for host in [
            "example.com",
            "localhost.example.com",
            "10.0.0.1",
            "",
            "a@localhost/x?",
        ] {
            assert!(!local(Some(host), None), "{host}");
        }
        assert!(!local(None, None));
    }

    #[test]
    fn only_pages_from_loopback_may_ask() {
        let with = |origin| local(Some("localhost"), Some(origin));
        assert!(with("http://localhost:5173"));
        assert!(with("http://127.0.0.1"));
        for origin in [
            "https://example.com",
            "null",
            "http://localhost.example.com",
        ] {
            assert!(!with(origin), "{origin}");
        }
    }
}
