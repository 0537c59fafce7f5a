use std::{collections::BTreeSet, env, fs, path::Path};

use mcp_ultra_control::api;
use serde_json::Value;

#[test]
fn the_committed_description_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/openapi.json");
    let made = api::description();
    if env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == made,
        "docs/reference/openapi.json is out of date; run UPDATE_REFERENCE=1 cargo test -p mcp-ultra-control"
    );
}

#[test]
fn every_operation_is_described_in_full() {
    let description: Value = serde_json::from_str(&api::description()).unwrap();
    assert_eq!(description["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        assert!(path.starts_with("/api/v1/"), "{path}");
        for (method, operation) in item.as_object().unwrap() {
            let at = format!("{method} {path}");
            assert!(operation["summary"].is_string(), "{at}");
            assert!(
                ids.insert(operation["operationId"].as_str().unwrap().to_owned()),
                "{at}"
            );
            if path.ends_with("/openapi.json") {
                continue;
            }
            assert!(operation["security"][0].get("bearer").is_some(), "{at}");
            let responses = &operation["responses"];
            assert!(
                responses["default"]["content"]["application/problem+json"].is_object(),
                "{at}"
            );
            let named = |name: &str| {
                let parameters = operation["parameters"].as_array().unwrap();
                parameters.iter().any(|parameter| parameter["name"] == name)
            };
            if method != "get" {
                assert!(named("dry_run"), "{at}");
                assert!(named("If-Match") || named("Idempotency-Key"), "{at}");
            }
        }
    }
    assert_eq!(ids.len(), 41);
}
