//! How long one waits for another who asks for the same.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use mcp_ultra_testkit::raw::{Events, legacy::Session};
use serde_json::{Value, json};

use super::{
    PRIVATE,
    rig::{Answers, server, server_of, yaml},
};
use crate::gateway_rig::gateway;

/// Whoever waits for another has no more time for that: it is the call's.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_takes_no_longer_because_others_ask_for_the_same() {
    let answers = Answers {
        late: Duration::from_mins(1),
        ..Answers::new(60_000, PRIVATE)
    };
    let server = server_of(answers).await;
    let general =
        "limits: { call_timeout: 1s }\nretry: { attempts: 0 }\nbreaker: { failures_in_a_row: 2 }\n";
    let gateway = gateway(&yaml(&server, general, "")).await;
    let caller = gateway.caller();
    let read = async || {
        let begun = Instant::now();
        let reply = caller
            .call("resources/read", json!({ "uri": "test://a" }))
            .await
            .unwrap();
        assert_eq!(reply.message["error"]["data"]["kind"], "timeout");
        begun.elapsed()
    };
    for took in join_all((0..4).map(|_| read())).await {
        assert!(took < Duration::from_millis(1800), "{took:?}");
    }
    // They have waited for one call, which alone says something of the server.
    let metrics = gateway.get("/metrics").await.unwrap().text().await.unwrap();
    assert!(metrics.contains("mcp_upstream_breaker{upstream=\"fix\",state=\"closed\"} 1"));
}

/// The first question on the way to the answer.
async fn question(session: &Session) -> (Events, Value) {
    let asks = json!({ "name": "asks", "arguments": {} });
    let (_, answer) = session.send("tools/call", asks).await.unwrap();
    let mut events = answer.events();
    let message = events.message().await.unwrap().unwrap();
    (events, message)
}

/// While a person thinks, or a client takes its time to read, nobody waits for the answer that it gets: it
/// is nobody else's.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_an_answer_on_whose_way_somebody_is_asked() {
    let server = server(0, PRIVATE).await;
    let general = "cache: { ttl: { tools: 1m } }\n";
    let gateway = gateway(&yaml(&server, general, ", read_only: [asks]")).await;
    let able = json!({ "elicitation": {} });
    let sessions = [
        gateway.session("2025-11-25", able.clone()).await.unwrap(),
        gateway.session("2025-11-25", able).await.unwrap(),
    ];
    let first = question(&sessions[0]).await;
    let soon = Duration::from_secs(5);
    let second = tokio::time::timeout(soon, question(&sessions[1])).await;
    let second = second.expect("it is asked at once");
    for (_events, message) in [first, second] {
        assert_eq!(message["method"], "elicitation/create");
    }
}
