//! Broken and malicious messages of clients: each gets the answer that the specification or the
//! architecture has for it, and nothing of it reaches an upstream in another shape.

use std::fs;

use http::HeaderMap;
use mcp_ultra_testkit::{
    fixture::Era,
    gateway::Gateway,
    raw::{Answer, headers, sse::Parser, wire},
    scripted::{Scene, Scripted},
};
use serde_json::{Value, json};

use crate::gateway_rig::{
    META, SOON, call_headers, call_text, fixture, gateway, marker, modern_tool, only, refusal,
    stdio_server,
};

/// One tool that takes anything.
fn tools() -> Value {
    json!([{ "name": "take", "inputSchema": { "type": "object" } }])
}

/// An upstream that keeps what it gets and answers "ok", and the gateway before it.
async fn recorded() -> (Scripted, Gateway) {
    let upstream = Scripted::start(tools(), |_| None).await.unwrap();
    let gateway = gateway(&only(&upstream.url(), "")).await;
    (upstream, gateway)
}

async fn post(gateway: &Gateway, body: impl Into<bytes::Bytes>) -> Answer {
    gateway
        .client()
        .post(call_headers("take"), body)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_is_413_declared_or_not() {
    let upstream = fixture(Era::Modern).await;
    let gateway = gateway(&only(&upstream.url(), "limits: { body: 64KiB }")).await;
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n",
        gateway.authority()
    );
    // Declared: refused before a byte of it has come.
    let declared = format!("{head}Content-Length: 65537\r\nConnection: close\r\n\r\n");
    let answer = wire::exchange(&gateway.url(""), declared.as_bytes(), SOON)
        .await
        .unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("-32600"), "{answer}");
    // In chunks: refused as soon as it is over.
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    let chunked = format!(
        "{head}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n{}",
        chunk.repeat(5)
    );
    let answer = wire::exchange(&gateway.url(""), chunked.as_bytes(), SOON)
        .await
        .unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    // What is just below the limit passes.
    let rest = "x".repeat(60 * 1024);
    let reply = modern_tool(&gateway.caller(), "test_echo", json!({ "rest": rest })).await;
    assert_eq!(reply.result()["structuredContent"]["rest"], rest);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_json_is_a_parse_error() {
    let (upstream, gateway) = recorded().await;
    let bad: [&[u8]; 12] = [
        b"",
        b" ",
        b"{",
        b"nul",
        b"{\"jsonrpc\":\"2.0\",}",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}}",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pi\nng\"}",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pi\0ng\"}",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pi\xffng\"}",
        b"\xef\xbb\xbf{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}",
        b"{\"jsonrpc\":\"2.0\",\"id\":01,\"method\":\"ping\"}",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\0",
    ];
    for body in bad {
        let shown = String::from_utf8_lossy(body).into_owned();
        let answer = post(&gateway, bytes::Bytes::from_static(body)).await;
        assert_eq!(refusal(answer).await, (400, -32700), "{shown:?}");
    }
    assert!(upstream.seen("tools/call").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_envelopes_and_keys_that_stand_twice_are_invalid_requests() {
    let (upstream, gateway) = recorded().await;
    let whole = |params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#)
    };
    let bad = [
        "1".to_owned(),
        "\"text\"".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        r#"{"id":1,"method":"ping"}"#.to_owned(),
        r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#.to_owned(),
        r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":7}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":null}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1}"#.to_owned(),
        whole("[1]"),
        whole("\"text\""),
        // Two readers would see two values.
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/call","params":{{"_meta":{META}}}}}"#
        ),
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"ping","m\u0065thod":"tools/call","params":{{"_meta":{META}}}}}"#
        ),
        whole(&format!(
            r#"{{"name":"take","name":"other","_meta":{META}}}"#
        )),
        whole(&format!(
            r#"{{"name":"take","n\u0061me":"other","_meta":{META}}}"#
        )),
        whole(&format!(
            r#"{{"name":"take","_meta":{META},"_meta":{META}}}"#
        )),
        whole(&format!(
            r#"{{"name":"take","_meta":{},"io.modelcontextprotocol/protocolVersion":"2025-11-25"}}}}"#,
            META.trim_end_matches('}').to_owned() + "}"
        )),
    ];
    for body in bad {
        let answer = post(&gateway, body.clone()).await;
        assert_eq!(refusal(answer).await, (400, -32600), "{body}");
    }
    assert!(upstream.seen("tools/call").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nesting_of_128_passes_and_129_does_not() {
    let (upstream, gateway) = recorded().await;
    // The message, its params and arguments are three levels.
    let nested = |levels: usize| {
        let inner = levels - 3;
        let arguments = format!(r#"{{"a":{}{}}}"#, "[".repeat(inner), "]".repeat(inner));
        call_text("take", &arguments)
    };
    let body = nested(128);
    let answer = post(&gateway, body.clone()).await;
    assert_eq!(answer.status, 200);
    let params = &body[body.find("{\"name\"").unwrap()..body.len() - 1];
    assert!(upstream.seen("tools/call")[0].text().contains(params));
    assert_eq!(
        refusal(post(&gateway, nested(129)).await).await,
        (400, -32600)
    );
    let deep = "[".repeat(1_000_000);
    assert_eq!(refusal(post(&gateway, deep).await).await, (400, -32600));
    assert_eq!(upstream.seen("tools/call").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_newlines_reach_a_stdio_upstream_as_one_line() {
    let marker = marker("newlines");
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("lines");
    let rest = format!(", \"--record\", \"{}\"], prefix: none", record.display());
    let server = stdio_server("local", "modern", &marker, &rest);
    let gateway = gateway(&format!("servers:\n{server}")).await;
    // What stands on the second line would be a message of its own.
    let second = r#"{"jsonrpc":"2.0","id":77,"method":"tools/call","params":{"name":"test_trigger_tool_change"}}"#;
    let body = call_text("test_echo", &format!("{{\r\n\"a\"\n:\n{second}\r}}"))
        .replace("\"jsonrpc\"", "\n\n\"jsonrpc\"\r\n");
    let answer = gateway
        .client()
        .post(call_headers("test_echo"), body)
        .await
        .unwrap();
    let message = answer.json().await.unwrap();
    let echoed = &message["result"]["structuredContent"]["a"];
    assert_eq!(*echoed, serde_json::from_str::<Value>(second).unwrap());
    let lines = fs::read_to_string(&record).unwrap();
    let messages: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let calls = messages.iter().filter(|one| one["method"] == "tools/call");
    assert_eq!(calls.count(), 1, "{lines}");
    assert!(messages.iter().all(|one| one["id"] != 77), "{lines}");
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_newlines_of_an_upstream_reach_a_client_as_one_event() {
    let pretty = "{\r\n \"resultType\": \"complete\",\n\n \"content\":\r[ {\"type\":\"text\",\n\"text\":\"a\\nb\"} ]\n}";
    let upstream = Scripted::start(tools(), move |seen| {
        (seen.rpc() == "tools/call").then(|| Scene::Result(pretty.to_owned()))
    })
    .await
    .unwrap();
    let gateway = gateway(&only(&upstream.url(), "")).await;
    let mut only_events = call_headers("take");
    only_events.insert("accept", "text/event-stream".parse().unwrap());
    let answer = gateway
        .client()
        .post(only_events, call_text("take", "{}"))
        .await
        .unwrap();
    assert!(answer.is_event_stream());
    let body = answer.bytes().await.unwrap();
    let events = Parser::default().push(&body);
    let [event] = &events[..] else {
        panic!("not one event: {events:?}");
    };
    assert!(!event.data.contains(['\r', '\n']), "{event:?}");
    let message: Value = serde_json::from_str(&event.data).unwrap();
    assert_eq!(message["result"]["content"][0]["text"], "a\nb");
}

#[tokio::test(flavor = "multi_thread")]
async fn lone_surrogates_pass_in_arguments_and_nowhere_else() {
    let (upstream, gateway) = recorded().await;
    let arguments = r#"{"half":"\ud800","other":"\uDFFF x","\u0061":1}"#;
    let answer = post(&gateway, call_text("take", arguments)).await;
    assert_eq!(answer.status, 200);
    assert!(upstream.seen("tools/call")[0].text().contains(arguments));
    let method = call_text("take", "{}").replace("tools/call", "tools/call\\ud800");
    assert_eq!(refusal(post(&gateway, method).await).await, (400, -32600));
    let name = call_text("take\\ud800", "{}");
    let (status, _) = refusal(post(&gateway, name).await).await;
    assert_eq!(status, 400);
    assert_eq!(upstream.seen("tools/call").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_escaped_method_is_the_method() {
    let (upstream, gateway) = recorded().await;
    let body = call_text("take", "{}").replace("tools/call", "tools\\/c\\u0061ll");
    let answer = post(&gateway, body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(upstream.seen("tools/call").len(), 1);
    assert_eq!(
        upstream.seen("tools/call")[0].header("mcp-method"),
        Some("tools/call")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_does_not_know_passes_byte_for_byte_both_ways() {
    let big = format!("-{}.{}e+{}", "9".repeat(200), "1".repeat(196), 12);
    let result = format!(
        r#"{{"zz":{big},"resultType":"complete","content":[{{"type":"text","text":"\u006fk","x-vendor":[1.0,1.00]}}],"_meta":{{"example.com/b":2,"example.com/a":1E2}},"aa":null}}"#
    );
    let answered = result.clone();
    let upstream = Scripted::start(tools(), move |seen| {
        (seen.rpc() == "tools/call").then(|| Scene::Result(answered.clone()))
    })
    .await
    .unwrap();
    let gateway = gateway(&only(&upstream.url(), "")).await;
    let meta = META.replacen('{', r#"{"com.example/trace":{"b":1,"a":[ 1 , 2.50 ]},"#, 1);
    let params = format!(
        r#"{{"zeta":[1e3, 1.10],"name":"take","arguments":{{"b":{big},"a":0.10,"c":"\u00e9é"}},"_meta":{meta},"alpha":{{ }}}}"#
    );
    let body = format!(
        r#"{{"id":"ü \" 1","vendor":true,"params":{params},"method":"tools/call","jsonrpc":"2.0"}}"#
    );
    let answer = post(&gateway, body).await;
    assert_eq!(answer.status, 200);
    let back = answer.text().await.unwrap();
    let sent = upstream.seen("tools/call")[0].text();
    assert!(sent.contains(&params), "sent {params}\ngot  {sent}");
    assert!(back.contains(&result), "sent {result}\ngot  {back}");
    assert!(back.contains(r#""id":"ü \" 1""#), "{back}");
    // An id of 400 digits is an integer too.
    let id = "7".repeat(400);
    let body = call_text("take", "{}").replacen("\"id\":1", &format!("\"id\":{id}"), 1);
    let back = post(&gateway, body).await.text().await.unwrap();
    assert!(back.contains(&format!("\"id\":{id}")), "{back}");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_disagree_with_the_body_are_refused() {
    let (upstream, gateway) = recorded().await;
    let wrong: [(&str, &[&str]); 13] = [
        ("mcp-protocol-version", &[]),
        ("mcp-protocol-version", &["2025-11-25"]),
        ("mcp-protocol-version", &["2026-07-28", "2026-07-28"]),
        ("mcp-method", &[]),
        ("mcp-method", &["tools/list"]),
        ("mcp-method", &["Tools/Call"]),
        ("mcp-method", &["tools/call", "tools/call"]),
        ("mcp-name", &[]),
        ("mcp-name", &["other"]),
        ("mcp-name", &["TAKE"]),
        ("mcp-name", &["take", "take"]),
        ("mcp-name", &["=?base64?b3RoZXI=?="]),
        ("mcp-name", &["=?base64?dGFrZ?="]),
    ];
    for (name, values) in wrong {
        let mut map = call_headers("take");
        map.remove(name);
        for value in values {
            map.append(name, value.parse().unwrap());
        }
        let answer = gateway
            .client()
            .post(map, call_text("take", "{}"))
            .await
            .unwrap();
        assert_eq!(refusal(answer).await, (400, -32020), "{name}: {values:?}");
    }
    assert!(upstream.seen("tools/call").is_empty());
    let mut map = call_headers("take");
    map.insert("mcp-name", "=?base64?dGFrZQ==?=".parse().unwrap());
    let answer = gateway
        .client()
        .post(map, call_text("take", "{}"))
        .await
        .unwrap();
    assert_eq!(answer.status, 200, "the encoded form is as good");
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrored_parameters_are_checked() {
    let upstream = fixture(Era::Modern).await;
    let gateway = gateway(&only(&upstream.url(), "")).await;
    let tool = "test_custom_header";
    for (header, expected) in [
        (Some("sul"), 200),
        (Some("=?base64?c3Vs?="), 200),
        (Some("norte"), 400),
        (None, 400),
    ] {
        let mut map = call_headers(tool);
        if let Some(header) = header {
            map.insert("mcp-param-value", header.parse().unwrap());
        }
        let body = call_text(tool, r#"{"value":"sul"}"#);
        let answer = gateway.client().post(map, body).await.unwrap();
        assert_eq!(answer.status, expected, "{header:?}");
        if expected == 400 {
            assert_eq!(refusal(answer).await.1, -32020, "{header:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn meta_versions_and_methods_are_checked() {
    let (_upstream, gateway) = recorded().await;
    let send = async |method: &str, meta: &str, version: &str| {
        let mut map = headers::post();
        map.insert("mcp-protocol-version", version.parse().unwrap());
        map.insert("mcp-method", method.parse().unwrap());
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"_meta":{meta}}}}}"#
        );
        refusal(gateway.client().post(map, body).await.unwrap()).await
    };
    let without = |key: &str| {
        let mut meta: Value = serde_json::from_str(META).unwrap();
        meta.as_object_mut()
            .unwrap()
            .remove(&format!("io.modelcontextprotocol/{key}"));
        meta.to_string()
    };
    let now = "2026-07-28";
    assert_eq!(send("tools/list", "{}", now).await, (400, -32602));
    assert_eq!(
        send("tools/list", &without("protocolVersion"), now).await,
        (400, -32602)
    );
    assert_eq!(
        send("tools/list", &without("clientCapabilities"), now).await,
        (400, -32602)
    );
    let future = META.replace(now, "2099-01-01");
    assert_eq!(
        send("tools/list", &future, "2099-01-01").await,
        (400, -32022)
    );
    assert_eq!(send("no/such", META, now).await, (404, -32601));
    assert_eq!(send("ping", META, now).await, (404, -32601));
    assert_eq!(send("initialize", META, now).await, (404, -32601));
    assert_eq!(send("logging/setLevel", META, now).await, (404, -32601));
    let bad_level = META.replacen('{', r#"{"io.modelcontextprotocol/logLevel":"loud","#, 1);
    assert_eq!(send("tools/list", &bad_level, now).await, (400, -32602));
    let bad_token = META.replacen('{', r#"{"progressToken":{},"#, 1);
    assert_eq!(send("tools/list", &bad_token, now).await, (400, -32602));
}

#[tokio::test(flavor = "multi_thread")]
async fn media_types_and_http_methods_are_checked() {
    let (_upstream, gateway) = recorded().await;
    let with = async |name: &str, value: &str| {
        let mut map = call_headers("take");
        map.insert(
            http::HeaderName::try_from(name).unwrap(),
            value.parse().unwrap(),
        );
        let body = call_text("take", "{}");
        gateway
            .client()
            .post(map, body)
            .await
            .unwrap()
            .status
            .as_u16()
    };
    assert_eq!(with("accept", "text/html").await, 406);
    assert_eq!(with("accept", "*/*").await, 200);
    assert_eq!(with("content-type", "text/plain").await, 415);
    assert_eq!(
        with("content-type", "application/json; charset=utf-8").await,
        200
    );
    for (method, expected) in [
        ("GET", 405),
        ("DELETE", 405),
        ("PUT", 405),
        ("PATCH", 405),
        ("HEAD", 405),
        ("OPTIONS", 405),
        ("BREW", 405),
    ] {
        let answer = gateway
            .client()
            .request(
                method.parse().unwrap(),
                HeaderMap::new(),
                bytes::Bytes::new(),
            )
            .await
            .unwrap();
        assert_eq!(answer.status, expected, "{method}");
        assert_eq!(
            answer.header("allow"),
            Some("POST, GET, DELETE"),
            "{method}"
        );
    }
    assert_eq!(gateway.get("/").await.unwrap().status, 404);
    assert_eq!(gateway.get("/mcp/").await.unwrap().status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_hosts_and_origins_are_refused_on_the_endpoint_only() {
    let (_upstream, gateway) = recorded().await;
    for (name, value) in [
        ("host", "evil.example"),
        ("host", "localhost.evil.example"),
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", "http://127.0.0.1.evil.example"),
    ] {
        let mut map = call_headers("take");
        map.insert(name, value.parse().unwrap());
        let answer = gateway
            .client()
            .post(map, call_text("take", "{}"))
            .await
            .unwrap();
        assert_eq!(refusal(answer).await.0, 403, "{name}: {value}");
        for path in [
            "/livez", "/readyz", "/healthz", "/live", "/ready", "/health", "/metrics",
        ] {
            let client = mcp_ultra_testkit::raw::Client::new(gateway.url(path));
            let answer = client
                .get(headers::from_pairs([(name, value)]))
                .await
                .unwrap();
            assert_eq!(answer.status, 200, "{path} with {name}: {value}");
        }
    }
    let mut map = call_headers("take");
    map.insert("origin", "http://localhost:3000".parse().unwrap());
    let answer = gateway
        .client()
        .post(map, call_text("take", "{}"))
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
}
