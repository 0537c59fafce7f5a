//! Upstreams that are restarted, replaced or restarted in another era, and programs that misbehave
//! on their line: calls work again without a restart of the gateway, and others are not disturbed.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use mcp_ultra_testkit::{
    fixture::{Era, http},
    gateway::Gateway,
    raw::Reply,
};
use serde_json::json;

use crate::gateway_rig::{
    SOON, Server, fixture, free_address, gateway, legacy, legacy_tool, modern, modern_tool, names,
    only, text, until,
};

fn works(reply: &Reply) -> bool {
    reply.error_code().is_none() && text(reply).starts_with("This is")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_was_restarted_is_used_again() {
    for era in [Era::Legacy, Era::Modern] {
        let address = free_address();
        let server = Server::start(address, era).await;
        let gateway = gateway(&only(&http::url(address), "")).await;
        let caller = gateway.caller();
        let session = gateway.session("2025-11-25", json!({})).await.unwrap();
        assert!(works(
            &modern_tool(&caller, "test_simple_text", json!({})).await
        ));
        assert!(works(
            &legacy_tool(&session, "test_simple_text", json!({})).await
        ));
        server.end().await;
        let server = Server::start(address, era).await;
        // It knows nothing of the sessions that were open with the one before.
        until("a call of a modern client after a restart", async || {
            works(&modern_tool(&caller, "test_simple_text", json!({})).await)
        })
        .await;
        until("a call of a legacy client after a restart", async || {
            works(&legacy_tool(&session, "test_simple_text", json!({})).await)
        })
        .await;
        server.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_came_back_in_another_era_is_found_out() {
    for (before, after) in [(Era::Legacy, Era::Modern), (Era::Modern, Era::Legacy)] {
        let address = free_address();
        let server = Server::start(address, before).await;
        let gateway = gateway(&only(&http::url(address), "")).await;
        let caller = gateway.caller();
        let session = gateway.session("2025-11-25", json!({})).await.unwrap();
        assert!(works(
            &modern_tool(&caller, "test_simple_text", json!({})).await
        ));
        assert!(works(
            &legacy_tool(&session, "test_simple_text", json!({})).await
        ));
        server.end().await;
        let server = Server::start(address, after).await;
        for _ in 0..3 {
            until(
                &format!("calls of both eras: {before:?} to {after:?}"),
                async || {
                    works(&modern_tool(&caller, "test_simple_text", json!({})).await)
                        && works(&legacy_tool(&session, "test_simple_text", json!({})).await)
                },
            )
            .await;
        }
        server.end().await;
    }
}

/// Two clients are asked at the same moment: each answer reaches the call that it is for, and an
/// answer from another session reaches none.
#[tokio::test(flavor = "multi_thread")]
async fn answers_reach_the_call_of_their_own_session_only() {
    for era in [Era::Legacy, Era::Modern] {
        let upstream = fixture(era).await;
        let gateway = gateway(&only(&upstream.url(), "")).await;
        let able = json!({ "elicitation": {} });
        let one = gateway.session("2025-11-25", able.clone()).await.unwrap();
        let two = gateway.session("2025-11-25", able).await.unwrap();
        let params = json!({ "name": "test_elicitation", "arguments": {} });
        let (_, first) = one.send("tools/call", params.clone()).await.unwrap();
        let (_, second) = two.send("tools/call", params).await.unwrap();
        let (mut first, mut second) = (first.events(), second.events());
        let asked_one = first.message().await.unwrap().unwrap();
        let asked_two = second.message().await.unwrap().unwrap();
        let said = |who: &str| {
            Some(
                json!({ "action": "accept", "content": { "username": who, "email": "a@example.com" } }),
            )
        };
        // The wrong session answers first, under the id of the other one's question and its own.
        for asked in [&asked_one, &json!({ "id": 12345 })] {
            let mut foreign = asked.clone();
            if asked["id"] == asked_two["id"] {
                foreign["id"] = json!(999);
            }
            assert_eq!(two.respond(&foreign, said("intruder")).await.unwrap(), 202);
        }
        two.respond(&asked_two, said("two")).await.unwrap();
        one.respond(&asked_one, said("one")).await.unwrap();
        let answer_one = first.message().await.unwrap().unwrap().to_string();
        let answer_two = second.message().await.unwrap().unwrap().to_string();
        assert!(
            answer_one.contains("one") && !answer_one.contains("intruder"),
            "{answer_one}"
        );
        assert!(
            answer_two.contains("two") && !answer_two.contains("intruder"),
            "{answer_two}"
        );
    }
}

/// A program that speaks MCP well enough to be listed; a call of its tool runs `misbehave`.
fn program(folder: &Path, name: &str, misbehave: &str) -> String {
    let discover = r#"{"resultType":"complete","ttlMs":0,"cacheScope":"private","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}"#;
    let tools = r#"{"resultType":"complete","ttlMs":0,"cacheScope":"private","tools":[{"name":"run","inputSchema":{"type":"object"}}]}"#;
    // One passes over what it does not know, which no server should.
    let initialize = if name == "mute" {
        ":".to_owned()
    } else {
        let error = r#"{"code":-32022,"message":"no","data":{"supported":["2026-07-28"]}}"#;
        format!(r#"printf '{{"jsonrpc":"2.0","id":%s,"error":{error}}}\n' "$id""#)
    };
    let script = format!(
        r#"#!/bin/sh
answer() {{ printf '{{"jsonrpc":"2.0","id":%s,"result":%s}}\n' "$id" "$1"; }}
while read -r line; do
  id=$(printf '%s' "$line" | sed 's/.*"id":\([0-9]*\).*/\1/')
  case "$line" in
    *'"server/discover"'*) answer '{discover}' ;;
    *'"tools/list"'*) answer '{tools}' ;;
    *'"initialize"'*) {initialize} ;;
    *'"tools/call"'*) {misbehave} ;;
  esac
done
"#
    );
    let path = folder.join(name);
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let never = ["wrong-id", "silent"].contains(&name);
    let timeout = if never { ", timeout: 3s" } else { "" };
    format!(
        "  - {{ name: {name}, command: \"{}\"{timeout} }}\n",
        path.display()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_misbehave_on_their_line_are_clean_errors() {
    let folder = tempfile::tempdir().unwrap();
    let good = r#"answer '{"resultType":"complete","content":[{"type":"text","text":"good"}]}'"#;
    let huge = r#"printf '{"jsonrpc":"2.0","id":%s,"result":{"x":"' "$id"; head -c 3000000 /dev/zero | tr '\0' x; echo '"}}'"#;
    let mut yaml = "limits: { call_timeout: 60s, result: 1MiB }\nservers:\n".to_owned();
    for (name, misbehave, ..) in [
        (
            "garbage",
            &*format!("echo 'Listening on port 3000'; printf '\\377\\376{{{{\\n'; {good}"),
        ),
        ("wrong-id", "id=4711; answer '{}'"),
        ("silent", ":"),
        ("ends", "exit 3"),
        ("huge", huge),
        (
            "stderr",
            &*format!("head -c 300000 /dev/zero | tr '\\0' x >&2; {good}"),
        ),
        ("mute", good),
        ("good", good),
    ] {
        yaml += &program(folder.path(), name, misbehave);
    }
    let mut gateway: Gateway = gateway(&yaml).await;
    let caller = gateway.caller();
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    let listed = names(&modern(&caller, "tools/list", json!({})).await, "tools");
    assert_eq!(listed.len(), 8, "{listed:?}");
    let both = async |name: &str, expected: Result<&str, &str>| {
        let tool = format!("{name}_run");
        let (new, old) = tokio::join!(
            modern_tool(&caller, &tool, json!({})),
            legacy_tool(&session, &tool, json!({})),
        );
        for reply in [new, old] {
            match expected {
                Ok(said) => assert_eq!(text(&reply), said, "{name}"),
                Err(kind) => {
                    let error = &reply.message["error"]["data"];
                    assert_eq!(error["kind"], kind, "{name}: {}", reply.message);
                }
            }
        }
    };
    tokio::join!(
        both("garbage", Ok("good")),
        both("wrong-id", Err("timeout")),
        both("silent", Err("timeout")),
        both("ends", Err("closed")),
        both("huge", Err("too_large")),
        both("stderr", Ok("good")),
        both("mute", Ok("good")),
        both("good", Ok("good")),
    );
    both("good", Ok("good")).await;
    assert_eq!(gateway.status().unwrap(), None, "{}", gateway.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_does_not_start_leaves_the_rest_working() {
    let upstream = fixture(Era::Dual).await;
    let yaml = format!(
        "servers:\n  - {{ name: up, url: \"{}\" }}\n  - {{ name: missing, command: \"/no/such/program\" }}\n  - {{ name: ends, command: \"false\" }}\n",
        upstream.url()
    );
    let gateway = gateway(&yaml).await;
    let caller = gateway.caller();
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    for name in ["missing_x", "ends_x"] {
        let call = tokio::time::timeout(SOON, modern_tool(&caller, name, json!({})));
        let reply = call.await.unwrap();
        let error = &reply.message["error"];
        assert_eq!(error["data"]["kind"], "unreachable", "{name}: {error}");
    }
    assert!(works(
        &legacy_tool(&session, "up_test_simple_text", json!({})).await
    ));
    let tools = legacy(&session, "tools/list", json!({})).await;
    let marked = &tools.result()["_meta"]["io.github.vertikon.mcp-ultra/unavailable"];
    assert_eq!(*marked, json!(["missing", "ends"]));
}
