//! Clients that are slow, idle or too many: bounded by configuration, and nobody else is disturbed.

use std::time::{Duration, Instant};

use mcp_ultra_testkit::{
    fixture::Era,
    gateway::Gateway,
    raw::wire::{connect, read_until_quiet},
};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::gateway_rig::{
    SOON, call_headers, call_text, fixture, gateway, judge, modern_tool, only, refusal, text, until,
};

async fn works(gateway: &Gateway) {
    let reply = modern_tool(&gateway.caller(), "test_simple_text", json!({})).await;
    assert!(text(&reply).starts_with("This is a simple text"));
}

/// Sends `bytes`, then nothing; what comes back until the gateway closes.
async fn stall(gateway: &Gateway, bytes: &[u8]) -> (String, Duration) {
    let begun = Instant::now();
    let mut stream = connect(&gateway.url("")).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let answer = read_until_quiet(&mut stream, SOON).await.unwrap();
    (
        String::from_utf8_lossy(&answer).into_owned(),
        begun.elapsed(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_headers_are_refused() {
    let upstream = fixture(Era::Modern).await;
    let limits = "limits: { headers: 20, header_bytes: 8KiB }";
    let gateway = gateway(&only(&upstream.url(), limits)).await;
    let mut many = call_headers("test_simple_text");
    for number in 0..20 {
        let name = http::HeaderName::try_from(format!("x-{number}")).unwrap();
        many.insert(name, "1".parse().unwrap());
    }
    let body = call_text("test_simple_text", "{}");
    let answer = gateway.client().post(many, body.clone()).await.unwrap();
    assert_eq!(answer.status, 431);
    let mut long = call_headers("test_simple_text");
    long.insert("x-long", "x".repeat(16 * 1024).parse().unwrap());
    let answer = gateway.client().post(long, body).await.unwrap();
    assert_eq!(answer.status, 431);
    works(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_idle_clients_are_let_go() {
    let upstream = fixture(Era::Modern).await;
    let limits = "limits: { header_timeout: 500ms, body_timeout: 500ms, idle_timeout: 700ms }";
    let gateway = gateway(&only(&upstream.url(), limits)).await;
    let host = gateway.authority().to_owned();
    let head = format!("POST /mcp HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n");
    let body = format!("{head}Content-Length: 100\r\n\r\n{{\"jsonrpc\"");
    let alive = format!("GET /livez HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let (headers, body, idle, mute) = tokio::join!(
        stall(&gateway, head.as_bytes()),
        stall(&gateway, body.as_bytes()),
        stall(&gateway, alive.as_bytes()),
        stall(&gateway, b""),
    );
    // Without a head there may be nothing to answer.
    assert!(
        headers.0.is_empty() || headers.0.starts_with("HTTP/1.1 408 "),
        "{}",
        headers.0
    );
    assert!(body.0.starts_with("HTTP/1.1 408 "), "{}", body.0);
    assert!(body.0.contains("limits.body_timeout"), "{}", body.0);
    assert!(idle.0.starts_with("HTTP/1.1 200 "), "{}", idle.0);
    for (what, (_, time)) in [
        ("headers", headers),
        ("body", body),
        ("idle", idle),
        ("mute", mute),
    ] {
        assert!(time < Duration::from_secs(5), "{what} took {time:?}");
    }
    works(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_one_client_are_bounded() {
    let upstream = fixture(Era::Modern).await;
    let limits = "limits: { connections_per_client: 4 }";
    let gateway = gateway(&only(&upstream.url(), limits)).await;
    let alive = format!(
        "GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n",
        gateway.authority()
    );
    // The connection that was used to wait for readiness may still be open.
    let mut open = Vec::new();
    for _ in 0..8 {
        let Ok(mut stream) = connect(&gateway.url("")).await else {
            continue;
        };
        if stream.write_all(alive.as_bytes()).await.is_ok() {
            let answer = read_until_quiet(&mut stream, Duration::from_millis(300)).await;
            if answer.is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200")) {
                open.push(stream);
            }
        }
    }
    assert!((1..=4).contains(&open.len()), "{} were served", open.len());
    drop(open);
    // Room again once they are gone.
    until("a connection after the others closed", async || {
        let answer = gateway.get("/livez").await;
        answer.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    let metrics = gateway.get("/metrics").await.unwrap().text().await.unwrap();
    assert!(metrics.contains("refused"), "{metrics}");
}

/// Opens a connection and asks for something; `None` if it is refused.
async fn served(gateway: &Gateway) -> Option<tokio::net::TcpStream> {
    let alive = format!(
        "GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n",
        gateway.authority()
    );
    let mut stream = connect(&gateway.url("")).await.ok()?;
    stream.write_all(alive.as_bytes()).await.ok()?;
    let answer = read_until_quiet(&mut stream, Duration::from_millis(300)).await;
    let good = answer.is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200"));
    good.then_some(stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_is_not_one_client() {
    let upstream = fixture(Era::Modern).await;
    let section = |proxies: &str| {
        let text = format!(
            "server: {{ trusted_proxies: [{proxies}] }}\nlimits: {{ connections_per_client: 2 }}"
        );
        only(&upstream.url(), &text)
    };
    let mut gateway = gateway(&section("127.0.0.0/8")).await;
    let mut open = Vec::new();
    for number in 0..6 {
        let stream = served(&gateway).await;
        open.push(stream.unwrap_or_else(|| panic!("{number} is refused")));
    }
    // From now on it is a client like any other.
    gateway.reconfigure(&section("192.0.2.1")).unwrap();
    let line = gateway.logged(&["the new configuration is in force"], SOON);
    line.await.unwrap();
    let mut own = Vec::new();
    while let Some(stream) = served(&gateway).await {
        own.push(stream);
        assert!(own.len() <= 2, "{} were served", own.len());
    }
    assert!(!own.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_one_client_are_bounded() {
    let upstream = fixture(Era::Modern).await;
    let gateway = gateway(&only(&upstream.url(), "limits: { streams_per_client: 2 }")).await;
    let caller = gateway.caller();
    let wanted = json!({ "toolsListChanged": true });
    let mut first = caller.listen(wanted.clone()).await.unwrap();
    let acknowledged = first.message().await.unwrap().unwrap();
    judge(
        mcp_ultra_testkit::schema::Revision::V2026_07_28,
        "",
        &acknowledged,
    );
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    let second = session.stream(None).await.unwrap();
    assert_eq!(second.status, 200);
    let listen = caller.prepare("subscriptions/listen", json!({ "notifications": wanted }));
    let third = caller.send(listen.clone()).await.unwrap();
    assert_eq!(third.header("retry-after"), Some("1"));
    assert_eq!(refusal(third).await.0, 429);
    let refused = session.stream(None).await.unwrap();
    assert_eq!(refusal(refused).await.0, 429);
    // Calls are not streams.
    works(&gateway).await;
    drop(first);
    until("a place after a stream was closed", async || {
        let answer = caller.send(listen.clone()).await.unwrap();
        answer.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_bounded_in_all_and_per_server() {
    let (slow, quick) = (fixture(Era::Dual).await, fixture(Era::Dual).await);
    let yaml = format!(
        "limits: {{ calls: 3, calls_per_server: 2 }}\nservers:\n  - {{ name: slow, url: \"{}\" }}\n  - {{ name: quick, url: \"{}\" }}\n",
        slow.url(),
        quick.url()
    );
    let gateway = gateway(&yaml).await;
    let caller = gateway.caller();
    let wait = |name: &str| {
        let params =
            json!({ "name": format!("{name}_test_wait"), "arguments": { "milliseconds": 2500 } });
        let request = caller.prepare("tools/call", params);
        caller.reply(request)
    };
    let refused = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        // Two are with the slow one: it takes no more, another server does.
        let full = modern_tool(&caller, "slow_test_simple_text", json!({})).await;
        assert_eq!(full.error_code(), Some(-32603), "{}", full.message);
        assert_eq!(full.status, 503, "{}", full.message);
        let reply = modern_tool(&caller, "quick_test_simple_text", json!({})).await;
        assert!(text(&reply).starts_with("This is"));
        // Three in all: the gateway takes no more.
        let third = wait("quick");
        let fourth = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let request = caller.prepare("tools/list", json!({}));
            let answer = caller.send(request).await.unwrap();
            assert_eq!(answer.header("retry-after"), Some("1"));
            assert_eq!(refusal(answer).await, (503, -32603));
        };
        let (third, ()) = tokio::join!(third, fourth);
        assert_eq!(text(&third.unwrap()), "Waited 2500 ms");
    };
    let (one, two, ()) = tokio::join!(wait("slow"), wait("slow"), refused);
    for reply in [one, two] {
        assert_eq!(text(&reply.unwrap()), "Waited 2500 ms");
    }
    let reply = modern_tool(&caller, "slow_test_simple_text", json!({})).await;
    assert!(text(&reply).starts_with("This is"), "places are given back");
}
