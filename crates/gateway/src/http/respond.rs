//! Responses.

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use mcp_ultra_protocol::{Id, Response as Message, WireError, headers};

use super::{Body, StreamSlot, body::End};
use crate::{
    limits::Exceeded,
    reply::{Answer, Down, Replies},
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The answer to a request as one JSON document.
pub(super) fn json(answer: Answer) -> Response<Body> {
    // Whoever is gone by now has been noticed: a connection is read before it is answered on.
    answer.taker.has_it();
    let mut response = Response::new(Body::full(answer.text.into_bytes()));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let map = response.headers_mut();
    map.insert(header::CONTENT_TYPE, JSON);
    map.insert(header::CACHE_CONTROL, NO_STORE);
    if let Some(limit) = &answer.limit {
        tell_limit(map, limit);
    } else if answer.status == 429 || answer.status == 503 {
        map.insert(header::RETRY_AFTER, answer.retry_after.unwrap_or(1).into());
    }
    if let Some(session) = answer.session.and_then(|id| HeaderValue::try_from(id).ok()) {
        map.insert(HeaderName::from_static(headers::SESSION_ID), session);
    }
    response
}

/// The answer as a stream, which ends when the credential of its caller does.
pub(super) fn stream(
    first: Option<Down>,
    replies: Replies,
    slot: Option<StreamSlot>,
    end: Option<End>,
) -> Response<Body> {
    let session = match &first {
        Some(Down::Answer(answer)) => answer.session.clone(),
        _ => None,
    };
    let mut response = Response::new(Body::stream(first, replies, slot, end));
    let map = response.headers_mut();
    map.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    map.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store"),
    );
    // Reverse proxies would hold events back otherwise.
    map.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    if let Some(session) = session.and_then(|id| HeaderValue::try_from(id).ok()) {
        map.insert(HeaderName::from_static(headers::SESSION_ID), session);
    }
    response
}

/// 202 without content: a notification or response was taken.
pub(super) fn accepted() -> Response<Body> {
    status(StatusCode::ACCEPTED)
}

/// A status without content.
pub(super) fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A JSON-RPC error outside of any call.
pub(super) fn error(status: StatusCode, id: Option<&Id>, error: &WireError) -> Response<Body> {
    json(Answer::new(Message::error(id, error).text, status.as_u16()))
}

/// 429 outside of any call.
pub(super) fn limited(exceeded: &Exceeded) -> Response<Body> {
    let text = Message::error(None, &exceeded.to_wire()).text;
    json(Answer {
        limit: Some(Box::new(*exceeded)),
        ..Answer::new(text, StatusCode::TOO_MANY_REQUESTS.as_u16())
    })
}

/// `Retry-After` (RFC 9110, section 10.2.3) and the fields of
/// draft-ietf-httpapi-ratelimit-headers-11.
fn tell_limit(map: &mut HeaderMap, limit: &Exceeded) {
    map.insert(header::RETRY_AFTER, limit.retry_after().into());
    for (name, value) in [
        ("ratelimit-policy", limit.policy()),
        ("ratelimit", limit.state()),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            map.insert(HeaderName::from_static(name), value);
        }
    }
}

/// A path that is not served.
pub(super) fn not_found() -> Response<Body> {
    text(
        StatusCode::NOT_FOUND,
        "not found; the MCP endpoint is /mcp\n",
    )
}

/// Plain text.
pub(super) fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

/// 405 with the methods that the endpoint has.
pub(super) fn method_not_allowed() -> Response<Body> {
    let mut response = text(
        StatusCode::METHOD_NOT_ALLOWED,
        "the endpoint takes POST; GET and DELETE belong to sessions of revisions up to 2025-11-25\n",
    );
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static("POST, GET, DELETE"));
    response
}
