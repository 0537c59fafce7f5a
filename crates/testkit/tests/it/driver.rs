//! The conformance client against a stand-in for the gateway: a script that reads the configuration
//! it is given, and says that it serves at the address of the upstream itself.

use std::path::Path;

use mcp_ultra_testkit::{
    driver::{Setting, run},
    fixture::{Era, Options, http as fixture},
};
use serde_json::Value;

const STAND_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/stand-in-gateway.sh");

fn setting(server: String, scenario: &str, gateway: &Path) -> Setting {
    Setting {
        server,
        scenario: scenario.to_owned(),
        modern: true,
        version: "2026-07-28".to_owned(),
        context: Value::Null,
        gateway: Some(gateway.to_owned()),
    }
}

#[tokio::test]
async fn the_gateway_is_started_configured_and_spoken_to() {
    let gateway = Path::new(STAND_IN);
    let upstream = fixture::start(Options::new(Era::Modern))
        .await
        .expect("a fixture");
    let played = run(&setting(
        upstream.url(),
        "json-schema-ref-no-deref",
        gateway,
    ))
    .await;
    played.expect("the scenario is played");
    let unknown = run(&setting(upstream.url(), "no-such-scenario", gateway)).await;
    let unknown = unknown.expect_err("not a scenario").to_string();
    assert!(unknown.contains("no-such-scenario"), "{unknown}");
}

#[tokio::test]
async fn a_gateway_that_does_not_start_is_told_with_what_it_said() {
    let server = "http://127.0.0.1:9/mcp".to_owned();
    let setting = setting(server, "tools_call", Path::new("/bin/false"));
    let failed = run(&setting).await.expect_err("it ended").to_string();
    assert!(failed.contains("/bin/false ended"), "{failed}");
}
