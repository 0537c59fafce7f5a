//! Circuit breakers are shown and forced by an operator, through the admin API and the command line.

use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::{Value, json};

use super::cli::{command, finish};
use crate::gateway_admin::{Rig, rig_with};
use crate::gateway_rig::modern_tool;

const PATH: &str = "/api/v1/breakers/fix";

/// Why an upstream failed a call; empty where it did not.
async fn called(rig: &Rig) -> String {
    let token = rig.token("acme", "ana", &[]);
    let mut caller = rig.gateway.caller();
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    caller.extra_headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
    let reply = modern_tool(&caller, "test_simple_text", json!({})).await;
    let kind = reply.message["error"]["data"]["kind"].as_str();
    kind.unwrap_or_default().to_owned()
}

async fn shown(rig: &Rig, token: &str) -> (Value, String) {
    let answer = rig.ask(token, Method::GET, PATH).send().await;
    assert_eq!(answer.status, 200);
    let tag = answer.header("etag").unwrap().to_owned();
    (answer.json().await.unwrap(), tag)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_forces_a_breaker() {
    let rig = rig_with("", "", &[]).await;
    let operator = rig.token("acme", "olga", &["operator"]);
    assert_eq!(called(&rig).await, "");
    let (view, tag) = shown(&rig, &operator).await;
    assert_eq!(view["state"], "closed");
    assert_eq!((&view["calls"], &view["forced"]), (&json!(1), &Value::Null));
    let force = |to: Value, tag: &str, query: &str| {
        let ask = rig.ask(&operator, Method::PUT, &format!("{PATH}{query}"));
        ask.with("if-match", tag).json(&json!({ "forced": to }))
    };
    // Nothing is done by a dry run.
    let dry = force(json!("open"), &tag, "?dry_run=true").send().await;
    assert_eq!(dry.status, 200);
    assert_eq!(called(&rig).await, "");
    let forced = force(json!("open"), &tag, "").send().await;
    assert_eq!(forced.status, 200);
    let view: Value = forced.json().await.unwrap();
    assert_eq!(
        (&view["state"], &view["forced"]),
        (&json!("open"), &json!("open"))
    );
    assert_eq!(called(&rig).await, "circuit_open");
    // Who has read what it was before changes nothing; nor is it guessed what was meant.
    force(Value::Null, &tag, "").problem(412).await;
    for body in [
        json!({}),
        json!({ "forced": "ajar" }),
        json!({ "forced": "open", "for": 5 }),
    ] {
        let ask = rig.ask(&operator, Method::PUT, PATH);
        let ask = ask.with("if-match", "*").json(&body);
        ask.problem(400).await;
    }
    let other = rig.ask(&operator, Method::GET, "/api/v1/breakers/other");
    other.problem(404).await;
    // A tenant's administrator is not asked.
    let tenant = rig.token("acme", "tim", &["tenant-admin"]);
    let ask = rig.ask(&tenant, Method::PUT, PATH).with("if-match", "*");
    ask.json(&json!({ "forced": null })).problem(403).await;
    assert_eq!(called(&rig).await, "circuit_open");
    let (_, tag) = shown(&rig, &operator).await;
    assert_eq!(force(Value::Null, &tag, "").send().await.status, 200);
    assert_eq!(called(&rig).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_does_it_too() {
    let rig = rig_with("", "", &[]).await;
    let operator = rig.token("acme", "olga", &["operator"]);
    let run = async |arguments: &[&str]| {
        let mut command = command(&[&["breaker"], arguments, &["--admin", &rig.admin]].concat());
        command.env("MCP_ULTRA_TOKEN", &operator);
        finish(command).await
    };
    let listed = run(&["list"]).await;
    assert!(
        listed.out.starts_with("SERVER") && listed.out.contains("fix"),
        "{}",
        listed.out
    );
    let forced = run(&["force", "fix", "open"]).await;
    assert_eq!(
        forced.out.trim_end(),
        "The circuit breaker of fix is open, forced now."
    );
    assert_eq!(called(&rig).await, "circuit_open");
    let listed = run(&["list", "--json"]).await;
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(listed[0]["forced"], "open");
    let auto = run(&["force", "fix", "auto"]).await;
    assert_eq!(
        auto.out.trim_end(),
        "The circuit breaker of fix is closed now."
    );
    assert_eq!(called(&rig).await, "");
    let unknown = run(&["force", "other", "open"]).await;
    assert_ne!(unknown.code, 0);
    assert!(
        unknown.err.contains("no server of that name"),
        "{}",
        unknown.err
    );
}
