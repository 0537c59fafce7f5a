//! Health and metrics. Kubelets ask under any name, so names are not checked here.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use mcp_ultra_domain::catalog::State;
use mcp_ultra_protocol::json;

use super::{Body, respond};
use crate::Gateway;

/// The process runs. What is around it does not matter here.
pub(super) fn live() -> Response<Body> {
    document(StatusCode::OK, "{\"status\":\"ok\"}".into())
}

/// The process wants work: its snapshot is loaded and it is not going away. Upstreams do not
/// matter: one that is down must not take the others with it.
pub(super) fn ready(gateway: &Gateway, wanted: bool) -> Response<Body> {
    let warm = gateway.is_warm();
    let (status, word) = match (wanted, warm) {
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        (true, false) => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        (true, true) => (StatusCode::OK, "ok"),
    };
    let body = format!(
        "{{\"status\":\"{word}\",\"dependencies\":{}}}",
        dependencies(gateway)
    );
    document(status, body)
}

/// How everything is doing, in one document: 200 for as long as calls are served.
pub(super) fn health(gateway: &Gateway, wanted: bool) -> Response<Body> {
    let degraded = gateway
        .upstream_states()
        .iter()
        .any(|(_, state)| matches!(state, State::Unavailable { .. }));
    let word = match (wanted, gateway.is_warm(), degraded) {
        (false, ..) => "draining",
        (_, false, _) => "starting",
        (_, _, true) => "degraded",
        _ => "ok",
    };
    let status = if wanted && gateway.is_warm() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let [tools, prompts, resources] = gateway.listed();
    let body = format!(
        "{{\"status\":\"{word}\",\"version\":\"{}\",\"catalog\":{{\"tools\":{tools},\"prompts\":{prompts},\"resources\":{resources}}},\"dependencies\":{}}}",
        env!("CARGO_PKG_VERSION"),
        dependencies(gateway)
    );
    document(status, body)
}

/// The state of every upstream. Why one is down stands in the log: reasons may name hosts.
fn dependencies(gateway: &Gateway) -> String {
    let states: Vec<String> = gateway
        .upstream_states()
        .iter()
        .map(|(name, state)| {
            let (state, remedy) = match state {
                State::Pending => ("pending", None),
                State::Ready => ("ok", None),
                State::Unavailable { remedy, .. } => ("unavailable", *remedy),
            };
            let remedy = remedy.map_or_else(String::new, |remedy| {
                format!(",\"remedy\":{}", json::quote(remedy))
            });
            format!(
                "{{\"name\":{},\"kind\":\"upstream\",\"status\":\"{state}\"{remedy}}}",
                json::quote(name)
            )
        })
        .collect();
    format!("[{}]", states.join(","))
}

fn document(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = status;
    let map = response.headers_mut();
    map.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    map.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The metrics, in `OpenMetrics` text where the client asks for it, in Prometheus text otherwise.
pub(super) fn metrics(gateway: &Gateway, headers: &HeaderMap) -> Response<Body> {
    let open = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("application/openmetrics-text"));
    gateway.gauge();
    let Some(text) = gateway.metrics.encode(open) else {
        return respond::text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the metrics could not be written\n",
        );
    };
    let kind = if open {
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8")
    } else {
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8")
    };
    let mut response = Response::new(Body::full(text));
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
