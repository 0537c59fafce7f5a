//! Policies on resource templates, with a server that lists the wide one first.

use std::fs;

use mcp_ultra_testkit::scripted::{Scene, Scripted};
use serde_json::{Value, json};

use crate::{
    gateway_rates::{caller, configuration, token},
    gateway_rig::gateway,
};

const POLICIES: &str = r#"
permit(principal in Role::"clerk", action == Action::"resources/read", resource in ResourceTemplate::"db://{table}");
permit(principal in Role::"staff", action == Action::"resources/read", resource in Server::"fix");
forbid(principal, action, resource in ResourceTemplate::"db://{table}/rows/{id}") unless { principal in Role::"admin" };
"#;

/// A server with `db://{table}` and `db://{table}/rows/{id}`, in that order.
async fn database() -> Scripted {
    let modern = |rest: Value| {
        let mut result = json!({ "resultType": "complete", "ttlMs": 0, "cacheScope": "private" });
        result
            .as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        Some(Scene::Result(result.to_string()))
    };
    Scripted::start(json!([]), move |seen| match seen.rpc().as_str() {
        "server/discover" => modern(json!({
            "supportedVersions": ["2026-07-28"],
            "capabilities": { "resources": {}, "completions": {} },
            "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "scripted", "version": "0" } },
        })),
        "resources/list" => modern(json!({
            "resources": [{ "uri": "db://customers/rows/7", "name": "seven" }],
        })),
        "resources/templates/list" => modern(json!({
            "resourceTemplates": [
                { "uriTemplate": "db://{table}", "name": "table" },
                { "uriTemplate": "db://{table}/rows/{id}", "name": "row" },
            ],
        })),
        "resources/read" => {
            let uri = seen.message()["params"]["uri"].clone();
            modern(json!({ "contents": [{ "uri": uri, "text": "secret" }] }))
        }
        "completion/complete" => modern(json!({ "completion": { "values": ["customers"] } })),
        _ => None,
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_is_of_every_template_whatever_their_order() {
    let upstream = database().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.cedar");
    fs::write(&file, POLICIES).unwrap();
    let policy = format!("policy: {{ files: [\"{}\"] }}\n", file.display());
    let gateway = gateway(&configuration(&upstream.url(), &policy)).await;
    let read = async |roles: &[&str], uri: &str| {
        let caller = caller(&gateway, token("acme", "ana", roles));
        let reply = caller.call("resources/read", json!({ "uri": uri })).await;
        reply.unwrap().message.get("result").is_some()
    };
    for roles in [&["clerk"][..], &["staff"], &["staff", "admin"]] {
        assert!(read(roles, "db://customers").await, "{roles:?}");
    }
    for row in [
        "db://customers/rows/1",
        // Listed.
        "db://customers/rows/7",
        // Not by the letter of the RFC, but a server may take them for the same.
        "db://customers/rows/1?x",
        "db://customers/rows/1/",
        "db://customers/x/../rows/1",
        "DB://customers/rows/1",
    ] {
        for roles in [&["clerk"][..], &["staff"], &["clerk", "admin"]] {
            assert!(!read(roles, row).await, "{row} {roles:?}");
        }
        assert!(read(&["staff", "admin"], row).await, "{row}");
    }
    // This is a table by the RFC: what forbids rows holds for it as well.
    let encoded = "db://customers%2Frows%2F1";
    assert!(!read(&["staff"], encoded).await);
    assert!(!read(&["clerk"], encoded).await);
    assert!(read(&["clerk", "admin"], encoded).await);
    let asked = upstream.seen("resources/read");
    assert_eq!(asked.len(), 3 + 6 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_hold_for_every_spelling_and_servers_get_what_was_written() {
    let upstream = database().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.cedar");
    let policies = r#"permit(principal, action, resource);
        forbid(principal, action, resource == Resource::"db://customers");
        forbid(principal, action == Action::"completion/complete", resource == ResourceTemplate::"db://{table}");"#;
    fs::write(&file, policies).unwrap();
    let policy = format!("policy: {{ files: [\"{}\"] }}\n", file.display());
    let gateway = gateway(&configuration(&upstream.url(), &policy)).await;
    let caller = caller(&gateway, token("acme", "ana", &[]));
    let read = async |uri: &str| {
        let reply = caller.call("resources/read", json!({ "uri": uri })).await;
        reply.unwrap().message.get("result").is_some()
    };
    for spelling in ["db://customers", "DB://Customers", "db://%63ustomers"] {
        assert!(!read(spelling).await, "{spelling}");
    }
    for other in ["DB://orders/./%7e", "db://orders"] {
        assert!(read(other).await, "{other}");
        let asked = upstream.seen("resources/read");
        assert_eq!(asked.last().unwrap().message()["params"]["uri"], other);
    }
    let completes = async |template: &str| {
        let params = json!({
            "ref": { "type": "ref/resource", "uri": template },
            "argument": { "name": "table", "value": "c" },
        });
        let reply = caller.call("completion/complete", params).await;
        reply.unwrap().message.get("result").is_some()
    };
    for spelling in [
        "db://{table}",
        "DB://{table}",
        "db://%7Btable%7D",
        "db://{%74able}",
    ] {
        assert!(!completes(spelling).await, "{spelling}");
    }
    assert!(completes("db://{table}/rows/{id}").await);
}
