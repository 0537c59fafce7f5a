//! What happens while the gateway is told to end: nothing of what it has begun is left without a word, and what
//! it still takes goes by what is in force then.

use std::{
    fs,
    time::{Duration, Instant},
};

use mcp_ultra_testkit::{fixture::Era, stores::Fault};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::gateway_rig::{
    SOON, children, fixture, gateway, legacy_tool, marker, modern_tool, only, stdio_server, text,
    until,
};

/// A legacy client can't come back to its call, and learns so from the call itself; what a modern one could come
/// back to is counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_for_a_person_is_told_before_the_deadline() {
    let rest = "server: { shutdown: { drain_delay: 0s, drain_deadline: 2s } }";
    for era in [Era::Legacy, Era::Modern] {
        let upstream = fixture(era).await;
        let mut gateway = gateway(&only(&upstream.url(), rest)).await;
        let able = json!({ "elicitation": {} });
        let session = gateway.session("2025-11-25", able).await.unwrap();
        let params = json!({ "name": "test_elicitation", "arguments": {} });
        let (id, response) = session.send("tools/call", params).await.unwrap();
        let mut events = response.events();
        let asked = events.message().await.unwrap().unwrap();
        assert_eq!(asked["method"], "elicitation/create");
        let parked = modern_tool(&gateway.caller(), "test_elicitation", json!({})).await;
        assert_eq!(parked.result()["resultType"], "input_required");
        gateway.signal(Signal::SIGTERM).unwrap();
        let told = tokio::time::timeout(SOON, events.message()).await.unwrap();
        let told = told.unwrap().unwrap_or_default();
        assert_eq!(told["id"], id, "{told}");
        assert_eq!(told["error"]["code"], -32603, "{told}");
        assert_eq!(told["error"]["data"]["reason"], "lost", "{told}");
        let status = gateway.wait(SOON).await.unwrap();
        assert_eq!(status.code(), Some(0), "{}", gateway.output());
        let output = gateway.output();
        assert!(!output.contains("were cut off"), "{output}");
        // The other server keeps nothing of such a call.
        let is_parked = matches!(era, Era::Legacy);
        assert_eq!(output.contains("are given up"), is_parked, "{output}");
    }
}

/// A server that answers nothing any more is told that its session is over, and not waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_cut_off_does_not_hold_up_the_end() {
    let upstream = fixture(Era::Legacy).await;
    let url = upstream.url();
    let address = url.trim_start_matches("http://").trim_end_matches("/mcp");
    let network = Fault::before(address.parse().unwrap()).unwrap();
    let url = format!("http://{}/mcp", network.address());
    let rest = "server: { shutdown: { drain_delay: 0s } }";
    let mut gateway = gateway(&only(&url, rest)).await;
    modern_tool(&gateway.caller(), "test_simple_text", json!({})).await;
    network.lost();
    let begun = Instant::now();
    gateway.signal(Signal::SIGTERM).unwrap();
    let status = gateway.wait(SOON).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", gateway.output());
    // Kubernetes is told to wait ten seconds longer than for calls.
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_switched_off_while_a_gateway_still_takes_calls_is_off() {
    let upstream = fixture(Era::Dual).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flags.json");
    let write = |flags: Value| {
        let metadata = json!({ "owner": "ops", "expires": "2999-01-01" });
        let whole = json!({ "metadata": metadata, "flags": flags });
        fs::write(&file, whole.to_string()).unwrap();
    };
    write(json!({}));
    let rest = format!(
        "server: {{ shutdown: {{ drain_delay: 60s }} }}\nflags: {{ files: [\"{}\"] }}",
        file.display()
    );
    let mut gateway = gateway(&only(&upstream.url(), &rest)).await;
    let reply = modern_tool(&gateway.caller(), "test_simple_text", json!({})).await;
    assert!(text(&reply).starts_with("This is"));
    gateway.signal(Signal::SIGTERM).unwrap();
    until("readiness to end", async || {
        gateway.get("/readyz").await.unwrap().status == 503
    })
    .await;
    write(json!({ "server.fix.enabled": {
        "state": "ENABLED", "variants": { "on": true, "off": false }, "defaultVariant": "off",
    } }));
    until("the switch", async || {
        let params = json!({ "name": "test_simple_text", "arguments": {} });
        let reply = gateway.caller().call("tools/call", params).await;
        reply.unwrap().error_code() == Some(-32602)
    })
    .await;
    // The second signal ends it at once.
    gateway.signal(Signal::SIGTERM).unwrap();
    gateway.wait(SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_a_server_that_was_configured_anew_outlive_the_end_of_the_gateway_too() {
    let marker = marker("anew");
    let yaml = |timeout: &str| {
        let server = stdio_server(
            "local",
            "legacy",
            &marker,
            &format!("], timeout: {timeout}"),
        );
        format!("server: {{ shutdown: {{ drain_delay: 0s }} }}\nservers:\n{server}")
    };
    let mut gateway = gateway(&yaml("40s")).await;
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    let call = async {
        let wait = json!({ "milliseconds": 5000 });
        let reply = legacy_tool(&session, "local_test_wait", wait).await;
        assert_eq!(text(&reply), "Waited 5000 ms");
    };
    let ending = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        gateway.reconfigure(&yaml("50s")).unwrap();
        gateway
            .logged(&["the new configuration is in force"], SOON)
            .await
            .unwrap();
        gateway.signal(Signal::SIGTERM).unwrap();
    };
    tokio::join!(call, ending);
    let status = gateway.wait(SOON).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", gateway.output());
    until("the end of the child processes", async || {
        children(&marker).is_empty()
    })
    .await;
}
