//! Modern clients that listen at different gateways all hear of every change.

use std::time::Duration;

use mcp_ultra_testkit::{fixture::Era, raw::Events};
use serde_json::{Value, json};

use super::Site;
use crate::gateway_rig::{SOON, fixture, modern_tool};

const WATCHED: &str = "test://watched-resource";

async fn next(events: &mut Events) -> Value {
    let message = tokio::time::timeout(SOON, events.message()).await;
    message.unwrap().unwrap().unwrap()
}

/// Reads until something is told by `method`.
async fn hears(events: &mut Events, method: &str) -> Value {
    loop {
        let message = next(events).await;
        if message["method"] == method {
            return message;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_listens_anywhere_hears_what_is_changed_through_any_gateway() {
    for era in [Era::Legacy, Era::Modern] {
        let upstream = fixture(era).await;
        let site = Site::new(&upstream.url(), 2, "").await;
        let mut streams = Vec::new();
        for gateway in &site.all {
            let wanted = json!({ "toolsListChanged": true, "resourceSubscriptions": [WATCHED] });
            let mut events = gateway.caller().listen(wanted).await.unwrap();
            hears(&mut events, "notifications/subscriptions/acknowledged").await;
            streams.push(events);
        }
        // The fixture agrees to a subscription a moment before it has it.
        tokio::time::sleep(Duration::from_millis(300)).await;
        for gateway in &site.all {
            let caller = gateway.caller();
            modern_tool(&caller, "test_trigger_resource_update", json!({})).await;
            for events in &mut streams {
                let update = hears(events, "notifications/resources/updated").await;
                assert_eq!(update["params"]["uri"], WATCHED, "{era:?}");
            }
            modern_tool(&caller, "test_trigger_tool_change", json!({})).await;
            for events in &mut streams {
                hears(events, "notifications/tools/list_changed").await;
            }
        }
    }
}
