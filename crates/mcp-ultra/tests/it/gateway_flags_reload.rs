//! Flags and policies together, and files that can't be used.

use mcp_ultra_testkit::raw::modern::Caller;
use serde_json::json;

use crate::{
    gateway_flags::{boolean, call, off_for, rig, tools},
    gateway_rig::{SOON, until},
};

const POLICIES: &str = r#"
@id("echo") permit(principal, action in Action::"tools", resource == Tool::"demo_echo")
  when { context.flags["echo-for"] };
@id("orders") permit(principal, action in Action::"tools", resource == Tool::"demo_list_orders");
"#;

async fn sees(caller: &Caller) -> Vec<String> {
    tools(caller).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_reads_a_flag_and_a_switch_is_above_it() {
    let only = |tenant: &str| {
        let rule = json!({"if": [{"==": [{"var": "tenant"}, tenant]}, "on"]});
        json!({"echo-for": boolean("off", &rule)})
    };
    let mut rig = rig(&only("acme"), Some(POLICIES)).await;
    let (acme, umbrella) = (rig.caller("acme", &[]), rig.caller("umbrella", &[]));
    assert_eq!(sees(&acme).await, ["demo_list_orders", "demo_echo"]);
    assert_eq!(sees(&umbrella).await, ["demo_list_orders"]);
    assert_eq!(call(&acme, "demo_echo").await, None);
    assert_eq!(call(&umbrella, "demo_echo").await, Some(-32602));

    rig.flags(&only("umbrella"));
    until("the flag of another tenant", async || {
        sees(&umbrella).await.len() == 2
    })
    .await;
    assert_eq!(
        (
            call(&acme, "demo_echo").await,
            call(&umbrella, "demo_echo").await
        ),
        (Some(-32602), None)
    );

    let mut both = only("umbrella");
    both["server.demo.enabled"] = off_for("umbrella");
    rig.flags(&both);
    until("a switch", async || sees(&umbrella).await.is_empty()).await;
    assert_eq!(call(&umbrella, "demo_list_orders").await, Some(-32602));
    assert_eq!(sees(&acme).await, ["demo_list_orders"]);

    // Without the flag that they read the policies can't be used, and everything stays.
    rig.flags(&json!({"another": off_for("x")}));
    rig.gateway
        .logged(&["the new policies are refused", "echo-for"], SOON)
        .await
        .unwrap();
    assert!(sees(&umbrella).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_is_refused_whole_and_the_old_flags_stay() {
    let mut rig = rig(&json!({"tool.demo_echo.enabled": off_for("acme")}), None).await;
    let acme = rig.caller("acme", &[]);
    until("the list", async || !sees(&acme).await.is_empty()).await;
    assert_eq!(call(&acme, "demo_echo").await, Some(-32602));
    let bad = r#"{"flags": {
      "tool.demo_echo.enabled": {"state": "ENABLED", "variants": {"on": true, "off": false},
        "defaultVariant": "on", "metadata": {"owner": "ops", "expires": "2999-01-01"}},
      "x": {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": "a"}}}"#;
    rig.text(bad);
    let told = [
        "the new flags are refused",
        "flags.json:4:12: /flags/x/metadata: it has no owner",
    ];
    rig.gateway.logged(&told, SOON).await.unwrap();
    assert_eq!(call(&acme, "demo_echo").await, Some(-32602));
    rig.text("{");
    rig.gateway
        .logged(&["this is no JSON"], SOON)
        .await
        .unwrap();
    assert_eq!(call(&acme, "demo_echo").await, Some(-32602));
    // A switch that can't be evaluated is off, and an expired one is told of.
    let mut broken = off_for("umbrella");
    broken["targeting"] = json!({"var": "tenant"});
    broken["metadata"] = json!({"expires": "2020-01-01"});
    rig.flags(&json!({"tool.demo_echo.enabled": broken}));
    rig.gateway
        .logged(&["a flag has expired"], SOON)
        .await
        .unwrap();
    assert_eq!(call(&acme, "demo_echo").await, Some(-32602));
    rig.gateway
        .logged(&["a kill switch can't be evaluated"], SOON)
        .await
        .unwrap();
    let metrics = rig
        .gateway
        .get("/metrics")
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        metrics.contains("mcp_flag_expired{flag=\"tool.demo_echo.enabled\"} 1"),
        "{metrics}"
    );
    let failed = "mcp_switched_off_total{flag=\"tool.demo_echo.enabled\",reason=\"failed\"} 1";
    assert!(metrics.contains(failed), "{metrics}");
}
