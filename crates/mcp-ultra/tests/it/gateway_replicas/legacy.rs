//! Legacy clients whose requests go to one gateway and all else to another.

use std::time::Duration;

use http::HeaderValue;
use mcp_ultra_testkit::{
    fixture::{Era, http::Running},
    gateway::Gateway,
    raw::{Events, legacy::Session},
};
use serde_json::{Value, json};

use super::{Site, errands};
use crate::{
    gateway_eras::answer,
    gateway_rig::{SOON, fixture, legacy_tool, text, until},
};

/// A session, as it is seen through each of two gateways.
struct Two {
    here: Session,
    there: Session,
    site: Site,
    _upstream: Running,
}

async fn two(era: Era) -> Two {
    let upstream = fixture(era).await;
    let site = Site::new(&upstream.url(), 2, "").await;
    let able = || json!({ "elicitation": {}, "sampling": {}, "roots": {} });
    let here = site.all[0].session("2025-11-25", able()).await.unwrap();
    let mut there = site.all[1].session("2025-11-25", able()).await.unwrap();
    there.id.clone_from(&here.id);
    Two {
        here,
        there,
        site,
        _upstream: upstream,
    }
}

async fn next(events: &mut Events) -> Value {
    let message = tokio::time::timeout(SOON, events.message()).await;
    message.unwrap().unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_through_another_gateway() {
    for era in [Era::Legacy, Era::Modern] {
        let two = two(era).await;
        for tool in ["test_elicitation", "test_sampling"] {
            let params = json!({ "name": tool, "arguments": {} });
            let (_, response) = two.here.send("tools/call", params).await.unwrap();
            let mut events = response.events();
            let asked = next(&mut events).await;
            assert!(asked["method"].is_string(), "{asked}");
            let status = two.there.respond(&asked, answer(&asked)).await.unwrap();
            assert_eq!(status, 202);
            let last = next(&mut events).await;
            let said = last["result"]["content"][0]["text"].as_str();
            let said = said.unwrap_or_else(|| panic!("{last}"));
            assert!(
                said.contains("ana@example.com") || said.contains("Paris"),
                "{said}"
            );
            // It was answered, and is no question any more.
            assert_eq!(
                two.there.respond(&asked, answer(&asked)).await.unwrap(),
                202
            );
        }
        let other = &two.site.all[1];
        assert_eq!(errands(other, "answer", "done").await, "2");
        assert_eq!(errands(other, "answer", "not_there").await, "2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_answers_for_the_session_of_another() {
    let two = two(Era::Legacy).await;
    let able = json!({ "elicitation": {} });
    let stranger = two.site.all[1].session("2025-11-25", able).await.unwrap();
    let params = json!({ "name": "test_elicitation", "arguments": {} });
    let (_, response) = two.here.send("tools/call", params).await.unwrap();
    let mut events = response.events();
    let asked = next(&mut events).await;
    stranger.respond(&asked, answer(&asked)).await.unwrap();
    let quiet = events.next_within(Duration::from_millis(500)).await;
    assert!(quiet.unwrap().is_none(), "it still waits");
    // Whatever a client puts there, it is the name of no subject.
    for odd in ["1-*", "1->", "1-all", "1-a.b", "1-", "1-x y", "-", "1-1-1"] {
        let odd = json!({ "id": odd });
        assert_eq!(stranger.respond(&odd, None).await.unwrap(), 202);
    }
    two.there.respond(&asked, answer(&asked)).await.unwrap();
    let last = next(&mut events).await;
    assert!(last["result"].is_object(), "{last}");
}

async fn cancelled(gateway: &Gateway) -> Value {
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    let reply = legacy_tool(&session, "test_cancelled_waits", json!({})).await;
    reply.result()["structuredContent"]["cancelled"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_cancelled_through_another_gateway() {
    for era in [Era::Legacy, Era::Modern] {
        let two = two(era).await;
        let params = json!({ "name": "test_wait", "arguments": { "milliseconds": 60_000 } });
        let waiting = two.here.send("tools/call", params);
        let cancelling = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            // The ids of a session begin with 1.
            let params = json!({ "requestId": 1, "reason": "enough" });
            two.there.notify("notifications/cancelled", params).await
        };
        let waiting = tokio::time::timeout(SOON, waiting);
        let (ended, cancelled_there) = tokio::join!(waiting, cancelling);
        cancelled_there.unwrap();
        assert!(ended.is_ok(), "the call goes on");
        let gateway = &two.site.all[0];
        until("the end of the call", async || {
            cancelled(gateway).await == 1
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_no_stream_goes_to_the_gateway_that_has_the_clients() {
    let mut two = two(Era::Legacy).await;
    let json_only = HeaderValue::from_static("application/json");
    two.here.extra_headers.insert("accept", json_only);
    let stream = two.there.stream(None).await.unwrap();
    assert!(stream.is_event_stream());
    let answering = two.there.answer_on_stream(stream, answer);
    let calls = async {
        for _ in 0..3 {
            let reply = legacy_tool(&two.here, "test_elicitation", json!({})).await;
            let said = text(&reply);
            assert!(said.contains("ana@example.com"), "{}", reply.message);
        }
    };
    tokio::select! {
        done = tokio::time::timeout(SOON, calls) => done.unwrap(),
        ended = answering => panic!("the stream has ended: {ended:?}"),
    }
    assert_eq!(errands(&two.site.all[0], "push", "done").await, "3");
    // Where no gateway has one the server is told at once.
    let able = json!({ "elicitation": {} });
    let mut alone = two.site.all[0].session("2025-11-25", able).await.unwrap();
    let json_only = HeaderValue::from_static("application/json");
    alone.extra_headers.insert("accept", json_only);
    let call = legacy_tool(&alone, "test_elicitation", json!({}));
    let reply = tokio::time::timeout(Duration::from_secs(5), call)
        .await
        .unwrap();
    let said = reply.message.to_string();
    assert!(said.contains("text/event-stream"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_made_heard_of_and_ended_through_different_gateways() {
    const WATCHED: &str = "test://watched-resource";
    for era in [Era::Legacy, Era::Modern] {
        let two = two(era).await;
        let mut events = two.there.stream(None).await.unwrap().events();
        let uri = json!({ "uri": WATCHED });
        let made = two.here.call("resources/subscribe", uri.clone()).await;
        assert!(made.unwrap().result().is_object());
        let change = async || {
            let session = two.site.all[1]
                .session("2025-11-25", json!({}))
                .await
                .unwrap();
            legacy_tool(&session, "test_trigger_resource_update", json!({})).await;
        };
        change().await;
        let update = next(&mut events).await;
        assert_eq!(
            update["method"], "notifications/resources/updated",
            "{era:?}"
        );
        assert_eq!(update["params"]["uri"], WATCHED);
        let ended = two.there.call("resources/unsubscribe", uri).await;
        assert!(ended.unwrap().result().is_object());
        tokio::time::sleep(Duration::from_millis(500)).await;
        change().await;
        let quiet = events.next_within(Duration::from_secs(1)).await.unwrap();
        assert!(quiet.is_none(), "{era:?}: {quiet:?}");
    }
}
