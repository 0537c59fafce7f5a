//! A server that nothing reaches any more, in the middle of a call.

use std::time::{Duration, Instant};

use mcp_ultra_testkit::{fixture::Era, stores::Fault};
use serde_json::json;

use crate::gateway_rig::{fixture, gateway, legacy_tool, only};

/// A server that is cut off takes no cancellation either, and nobody waits for it to.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_server_that_is_cut_off_is_told_when_the_time_is_over() {
    for era in [Era::Legacy, Era::Modern] {
        let upstream = fixture(era).await;
        let url = upstream.url();
        let address = url.trim_start_matches("http://").trim_end_matches("/mcp");
        let network = Fault::before(address.parse().unwrap()).unwrap();
        let yaml = only(
            &format!("http://{}/mcp", network.address()),
            "limits: { call_timeout: 2s }\n",
        );
        let gateway = gateway(&yaml).await;
        let session = gateway.session("2025-11-25", json!({})).await.unwrap();
        legacy_tool(&session, "test_simple_text", json!({})).await;
        let begun = Instant::now();
        let wait = json!({ "milliseconds": 60_000 });
        let call = legacy_tool(&session, "test_wait", wait);
        let (reply, ()) = tokio::join!(call, async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            network.lost();
        });
        let kind = reply.message["error"]["data"]["kind"].as_str();
        assert_eq!(kind, Some("timeout"), "{}", reply.message);
        assert!(
            begun.elapsed() < Duration::from_secs(4),
            "{:?}",
            begun.elapsed()
        );
    }
}
