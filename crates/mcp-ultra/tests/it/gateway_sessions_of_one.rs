//! How many sessions one principal may have.

use http::HeaderMap;
use mcp_ultra_testkit::{
    fixture::Era,
    gateway::Gateway,
    raw::{Answer, legacy::Session},
};
use serde_json::{Value, json};

use crate::{
    gateway_rates::{configuration, token},
    gateway_rig::{fixture, gateway, legacy_tool, only, text},
};

async fn open(gateway: &Gateway, who: &str) -> Session {
    let headers = token("acme", who, &[]);
    Session::open(gateway.client(), "2025-11-25", json!({}), headers)
        .await
        .unwrap()
}

async fn works(session: &Session) {
    let reply = legacy_tool(session, "test_simple_text", json!({})).await;
    assert!(text(&reply).starts_with("This is"), "{}", reply.message);
}

async fn is_refused(answer: Answer) {
    let status = answer.status.as_u16();
    let message = answer.json().await.unwrap();
    assert_eq!((status, &message["error"]["code"]), (429, &json!(-32005)));
    let limit = &message["error"]["data"]["limit"];
    assert_eq!(limit, "limits.sessions_per_principal", "{message}");
}

/// How many sessions the gateway has in memory.
async fn in_memory(gateway: &Gateway) -> usize {
    let text = gateway.get("/metrics").await.unwrap().text().await.unwrap();
    let found = text
        .lines()
        .find_map(|line| line.strip_prefix("mcp_sessions "));
    found.unwrap().parse().unwrap()
}

fn initialize() -> Value {
    json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "one more", "version": "0" },
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn one_principal_has_no_more_sessions_than_it_may() {
    let upstream = fixture(Era::Dual).await;
    let limits = "limits: { sessions_per_principal: 2 }";
    let gateway = gateway(&configuration(&upstream.url(), limits)).await;
    let idle = open(&gateway, "bia").await;
    // Idle ones make room, and come back.
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(open(&gateway, "ana").await);
    }
    for session in &sessions {
        works(session).await;
    }
    // Two that are in use make none: neither for a new one nor for one that comes back.
    let streams = [
        sessions[0].stream(None).await.unwrap().events(),
        sessions[1].stream(None).await.unwrap().events(),
    ];
    let mut headers: HeaderMap = token("acme", "ana", &[]);
    headers.insert("content-type", "application/json".parse().unwrap());
    headers.insert(
        "accept",
        "application/json, text/event-stream".parse().unwrap(),
    );
    let client = gateway.client();
    let answer = client.post(headers, initialize().to_string()).await;
    is_refused(answer.unwrap()).await;
    // Nobody else's went for it, however idle.
    assert_eq!(in_memory(&gateway).await, 3);
    let call = json!({ "name": "test_simple_text", "arguments": {} });
    let (_, answer) = sessions[2].send("tools/call", call).await.unwrap();
    is_refused(answer).await;
    // That is nobody else's matter, and over with the first that ends.
    works(&idle).await;
    works(&open(&gateway, "bia").await).await;
    drop(streams);
    sessions.swap_remove(0).close().await.unwrap();
    works(&sessions[2]).await;
}

/// Whoever is nobody in particular is many.
#[tokio::test(flavor = "multi_thread")]
async fn callers_without_a_name_are_not_bounded_as_one() {
    let upstream = fixture(Era::Dual).await;
    let limits = "limits: { sessions_per_principal: 1 }";
    let gateway = gateway(&only(&upstream.url(), limits)).await;
    let mut in_use = Vec::new();
    for _ in 0..3 {
        let session = gateway.session("2025-11-25", json!({})).await.unwrap();
        let stream = session.stream(None).await.unwrap().events();
        works(&session).await;
        in_use.push((session, stream));
    }
    assert_eq!(in_memory(&gateway).await, 3);
}
