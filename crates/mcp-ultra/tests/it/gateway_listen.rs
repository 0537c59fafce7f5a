//! `subscriptions/listen`: what a modern client hears of changes at all upstreams.

use std::time::Duration;

use mcp_ultra_testkit::{
    fixture::Era,
    gateway::Gateway,
    raw::{Events, modern::Caller},
    schema::Revision,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::gateway_rig::{
    SOON, children, fixture, gateway, judge, legacy, legacy_tool, marker, modern, modern_tool,
    names, stdio_server, until,
};

const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
const WATCHED: &str = "test://watched-resource";

/// The next message of a stream, which must be a valid one.
async fn next(events: &mut Events) -> Value {
    let message = tokio::time::timeout(SOON, events.message()).await;
    let message = message.unwrap().unwrap().unwrap();
    judge(Revision::V2026_07_28, "subscriptions/listen", &message);
    message
}

async fn quiet(events: &mut Events) -> bool {
    let event = events.next_within(Duration::from_millis(400)).await;
    event.unwrap().is_none()
}

/// An open stream with the id of its subscription and what was agreed to.
async fn listen(caller: &Caller, wanted: Value) -> (Events, Value, Value) {
    let mut events = caller.listen(wanted).await.unwrap();
    let first = next(&mut events).await;
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    let id = first["params"]["_meta"][SUBSCRIPTION].clone();
    assert!(!id.is_null(), "{first}");
    // The fixture agrees to a subscription a moment before it has it.
    tokio::time::sleep(Duration::from_millis(150)).await;
    (events, id, first["params"]["notifications"].clone())
}

/// One modern and one legacy upstream under prefixes.
async fn two() -> (Gateway, Vec<mcp_ultra_testkit::fixture::http::Running>) {
    let upstreams = vec![fixture(Era::Modern).await, fixture(Era::Legacy).await];
    let yaml = format!(
        "servers:\n  - {{ name: new, url: \"{}\" }}\n  - {{ name: old, url: \"{}\" }}\n",
        upstreams[0].url(),
        upstreams[1].url()
    );
    (gateway(&yaml).await, upstreams)
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_all_upstreams_come_on_one_stream_under_public_names() {
    let (gateway, _upstreams) = two().await;
    let caller = gateway.caller();
    let watched = [format!("new+{WATCHED}"), format!("old+{WATCHED}")];
    let (mut events, id, agreed) = listen(
        &caller,
        json!({ "toolsListChanged": true, "resourceSubscriptions": watched }),
    )
    .await;
    let head = events.answer();
    assert_eq!(head.status, 200);
    assert_eq!(head.header("x-accel-buffering"), Some("no"));
    assert!(head.header("cache-control").unwrap().contains("no-cache"));
    assert_eq!(agreed["toolsListChanged"], true);
    let mut uris: Vec<&str> = agreed["resourceSubscriptions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|uri| uri.as_str().unwrap())
        .collect();
    uris.sort_unstable();
    assert_eq!(uris, watched);
    for (name, uri) in ["new", "old"].iter().zip(&watched) {
        modern_tool(
            &caller,
            &format!("{name}_test_trigger_resource_update"),
            json!({}),
        )
        .await;
        let update = next(&mut events).await;
        assert_eq!(update["method"], "notifications/resources/updated");
        assert_eq!(update["params"]["uri"], **uri);
        assert_eq!(update["params"]["_meta"][SUBSCRIPTION], id);
        modern_tool(
            &caller,
            &format!("{name}_test_trigger_tool_change"),
            json!({}),
        )
        .await;
        let changed = next(&mut events).await;
        assert_eq!(
            changed["method"], "notifications/tools/list_changed",
            "{name}"
        );
        assert_eq!(changed["params"]["_meta"][SUBSCRIPTION], id);
        // Not asked for.
        modern_tool(
            &caller,
            &format!("{name}_test_trigger_prompt_change"),
            json!({}),
        )
        .await;
        assert!(quiet(&mut events).await, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stream_hears_what_it_asked_for() {
    let (gateway, _upstreams) = two().await;
    let caller = gateway.caller();
    let (mut tools, tools_id, agreed) = listen(&caller, json!({ "toolsListChanged": true })).await;
    assert_eq!(agreed, json!({ "toolsListChanged": true }));
    let (mut prompts, prompts_id, _) = listen(&caller, json!({ "promptsListChanged": true })).await;
    assert_ne!(tools_id, prompts_id);
    let (mut nothing, _, agreed) = listen(&caller, json!({})).await;
    assert_eq!(agreed, json!({}));
    // What no upstream has can't be watched, and is not agreed to.
    let (_events, _, agreed) = listen(
        &caller,
        json!({ "resourceSubscriptions": ["nobody+test://x", "test://unknown"] }),
    )
    .await;
    assert_eq!(agreed, json!({}));
    modern_tool(&caller, "old_test_trigger_prompt_change", json!({})).await;
    let changed = next(&mut prompts).await;
    assert_eq!(changed["method"], "notifications/prompts/list_changed");
    modern_tool(&caller, "new_test_trigger_tool_change", json!({})).await;
    let changed = next(&mut tools).await;
    assert_eq!(changed["method"], "notifications/tools/list_changed");
    assert!(quiet(&mut nothing).await);
    for bad in [
        json!([]),
        json!("x"),
        json!({ "resourceSubscriptions": "x" }),
    ] {
        let reply = modern(
            &caller,
            "subscriptions/listen",
            json!({ "notifications": bad }),
        )
        .await;
        assert_eq!(reply.error_code(), Some(-32602), "{}", reply.message);
    }
    let reply = modern(&caller, "subscriptions/listen", json!({})).await;
    assert_eq!(reply.error_code(), Some(-32602), "{}", reply.message);
}

/// Streams of one principal share a session with a legacy upstream: the end of one must not end the
/// subscription of the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_takes_nothing_from_another() {
    let (gateway, _upstreams) = two().await;
    let caller = gateway.caller();
    for name in ["new", "old"] {
        let wanted = json!({ "resourceSubscriptions": [format!("{name}+{WATCHED}")] });
        let (first, _, agreed) = listen(&caller, wanted.clone()).await;
        assert_eq!(agreed, wanted);
        let (mut second, _, agreed) = listen(&caller, wanted.clone()).await;
        assert_eq!(agreed, wanted);
        drop(first);
        until("the end of the first stream", async || {
            streams(&gateway).await == 1
        })
        .await;
        // Time for what ends with it.
        assert!(quiet(&mut second).await);
        let trigger = format!("{name}_test_trigger_resource_update");
        modern_tool(&caller, &trigger, json!({})).await;
        let update = next(&mut second).await;
        assert_eq!(update["params"]["uri"], wanted["resourceSubscriptions"][0]);
        drop(second);
        until("the end of the second stream", async || {
            streams(&gateway).await == 0
        })
        .await;
    }
}

/// How many streams the gateway has open.
async fn streams(gateway: &Gateway) -> usize {
    let metrics = gateway.get("/metrics").await.unwrap().text().await.unwrap();
    let open = metrics
        .lines()
        .find_map(|line| line.strip_prefix("mcp_streams "));
    open.unwrap().parse().unwrap()
}

/// Nor from a session, where all callers share the one with the upstream.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_takes_nothing_from_a_session_beside_it() {
    let upstream = fixture(Era::Legacy).await;
    let yaml = format!(
        "servers:\n  - {{ name: fix, url: \"{}\", prefix: none, shared: true }}\n",
        upstream.url()
    );
    let gateway = gateway(&yaml).await;
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    legacy(&session, "resources/subscribe", json!({ "uri": WATCHED })).await;
    let wanted = json!({ "resourceSubscriptions": [WATCHED] });
    let (stream, _, agreed) = listen(&gateway.caller(), wanted.clone()).await;
    assert_eq!(agreed, wanted);
    drop(stream);
    until("the end of the stream", async || {
        streams(&gateway).await == 0
    })
    .await;
    let mut told = session.stream(None).await.unwrap().events();
    assert!(quiet(&mut told).await);
    legacy_tool(&session, "test_trigger_resource_update", json!({})).await;
    let update = tokio::time::timeout(SOON, told.message()).await;
    let update = update.unwrap().unwrap().unwrap();
    judge(Revision::V2025_11_25, "", &update);
    assert_eq!(update["params"]["uri"], WATCHED);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_a_stdio_upstream_are_heard() {
    for era in ["modern", "legacy"] {
        let server = stdio_server("local", era, &marker("listen"), "], prefix: none");
        let gateway = gateway(&format!("servers:\n{server}")).await;
        let caller = gateway.caller();
        let wanted = json!({ "resourceSubscriptions": [WATCHED] });
        let (mut events, _, agreed) = listen(&caller, wanted.clone()).await;
        assert_eq!(agreed, wanted, "{era}");
        // The same principal with the same capabilities: the same process. It may agree to a
        // subscription a moment before it has it.
        let begun = std::time::Instant::now();
        let update = loop {
            assert!(begun.elapsed() < SOON, "{era}: nothing heard");
            modern_tool(&caller, "test_trigger_resource_update", json!({})).await;
            let event = events.next_within(Duration::from_secs(1)).await.unwrap();
            if let Some(event) = event {
                break serde_json::from_str::<Value>(&event.data).unwrap();
            }
        };
        judge(Revision::V2026_07_28, "", &update);
        assert_eq!(update["params"]["uri"], WATCHED, "{era}");
    }
}

/// A modern program tells of changed lists on a stream that the gateway has to open, and that keeps
/// no program running.
#[tokio::test(flavor = "multi_thread")]
async fn changed_lists_of_a_program_are_heard() {
    for (era, rounds) in [("modern", 2), ("legacy", 1)] {
        let marker = marker(&format!("lists-{era}"));
        let rest = "], prefix: none, shared: true, idle_stop: 2s";
        let server = stdio_server("local", era, &marker, rest);
        let gateway = gateway(&format!("servers:\n{server}")).await;
        let caller = gateway.caller();
        let (mut events, _, _) = listen(&caller, json!({ "toolsListChanged": true })).await;
        for round in 1..=rounds {
            // In the second round another process is the one that is listened to.
            let change = modern_tool(&caller, "test_trigger_tool_change", json!({})).await;
            assert!(change.error_code().is_none(), "{}", change.message);
            let begun = std::time::Instant::now();
            while events
                .next_within(Duration::from_secs(1))
                .await
                .unwrap()
                .is_none()
            {
                assert!(begun.elapsed() < SOON, "{era} {round}: nothing heard");
                modern_tool(&caller, "test_trigger_tool_change", json!({})).await;
            }
            let begun = std::time::Instant::now();
            while round < rounds && !children(&marker).is_empty() {
                assert!(
                    begun.elapsed() < 2 * SOON,
                    "{era} {round}: it runs for ever"
                );
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            while events
                .next_within(Duration::from_millis(100))
                .await
                .unwrap()
                .is_some()
            {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_comes_or_goes_is_a_changed_list() {
    let (gateway, mut upstreams) = two().await;
    let caller = gateway.caller();
    let (mut events, _, _) = listen(&caller, json!({ "toolsListChanged": true })).await;
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    let mut legacy_events = session.stream(None).await.unwrap().events();
    let yaml = format!(
        "servers:\n  - {{ name: new, url: \"{}\" }}\n",
        upstreams[0].url()
    );
    gateway.reconfigure(&yaml).unwrap();
    let changed = next(&mut events).await;
    assert_eq!(changed["method"], "notifications/tools/list_changed");
    let told = tokio::time::timeout(SOON, legacy_events.message())
        .await
        .unwrap();
    let told = told.unwrap().unwrap();
    judge(Revision::V2025_11_25, "", &told);
    let tools = names(&modern(&caller, "tools/list", json!({})).await, "tools");
    assert!(
        tools.iter().all(|name| name.starts_with("new_")),
        "{tools:?}"
    );
    let gone = legacy_tool(&session, "old_test_simple_text", json!({})).await;
    assert_eq!(gone.error_code(), Some(-32602), "{}", gone.message);
    drop(upstreams.pop());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_a_result_when_the_gateway_stops() {
    let (mut gateway, _upstreams) = two().await;
    let caller = gateway.caller();
    let wanted =
        json!({ "toolsListChanged": true, "resourceSubscriptions": [format!("old+{WATCHED}")] });
    let (mut events, id, _) = listen(&caller, wanted).await;
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    let mut legacy_events = session.stream(None).await.unwrap().events();
    gateway.signal(Signal::SIGTERM).unwrap();
    let last = next(&mut events).await;
    assert_eq!(last["result"]["resultType"], "complete", "{last}");
    assert_eq!(last["result"]["_meta"][SUBSCRIPTION], id);
    assert_eq!(events.message().await.unwrap(), None);
    assert_eq!(legacy_events.message().await.unwrap(), None);
    let status = gateway.wait(SOON).await.unwrap();
    assert!(status.success(), "{status}: {}", gateway.output());
}

/// A comment keeps a quiet stream open on its way through proxies.
#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_stream_is_kept_alive() {
    let (gateway, _upstreams) = two().await;
    let caller = gateway.caller();
    let (mut events, _, _) = listen(&caller, json!({ "toolsListChanged": true })).await;
    let mut waited = Duration::ZERO;
    while events.comments() == 0 {
        assert!(waited < Duration::from_secs(25), "no comment in {waited:?}");
        let step = Duration::from_millis(500);
        assert_eq!(events.next_within(step).await.unwrap(), None);
        waited += step;
    }
}
