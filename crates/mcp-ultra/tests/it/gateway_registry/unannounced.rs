//! NATS is killed under two gateways, and comes back.

use std::time::Instant;

use serde_json::json;

use super::Site;
use crate::gateway_rig::SOON;

const TOOL: &str = "fix_test_simple_text";
const POLICY: &str = "/api/v1/policies/no-text";
const FORBID: &str =
    "@id(\"no-text\")\nforbid(principal, action, resource == Tool::\"fix_test_simple_text\");\n";

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_found_while_nats_is_gone_and_told_of_when_it_is_back() {
    let mut site = Site::announcing_and_polling().await;
    site.wait(&site.there, TOOL, true).await;
    let nats = site.nats.as_mut().unwrap();
    nats.server_mut().kill().await.unwrap();
    site.connected("0").await;

    let begun = Instant::now();
    let (status, said) = site.put(POLICY, FORBID, "new").await;
    assert_eq!(status, 200, "{said}");
    site.wait(&site.there, TOOL, false).await;
    println!(
        "without NATS a policy was in force elsewhere after {:?}",
        begun.elapsed()
    );
    assert!(begun.elapsed() < SOON);
    for gateway in [&site.here, &site.there] {
        assert_eq!(site.call(gateway, TOOL, json!({})).await, Some(-32602));
    }

    site.nats.as_mut().unwrap().restart().await.unwrap();
    site.connected("1").await;
    let (status, said) = site.remove(POLICY, "*").await;
    assert_eq!(status, 200, "{said}");
    for gateway in [&site.here, &site.there] {
        site.wait(gateway, TOOL, true).await;
        assert_eq!(site.call(gateway, TOOL, json!({})).await, None);
        assert_eq!(site.metric(gateway, "mcp_registry_revision").await, "2");
    }
}
