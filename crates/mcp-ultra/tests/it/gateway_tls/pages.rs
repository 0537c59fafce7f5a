//! Pages in browsers.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use mcp_ultra_testkit::fixture::Era;
use serde_json::json;

use crate::gateway_rig::{fixture, gateway, only};

#[tokio::test(flavor = "multi_thread")]
async fn pages_may_call_that_are_named_and_no_others() {
    let upstream = fixture(Era::Dual).await;
    let cors = "server: { cors: { origins: [\"https://app.example.com\"] } }\n";
    let gateway = gateway(&only(&upstream.url(), cors)).await;
    let ask =
        async |origin: &'static str, method: Method, extra: &[(&'static str, &'static str)]| {
            let mut headers =
                HeaderMap::from_iter([(http::header::ORIGIN, HeaderValue::from_static(origin))]);
            for (name, value) in extra {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            gateway
                .client()
                .request(method, headers, Bytes::new())
                .await
                .unwrap()
        };
    let wanted = [
        ("access-control-request-method", "POST"),
        (
            "access-control-request-headers",
            "authorization,content-type,cookie,mcp-method,mcp-param-city",
        ),
    ];
    let answer = ask("https://app.example.com", Method::OPTIONS, &wanted).await;
    assert_eq!(answer.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", "https://app.example.com"),
        ("access-control-allow-methods", "GET, POST, DELETE"),
        (
            "access-control-allow-headers",
            "authorization, content-type, mcp-method, mcp-param-city",
        ),
        ("vary", "Origin"),
    ] {
        assert_eq!(answer.header(name), Some(value));
    }
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    for origin in [
        "https://evil.example",
        "http://app.example.com",
        "https://app.example.com.evil.example",
        "https://app.example.com:8443",
        "null",
    ] {
        let answer = ask(origin, Method::OPTIONS, &wanted).await;
        assert_eq!(answer.status, 403, "{origin}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    let local = ask("http://localhost:3000", Method::OPTIONS, &wanted).await;
    assert_eq!(local.status, 405, "may call, but no page of it may read");
    assert_eq!(local.header("access-control-allow-origin"), None);

    let mut caller = gateway.caller();
    for (origin, allowed) in [
        ("https://app.example.com", true),
        ("http://localhost:1", false),
    ] {
        caller.extra_headers =
            HeaderMap::from_iter([(http::header::ORIGIN, HeaderValue::from_static(origin))]);
        let answer = caller
            .send(caller.prepare("tools/list", json!({})))
            .await
            .unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("vary"), Some("Origin"));
        assert_eq!(
            answer.header("access-control-allow-origin").is_some(),
            allowed
        );
        let exposed = answer
            .header("access-control-expose-headers")
            .unwrap_or_default();
        assert_eq!(exposed.contains("Mcp-Session-Id"), allowed);
    }
}
