//! Definitions that change after they were agreed to.

use std::fs;

use mcp_ultra_testkit::raw::{Events, modern::Caller};
use serde_json::{Value, json};

use super::{Changing, ENFORCE, Rig, tool, yaml};
use crate::{
    cli::run,
    gateway_rig::{SOON, gateway, names, until},
};

async fn heard(events: &mut Events) -> String {
    let message = tokio::time::timeout(SOON, events.message()).await;
    let message = message.unwrap().unwrap().unwrap();
    message["method"].as_str().unwrap().to_owned()
}

/// The whole answer to a call, without its id.
async fn answer(caller: &Caller, name: &str) -> (u16, Option<String>, String) {
    let params = json!({"name": name, "arguments": {}});
    let answer = caller
        .send(caller.prepare("tools/call", params))
        .await
        .unwrap();
    let media = answer.header("content-type").map(str::to_owned);
    let status = answer.status.as_u16();
    let body: Value = answer.json().await.unwrap();
    let mut body = body.as_object().unwrap().clone();
    body.remove("id");
    (
        status,
        media,
        Value::from(body).to_string().replace(name, "NAME"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_definition_is_held_back_and_comes_back() {
    let first = json!([tool("find", "Finds"), tool("send", "Sends")]);
    let mut rig = Rig::enforced(first.clone()).await;
    rig.lists(&["crm_find", "crm_send"]).await;
    let caller = rig.gateway.caller();
    let mut modern_events = caller
        .listen(json!({"toolsListChanged": true}))
        .await
        .unwrap();
    assert!(heard(&mut modern_events).await.ends_with("acknowledged"));
    let session = rig.gateway.session("2025-11-25", json!({})).await.unwrap();
    let mut legacy_events = session.stream(None).await.unwrap().events();

    rig.upstream.offer(json!([
        tool("find", "Finds"),
        tool("send", "Sends to everybody")
    ]));
    assert_eq!(
        heard(&mut modern_events).await,
        "notifications/tools/list_changed"
    );
    assert_eq!(
        heard(&mut legacy_events).await,
        "notifications/tools/list_changed"
    );
    assert_eq!(rig.listed().await, ["crm_find"]);
    let reply = session.call("tools/list", json!({})).await.unwrap();
    assert_eq!(names(&reply, "tools"), ["crm_find"]);
    let line = rig
        .gateway
        .logged(&["nobody has agreed", "\"send\"", "changed"], SOON)
        .await
        .unwrap();
    assert!(line.contains("\"held_back\":true"), "{line}");
    assert!(!line.contains("everybody"), "{line}");
    assert_eq!(rig.standing("changed").await, Some(1));
    assert_eq!(rig.standing("approved").await, Some(1));

    // Nobody can tell it from a tool that is not there, and its server hears of neither.
    let of_held = answer(&caller, "crm_send").await;
    assert_eq!(of_held, answer(&caller, "crm_nope").await);
    assert_eq!(of_held.0, 200);
    assert!(of_held.2.contains("-32602") && of_held.2.contains("Unknown tool: NAME"));
    let error = async |name: &str| {
        let reply = session
            .call("tools/call", json!({"name": name}))
            .await
            .unwrap();
        reply.message["error"].to_string().replace(name, "NAME")
    };
    assert_eq!(error("crm_send").await, error("crm_nope").await);
    let reply = session
        .call("tools/call", json!({"name": "crm_find"}))
        .await
        .unwrap();
    assert!(reply.message.get("result").is_some(), "{}", reply.message);
    assert_eq!(rig.upstream.called(), ["find"]);

    // What was agreed to is shown again, and it is told.
    rig.upstream.offer(first);
    assert_eq!(
        heard(&mut modern_events).await,
        "notifications/tools/list_changed"
    );
    assert_eq!(
        heard(&mut legacy_events).await,
        "notifications/tools/list_changed"
    );
    assert_eq!(rig.listed().await, ["crm_find", "crm_send"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_a_definition_counts_and_its_spelling_does_not() {
    let all = [
        "title",
        "description",
        "inputSchema",
        "outputSchema",
        "annotations",
        "_meta",
        "icons",
        "x",
    ];
    let with = |at: &str, value: Value| {
        let mut one = json!({"name": format!("t_{at}"), "inputSchema": {"type": "object"}});
        one[at] = value;
        one
    };
    let first = |at: &str| match at {
        "inputSchema" | "outputSchema" => {
            json!({"type": "object", "properties": {"a": {"type": "string"}}})
        }
        "annotations" => json!({"readOnlyHint": true}),
        "icons" => json!([{"src": "https://crm.example/a.png"}]),
        "title" | "description" => json!("One"),
        _ => json!({"k": 1}),
    };
    let second = |at: &str| match at {
        "inputSchema" | "outputSchema" => {
            json!({"type": "object", "properties": {"a": {"type": "string", "description": "b"}}})
        }
        "annotations" => json!({"readOnlyHint": false}),
        "icons" => json!([{"src": "https://crm.example/b.png"}]),
        "title" | "description" => json!("Two"),
        _ => json!({"k": 2}),
    };
    let mut tools: Vec<Value> = all.iter().map(|at| with(at, first(at))).collect();
    tools.push(tool("steady", "Stays"));
    let rig = Rig::enforced(Value::from(tools)).await;
    until("all are listed", async || {
        rig.listed().await.len() == all.len() + 1
    })
    .await;
    let mut tools: Vec<Value> = all.iter().map(|at| with(at, second(at))).collect();
    // Another order of the members.
    tools
        .push(json!({"inputSchema": {"type": "object"}, "description": "Stays", "name": "steady"}));
    rig.upstream.offer(Value::from(tools));
    rig.lists(&["crm_steady"]).await;
    assert_eq!(rig.standing("changed").await, u64::try_from(all.len()).ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn warn_reports_and_off_does_nothing() {
    let hidden = "Finds. \u{E0041}\u{E0042}\u{E0043}";
    for (section, reported) in [("", true), ("pinning: { mode: off }", false)] {
        let mut rig = Rig::new(section, json!([tool("find", "Finds")])).await;
        rig.lists(&["crm_find"]).await;
        rig.upstream
            .offer(json!([tool("find", hidden), tool("new", "Is new")]));
        rig.lists(&["crm_find", "crm_new"]).await;
        let reply = rig
            .gateway
            .caller()
            .call("tools/call", json!({"name": "crm_find"}))
            .await;
        assert!(reply.unwrap().message.get("result").is_some());
        assert_eq!(rig.standing("changed").await, reported.then_some(1));
        assert_eq!(rig.standing("approved").await, reported.then_some(1));
        if reported {
            let parts = ["nobody has agreed", "\"find\"", "\"held_back\":false"];
            rig.gateway.logged(&parts, SOON).await.unwrap();
            let parts = ["something was found", "\"find\"", "invisible", "high"];
            rig.gateway.logged(&parts, SOON).await.unwrap();
            let sample = "mcp_pinning_findings{upstream=\"crm\",kind=\"invisible\"}";
            assert_eq!(rig.metric(sample).await, Some(1));
        }
        // Told once, however often it is read.
        rig.read_again().await;
        let output = rig.gateway.output();
        let told = output
            .matches("nobody has agreed to this definition")
            .count();
        assert_eq!(told, usize::from(reported), "{output}");
        assert_eq!(
            output.matches("something was found").count(),
            usize::from(reported)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_have_a_rule_of_its_own_and_rules_change_in_flight() {
    let rig = Rig::enforced(json!([tool("find", "Finds")])).await;
    rig.lists(&["crm_find"]).await;
    rig.upstream.offer(json!([tool("find", "Finds more")]));
    rig.lists(&[]).await;
    let yaml = yaml(ENFORCE, &rig.folder, &rig.upstream);
    let own = yaml.replace("name: crm,", "name: crm, pinning: warn,");
    rig.gateway.reconfigure(&own).unwrap();
    rig.lists(&["crm_find"]).await;
    rig.gateway
        .reconfigure(&own.replace("pinning: warn", "pinning: off"))
        .unwrap();
    until("nothing is compared", async || {
        rig.standing("changed").await.is_none()
    })
    .await;
    assert_eq!(rig.listed().await, ["crm_find"]);
    rig.gateway.reconfigure(&yaml).unwrap();
    rig.lists(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pins_outlive_a_restart() {
    let tools = json!([tool("find", "Finds"), tool("send", "Sends")]);
    let mut rig = Rig::enforced(tools).await;
    rig.lists(&["crm_find", "crm_send"]).await;
    let file = yaml(ENFORCE, &rig.folder, &rig.upstream);
    rig.gateway
        .signal(nix::sys::signal::Signal::SIGTERM)
        .unwrap();
    rig.gateway.wait(SOON).await.unwrap();
    // Changed while nobody looked.
    rig.upstream
        .offer(json!([tool("find", "Finds"), tool("send", "Sends more")]));
    rig.gateway = gateway(&file).await;
    rig.lists(&["crm_find"]).await;
    rig.read_again().await;
    assert_eq!(rig.listed().await, ["crm_find"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_swaps_back_and_forth_gains_nothing() {
    let (one, two) = (
        json!([tool("find", "Finds")]),
        json!([tool("find", "Steals")]),
    );
    let rig = Rig::enforced(one.clone()).await;
    rig.lists(&["crm_find"]).await;
    for _ in 0..2 {
        rig.upstream.offer(two.clone());
        rig.lists(&[]).await;
        rig.upstream.offer(json!([]));
        rig.read_again().await;
        assert_eq!(rig.listed().await, [""; 0]);
        // Gone for a while is no first sight.
        rig.upstream.offer(two.clone());
        rig.read_again().await;
        assert_eq!(rig.listed().await, [""; 0]);
        rig.upstream.offer(one.clone());
        rig.lists(&["crm_find"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_file_decides_and_is_read_again_when_it_changes() {
    let tools = json!([tool("find", "Finds"), tool("send", "Sends")]);
    let folder = tempfile::tempdir().unwrap();
    let upstream = Changing::start(tools).await;
    let lock = folder.path().join("tools.lock");
    let pin = |text: &Value| mcp_ultra_domain::pinning::fingerprint(&text.to_string());
    let find = format!(
        "servers:\n  crm:\n    find: {}\n",
        pin(&tool("find", "Finds"))
    );
    fs::write(&lock, &find).unwrap();
    let section = "pinning: { mode: enforce, lock_file: \"FOLDER/tools.lock\" }";
    let file = yaml(section, &folder, &upstream);
    let mut rig = Rig {
        gateway: gateway(&file).await,
        upstream,
        folder,
    };
    rig.lists(&["crm_find"]).await;
    assert_eq!(rig.standing("unknown").await, Some(1));
    let caller = rig.gateway.caller();
    let mut events = caller
        .listen(json!({"toolsListChanged": true}))
        .await
        .unwrap();
    assert!(heard(&mut events).await.ends_with("acknowledged"));
    let both = format!("{find}    \"send\": {}\n", pin(&tool("send", "Sends")));
    fs::write(&lock, both).unwrap();
    assert_eq!(heard(&mut events).await, "notifications/tools/list_changed");
    assert_eq!(rig.listed().await, ["crm_find", "crm_send"]);
    // One that can't be used is refused, and the old one stays.
    fs::write(&lock, "servers: { crm: { find: sha256:12 } }\n").unwrap();
    let refused = ["the new lock file is refused", "tools.lock"];
    rig.gateway.logged(&refused, SOON).await.unwrap();
    rig.read_again().await;
    assert_eq!(rig.listed().await, ["crm_find", "crm_send"]);
    // A definition that was locked and is another one now.
    fs::write(
        &lock,
        find.replace(
            &pin(&tool("find", "Finds")).to_string(),
            &pin(&json!(1)).to_string(),
        ),
    )
    .unwrap();
    rig.lists(&[]).await;
    assert_eq!(
        (rig.standing("changed").await, rig.standing("unknown").await),
        (Some(1), Some(1))
    );
    // It does not start with one that can't be used.
    fs::write(&lock, "nothing").unwrap();
    let config = rig.path("c.yaml");
    fs::write(&config, &file).unwrap();
    let failed = run(&[
        "serve",
        "--port",
        "0",
        "--config",
        &config.to_string_lossy(),
    ])
    .await;
    assert_eq!(failed.code, 2, "{}", failed.err);
    assert!(failed.err.contains("tools.lock"), "{}", failed.err);
}
