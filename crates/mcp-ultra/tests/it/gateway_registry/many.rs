//! How long a change takes where there are many tools.

use std::time::Instant;

use serde_json::{Value, json};

use super::{AT_ONCE, Site};
use crate::gateway_pinning::Changing;

const FLAG: &str = "/api/v1/flags/tool.fix_test_simple_text.enabled";

#[tokio::test(flavor = "multi_thread")]
async fn a_change_with_ten_thousand_tools_is_in_force_everywhere_soon() {
    let tool =
        |number: u32| json!({ "name": format!("t{number}"), "inputSchema": { "type": "object" } });
    let tools: Value = (0..10_000).map(tool).collect();
    let crm = Changing::start(tools).await;
    let site = Site::announcing("pinning: { mode: off }\n").await;
    let (status, said) = site
        .put(
            "/api/v1/servers/many",
            &format!("url: \"{}\"\n", crm.url()),
            "new",
        )
        .await;
    assert_eq!(status, 200, "{said}");
    for gateway in [&site.here, &site.there] {
        crate::gateway_rig::until("all tools are there", async || {
            site.call(gateway, "many_t9999", json!({})).await != Some(-32602)
        })
        .await;
    }
    let metric = async |gateway| site.metric(gateway, "mcp_registry_revision").await;
    let switch = |default: &str| {
        json!({
            "state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": default,
            "metadata": {"owner": "ops", "expires": "2999-01-01"},
        })
        .to_string()
    };
    for (revision, default, meant) in [("2", "off", "new"), ("3", "on", "*"), ("4", "off", "*")] {
        let begun = Instant::now();
        let (status, said) = site.put(FLAG, &switch(default), meant).await;
        let answered = begun.elapsed();
        assert_eq!(status, 200, "{said}");
        while metric(&site.there).await != revision {
            assert!(begun.elapsed() < 10 * AT_ONCE);
        }
        let took = begun.elapsed();
        println!(
            "10,000 tools: a change was answered after {answered:?}, and in force elsewhere after {took:?}"
        );
        let expected = (default == "off").then_some(-32602);
        let found = site
            .call(&site.there, "fix_test_simple_text", json!({}))
            .await;
        assert_eq!(found, expected);
    }
}
