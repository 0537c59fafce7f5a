//! Pages in browsers that may call (Cross-Origin Resource Sharing; Fetch, HTTP extensions). Without
//! `server.cors.origins` nothing here answers anything.

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;

use super::{Body, respond};
use crate::Gateway;

/// What pages may send besides what they always may. `mcp-param-…` is added to it.
const ALLOWED: [&str; 11] = [
    "accept",
    "authorization",
    "content-type",
    "dpop",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "traceparent",
    "tracestate",
];
const ALLOWED_PREFIX: &str = "mcp-param-";
/// The most headers that a page is told it may send.
const MOST: usize = 64;
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE");
/// What pages may read besides what they always may.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "Mcp-Session-Id, WWW-Authenticate, Retry-After, RateLimit, RateLimit-Policy",
);
/// For how long a browser need not ask again.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
const VARY: HeaderValue = HeaderValue::from_static("Origin");

/// What a request is to a gateway that pages may call.
pub(super) enum Call {
    /// Of no page, or of one that may not call.
    Other,
    /// Of a page that may call: its origin.
    Page(HeaderValue),
}

/// Whose request it is. `None` where no page may call at all.
pub(super) fn call(gateway: &Gateway, headers: &HeaderMap) -> Option<Call> {
    let settings = gateway.settings();
    let origins = &settings.cors_origins;
    if origins.is_empty() {
        return None;
    }
    let mut sent = headers.get_all(header::ORIGIN).iter();
    let page = match (sent.next(), sent.next()) {
        (Some(origin), None) => origins.iter().find(|known| *known == origin),
        _ => None,
    };
    Some(page.map_or(Call::Other, |origin| Call::Page(origin.clone())))
}

/// Whether the browser asks what a page may do, before the page does it.
pub(super) fn is_preflight(request: &Request<Incoming>) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// What the page may do. The answer is completed by [`Call::complete`].
pub(super) fn preflight(headers: &HeaderMap) -> Response<Body> {
    let mut response = respond::status(StatusCode::NO_CONTENT);
    let map = response.headers_mut();
    map.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    map.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    let wanted = allowed(headers);
    if let Ok(wanted) = HeaderValue::try_from(wanted)
        && !wanted.is_empty()
    {
        map.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted);
    }
    response
}

/// Of the headers that the page wants to send those that it may.
fn allowed(headers: &HeaderMap) -> String {
    let wanted = headers
        .get_all(header::ACCESS_CONTROL_REQUEST_HEADERS)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| {
            ALLOWED.contains(&&**name)
                || (name.starts_with(ALLOWED_PREFIX) && http::HeaderName::try_from(&**name).is_ok())
        });
    wanted.take(MOST).collect::<Vec<_>>().join(", ")
}

impl Call {
    /// Adds to an answer what lets the page read it, and tells caches that answers differ.
    pub(super) fn complete(self, response: &mut Response<Body>) {
        let map = response.headers_mut();
        map.append(header::VARY, VARY);
        if let Self::Page(origin) = self {
            map.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            map.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_may_send_what_mcp_has_and_nothing_else() {
        let of = |wanted: &str| {
            let mut headers = HeaderMap::new();
            let value = HeaderValue::from_str(wanted).unwrap();
            headers.insert(header::ACCESS_CONTROL_REQUEST_HEADERS, value);
            allowed(&headers)
        };
        assert_eq!(
            of("Authorization, DPoP, mcp-session-id,Mcp-Param-City"),
            "authorization, dpop, mcp-session-id, mcp-param-city"
        );
        assert_eq!(of("x-forwarded-for, cookie, mcp-param-a b"), "");
        assert_eq!(of(""), "");
    }
}
