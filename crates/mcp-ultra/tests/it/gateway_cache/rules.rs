//! What may be kept by whose word, and what becomes of that when the operator says something else.

use std::time::Duration;

use mcp_ultra_testkit::raw::modern::Caller;
use serde_json::json;

use super::{
    PRIVATE,
    rig::{server, yaml},
};
use crate::gateway_rig::{gateway, modern_tool, text, until};

const TEN: &str = "cache: { ttl: { tools: 10m } }\n";

async fn calls(caller: &Caller, tool: &str) -> String {
    text(&modern_tool(caller, tool, json!({})).await).to_owned()
}

/// It may be good for longer than the new rules say, and while nothing was kept, nothing was noted of what
/// has changed.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_by_other_rules_is_given_to_nobody() {
    let server = server(0, PRIVATE).await;
    let of_server = ", read_only: [looks]";
    let gateway = gateway(&yaml(&server, TEN, of_server)).await;
    let caller = gateway.caller();
    let looks = async || calls(&caller, "looks").await;
    let change = |general: &str| {
        let yaml = yaml(&server, general, of_server);
        gateway.reconfigure(&yaml).unwrap();
    };
    let before = looks().await;
    assert_eq!(looks().await, before);
    change("cache: { enabled: false }\n");
    until("it is asked each time", async || {
        looks().await != looks().await
    })
    .await;
    calls(&caller, "sets").await;
    change(TEN);
    until("it is kept again", async || looks().await == looks().await).await;
    let kept = looks().await;
    assert_ne!(kept, before, "of before its caller has changed something");
    change("cache: { ttl: { tools: 1s } }\n");
    let soon = Duration::from_secs(10);
    let asked_anew = tokio::time::timeout(soon, async {
        while looks().await == kept {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    assert!(asked_anew.await.is_ok(), "it is kept for ten minutes still");
}
