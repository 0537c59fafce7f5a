//! A server that nothing reaches any more, in the middle of a call.

use std::time::{Duration, Instant};

use mcp_ultra_testkit::{
    fixture::{Era, http::Running},
    gateway::Gateway,
    raw::Reply,
    stores::Fault,
};
use serde_json::{Value, json};

use crate::gateway_rig::{
    SOON, fixture, gateway, legacy_answering, legacy_tool, modern, modern_tool, only,
};

/// Beyond the time of a call, for machines that are busy.
const GRACE: Duration = Duration::from_secs(2);

/// A server whose calls may take two seconds, behind a network.
async fn site(era: Era) -> (Gateway, Fault, Running) {
    let upstream = fixture(era).await;
    let url = upstream.url();
    let address = url.trim_start_matches("http://").trim_end_matches("/mcp");
    let network = Fault::before(address.parse().unwrap()).unwrap();
    let yaml = only(
        &format!("http://{}/mcp", network.address()),
        "limits: { call_timeout: 2s }\n",
    );
    (gateway(&yaml).await, network, upstream)
}

fn is_told_in_time(reply: &Reply, took: Duration) {
    let kind = reply.message["error"]["data"]["kind"].as_str();
    assert_eq!(kind, Some("timeout"), "{}", reply.message);
    assert!(took < Duration::from_secs(2) + GRACE, "{took:?}");
}

/// A server that is cut off takes no cancellation either, and nobody waits for it to.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_server_that_is_cut_off_is_told_when_the_time_is_over() {
    for era in [Era::Legacy, Era::Modern] {
        let (gateway, network, _upstream) = site(era).await;
        let session = gateway.session("2025-11-25", json!({})).await.unwrap();
        legacy_tool(&session, "test_simple_text", json!({})).await;
        let begun = Instant::now();
        let wait = json!({ "milliseconds": 60_000 });
        let call = legacy_tool(&session, "test_wait", wait);
        let (reply, ()) = tokio::join!(call, async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            network.lost();
        });
        is_told_in_time(&reply, begun.elapsed());
    }
}

fn answer() -> Value {
    let content = json!({ "username": "ana", "email": "ana@example.com" });
    json!({ "action": "accept", "content": content })
}

/// Nor does it take the answer to what it has asked, which is part of its call.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_for_a_server_that_is_cut_off_takes_no_longer_than_the_call() {
    for era in [Era::Legacy, Era::Modern] {
        let (gateway, network, _upstream) = site(era).await;
        let able = json!({ "elicitation": {} });
        let session = gateway.session("2025-11-25", able).await.unwrap();
        let mut lost = None;
        let params = json!({ "name": "test_elicitation", "arguments": {} });
        let answering = legacy_answering(&session, "tools/call", params, |_| {
            network.lost();
            lost = Some(Instant::now());
            Some(answer())
        });
        let reply = tokio::time::timeout(SOON, answering).await;
        is_told_in_time(&reply.expect("an end"), lost.unwrap().elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_does_the_retry_of_a_parked_call() {
    let (gateway, network, _upstream) = site(Era::Legacy).await;
    let mut caller = gateway.caller();
    caller.capabilities = json!({ "elicitation": {} });
    let first = modern_tool(&caller, "test_elicitation", json!({})).await;
    let asked = first.result()["inputRequests"].as_object();
    let asked = asked.unwrap_or_else(|| panic!("{}", first.message));
    let answers = asked.keys().map(|key| (key.clone(), answer()));
    let params = json!({
        "name": "test_elicitation", "arguments": {},
        "inputResponses": Value::Object(answers.collect()),
        "requestState": first.result()["requestState"],
    });
    network.lost();
    let begun = Instant::now();
    let retry = modern(&caller, "tools/call", params);
    let reply = tokio::time::timeout(SOON, retry).await.expect("an end");
    is_told_in_time(&reply, begun.elapsed());
}
