//! The metadata of the protected resource (RFC 9728), by which clients find out where to log in.

use http::{HeaderValue, Method, Response, StatusCode, header};

use super::{Body, respond};
use crate::Gateway;

/// The response, where `path` is one of the metadata and there is any: it is for anyone to read,
/// pages in browsers included.
pub(super) fn answer(gateway: &Gateway, method: &Method, path: &str) -> Option<Response<Body>> {
    let document = gateway.identity.as_ref()?.challenges().metadata(path)?;
    let mut response = match *method {
        Method::GET | Method::HEAD => {
            let mut response = Response::new(Body::full(document));
            let map = response.headers_mut();
            map.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            );
            map.insert(
                header::CACHE_CONTROL,
                HeaderValue::from_static("public, max-age=300"),
            );
            response
        }
        // SDKs in browsers send MCP-Protocol-Version, which makes the browser ask first.
        Method::OPTIONS => {
            let mut response = respond::status(StatusCode::NO_CONTENT);
            let map = response.headers_mut();
            map.insert(
                header::ACCESS_CONTROL_ALLOW_METHODS,
                HeaderValue::from_static("GET, HEAD"),
            );
            map.insert(
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                HeaderValue::from_static("*"),
            );
            response
        }
        _ => {
            let mut response = respond::status(StatusCode::METHOD_NOT_ALLOWED);
            let allow = HeaderValue::from_static("GET, HEAD, OPTIONS");
            response.headers_mut().insert(header::ALLOW, allow);
            response
        }
    };
    response.headers_mut().insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    Some(response)
}
