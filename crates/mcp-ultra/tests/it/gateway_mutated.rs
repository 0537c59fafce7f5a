//! A mistake of a client, whatever it is, is never the server's fault, and never a hang: well-formed
//! requests of both eras with a few bytes changed, and headers left out or doubled.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use mcp_ultra_testkit::{fixture::Era, gateway::Gateway};
use serde_json::{Value, json};

use crate::gateway_rig::{fixture, gateway, legacy_tool, modern, modern_tool, names, only, text};

/// Bytes that stand for others in a mutated request: structure, quotes, control, not UTF-8.
const REPLACEMENTS: &[u8] = b"\"{}[]:,\\\0\n\r\x7f\xff\xc30-eE \t/u";
/// How many mutations of each request are tried.
const TRIES: usize = 60;

/// A fixed sequence, so that a failure comes again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }

    fn mutate(&mut self, body: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(body.len().max(1));
            if at >= body.len() {
                return;
            }
            let other = REPLACEMENTS[self.below(REPLACEMENTS.len())];
            match self.below(4) {
                0 => body[at] = other,
                1 => drop(body.remove(at)),
                2 => body.insert(at, other),
                _ => body.truncate(at.max(1)),
            }
        }
    }

    fn mutate_headers(&mut self, map: &mut HeaderMap) {
        let names: Vec<HeaderName> = map.keys().cloned().collect();
        let name = &names[self.below(names.len())];
        match self.below(8) {
            0 => drop(map.remove(name)),
            1 => drop(map.append(name, map[name].clone())),
            2 => drop(map.insert(name, HeaderValue::from_static("=?base64?@@?="))),
            _ => {}
        }
    }
}

/// Sends `message` with `headers` many times, a little wrong each time.
async fn try_mutations(gateway: &Gateway, dice: &mut Dice, headers: &HeaderMap, message: &Value) {
    for _ in 0..TRIES {
        let mut body = message.to_string().into_bytes();
        dice.mutate(&mut body);
        let mut map = headers.clone();
        dice.mutate_headers(&mut map);
        let shown = format!("{map:?}\n{}", String::from_utf8_lossy(&body));
        let answer = gateway.client().post(map, Bytes::from(body)).await;
        let answer = answer.unwrap_or_else(|error| panic!("{error}: {shown}"));
        let status = answer.status;
        assert!(!status.is_server_error(), "{status}: {shown}");
    }
}

async fn still_works(gateway: &mut Gateway) {
    assert_eq!(gateway.status().unwrap(), None, "{}", gateway.output());
    let caller = gateway.caller();
    let tools = modern(&caller, "tools/list", json!({})).await;
    assert!(names(&tools, "tools").contains(&"test_echo".to_owned()));
    let reply = modern_tool(&caller, "test_simple_text", json!({})).await;
    assert!(text(&reply).starts_with("This is a simple text"));
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    let reply = legacy_tool(&session, "test_simple_text", json!({})).await;
    assert!(text(&reply).starts_with("This is a simple text"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_modern_clients() {
    let upstream = fixture(Era::Modern).await;
    let mut gateway = gateway(&only(&upstream.url(), "")).await;
    let caller = gateway.caller();
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let complete = json!({
        "ref": { "type": "ref/prompt", "name": "x" }, "argument": { "name": "a", "value": "b" },
    });
    for (method, params) in [
        (
            "tools/call",
            json!({ "name": "test_echo", "arguments": { "a": [1, "x"] } }),
        ),
        ("tools/list", json!({ "cursor": "AAAA" })),
        ("resources/read", json!({ "uri": "test://static-text" })),
        ("prompts/get", json!({ "name": "test_simple_prompt" })),
        ("completion/complete", complete),
        ("server/discover", json!({})),
        ("tasks/get", json!({ "taskId": "AAAA" })),
        (
            "subscriptions/listen",
            json!({ "notifications": { "toolsListChanged": true } }),
        ),
    ] {
        let prepared = caller.prepare(method, params);
        try_mutations(&gateway, &mut dice, &prepared.headers, &prepared.message).await;
    }
    still_works(&mut gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_legacy_clients() {
    let upstream = fixture(Era::Legacy).await;
    let mut gateway = gateway(&only(&upstream.url(), "")).await;
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for version in ["2025-11-25", "2025-03-26"] {
        let session = gateway.session(version, json!({})).await.unwrap();
        let headers = session.headers();
        let call = json!({
            "jsonrpc": "2.0", "id": 7, "method": "tools/call",
            "params": { "name": "test_echo", "arguments": { "a": 1 }, "_meta": { "progressToken": 1 } },
        });
        for message in [
            call.clone(),
            json!([call, { "jsonrpc": "2.0", "method": "notifications/initialized" }]),
            json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
                "protocolVersion": version, "capabilities": {}, "clientInfo": { "name": "t", "version": "0" } } }),
            json!({ "jsonrpc": "2.0", "id": 2, "method": "logging/setLevel", "params": { "level": "error" } }),
            json!({ "jsonrpc": "2.0", "id": 3, "method": "resources/subscribe", "params": { "uri": "test://watched-resource" } }),
            json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 7 } }),
            json!({ "jsonrpc": "2.0", "id": 1, "result": { "action": "accept", "content": {} } }),
            json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": -32601, "message": "x" } }),
        ] {
            try_mutations(&gateway, &mut dice, &headers, &message).await;
        }
    }
    still_works(&mut gateway).await;
}
