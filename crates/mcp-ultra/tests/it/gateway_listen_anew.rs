//! Who watches resources of a server that is configured anew, or goes, is told, and not left with a stream on
//! which nothing will come.

use std::time::Duration;

use mcp_ultra_testkit::{fixture::Era, gateway::Gateway, raw::Events};
use serde_json::{Value, json};

use crate::gateway_rig::{SOON, fixture, gateway, legacy_tool, only};

const WATCHED: &str = "test://watched-resource";
const UPDATED: &str = "notifications/resources/updated";

/// Reads until there is what is looked for.
async fn until(events: &mut Events, what: &str, is: impl Fn(&Value) -> bool) {
    let reading = async {
        while let Some(message) = events.message().await.unwrap() {
            if is(&message) {
                return true;
            }
        }
        false
    };
    let found = tokio::time::timeout(SOON, reading).await;
    assert_eq!(found, Ok(true), "{what}");
}

/// A stream of a modern client that watches the resource.
async fn listen(gateway: &Gateway) -> Events {
    let wanted = json!({ "resourceSubscriptions": [WATCHED] });
    let mut events = gateway.caller().listen(wanted).await.unwrap();
    until(&mut events, "what was agreed to", |message| {
        message["params"]["notifications"]["resourceSubscriptions"] == json!([WATCHED])
    })
    .await;
    // The fixture agrees to a subscription a moment before it has it.
    tokio::time::sleep(Duration::from_millis(300)).await;
    events
}

fn is_update(message: &Value) -> bool {
    message["method"] == UPDATED && message["params"]["uri"] == WATCHED
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_go_on_with_a_server_that_is_configured_anew() {
    for era in [Era::Modern, Era::Legacy] {
        let (before, after) = (fixture(era).await, fixture(era).await);
        let gateway = gateway(&only(&before.url(), "")).await;
        let mut modern = listen(&gateway).await;
        let session = gateway.session("2025-11-25", json!({})).await.unwrap();
        let mut legacy = session.stream(None).await.unwrap().events();
        let made = session.call("resources/subscribe", json!({ "uri": WATCHED }));
        assert!(made.await.unwrap().result().is_object());

        gateway.reconfigure(&only(&after.url(), "")).unwrap();
        until(&mut modern, "the end of the stream", |message| {
            message["result"]["resultType"] == "complete"
        })
        .await;
        until(&mut legacy, "what may have been missed", is_update).await;

        let mut modern = listen(&gateway).await;
        let other = gateway.session("2025-11-25", json!({})).await.unwrap();
        legacy_tool(&other, "test_trigger_resource_update", json!({})).await;
        until(&mut modern, "a change, on a modern stream", is_update).await;
        until(&mut legacy, "a change, on a legacy one", is_update).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_server_that_it_watches_and_a_session_has_it_again() {
    let upstream = fixture(Era::Modern).await;
    let gateway = gateway(&only(&upstream.url(), "")).await;
    let mut modern = listen(&gateway).await;
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    let mut legacy = session.stream(None).await.unwrap().events();
    let made = session.call("resources/subscribe", json!({ "uri": WATCHED }));
    assert!(made.await.unwrap().result().is_object());

    gateway.reconfigure("servers: []").unwrap();
    until(&mut modern, "the end of the stream", |message| {
        message["result"]["resultType"] == "complete"
    })
    .await;
    gateway.reconfigure(&only(&upstream.url(), "")).unwrap();
    until(&mut legacy, "what may have been missed", is_update).await;
}
