//! Who changes something by a tool sees no answer of before.

use std::time::Duration;

use mcp_ultra_testkit::raw::modern::Caller;
use serde_json::json;

use super::{
    PRIVATE, PUBLIC,
    rig::{Answers, Rig, metric, server, yaml},
    site::{ANNOUNCED, Site, apart_from_ana, other_than, reading},
};
use crate::gateway_rig::{gateway, modern_tool, text};

const CALLS: usize = 40;

/// Calls a tool, whatever comes of it.
async fn call(caller: &Caller, tool: &str) {
    let params = json!({ "name": tool, "arguments": {} });
    caller.call("tools/call", params).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_may_change_something_ends_what_its_caller_could_see_it_by() {
    let stays = "cache: { ttl: { tools: 10m }, writes_outdate: false }\n";
    let usual = "cache: { ttl: { tools: 10m } }\n";
    for (general, of_server, ends) in [
        (usual, "", true),
        (usual, ", cache: { writes_outdate: false }", false),
        (stays, "", false),
        (stays, ", cache: { writes_outdate: true }", true),
    ] {
        let server = server(600_000, PRIVATE).await;
        let of_server = format!(", read_only: [looks]{of_server}");
        let gateway = gateway(&yaml(&server, general, &of_server)).await;
        let caller = gateway.caller();
        let before = reading(&caller).await;
        let looked = modern_tool(&caller, "looks", json!({})).await;
        // One that only looks ends nothing.
        assert_eq!(reading(&caller).await, before);
        // One that works, one that fails, and one that asks for input first.
        for tool in ["sets", "fails", "asks"] {
            let before = reading(&caller).await;
            call(&caller, tool).await;
            assert_eq!(
                reading(&caller).await != before,
                ends,
                "{tool}: {general}{of_server}"
            );
        }
        let again = modern_tool(&caller, "looks", json!({})).await;
        assert_eq!(text(&again) != text(&looked), ends, "{general}{of_server}");
    }
}

/// Also where nothing was read of the server before, so that nothing could have been kept of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_first_read_while_a_call_changes_something_is_of_before() {
    let server = server(600_000, PRIVATE).await;
    let gateway = gateway(&yaml(&server, "", "")).await;
    let caller = gateway.caller();
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        reading(&caller).await
    };
    let ((), before) = tokio::join!(call(&caller, "takes"), meanwhile);
    let after = reading(&caller).await;
    assert_ne!(after, before);
    assert_eq!(reading(&caller).await, after);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_to_others_alone_stays_and_what_is_everyones_does_not() {
    for (scope, stays) in [(PRIVATE, true), (PUBLIC, false)] {
        let rig = Rig::start(600_000, scope, "", "").await;
        let bea = apart_from_ana(rig.issuer());
        let [ana, bea, other] = [("acme", "ana"), ("acme", &bea), ("other", "ana")]
            .map(|(tenant, name)| rig.caller(tenant, name));
        let hers = reading(&ana).await;
        let (beas, others) = (reading(&bea).await, reading(&other).await);
        call(&ana, "sets").await;
        assert_eq!(reading(&bea).await == beas, stays, "{scope}");
        assert_ne!(reading(&ana).await, hers, "{scope}");
        assert_eq!(reading(&other).await, others, "{scope}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn through_another_gateway_it_is_seen_as_soon_as_that_is_told() {
    for scope in [PRIVATE, PUBLIC] {
        let site = Site::start(Answers::new(600_000, scope), "", "").await;
        let (here, there) = (
            site.caller(&site.here, "acme", "ana"),
            site.caller(&site.there, "acme", "ana"),
        );
        for _ in 0..3 {
            let (own, elsewhere) = (reading(&here).await, reading(&there).await);
            call(&here, "sets").await;
            assert_ne!(reading(&here).await, own, "{scope}");
            let took = other_than(&there, &elsewhere).await;
            println!("{scope}: a change was seen elsewhere after {took:?}");
            assert!(took < ANNOUNCED, "{took:?}");
        }
        // Who comes later finds nothing of before in Redis: it was never told.
        let before = reading(&here).await;
        call(&there, "sets").await;
        let fresh = site.another().await;
        let now = reading(&site.caller(&fresh, "acme", "ana")).await;
        assert_ne!(now, before, "{scope}");
    }
}

/// Others are told of many changes at once, however many calls there are.
#[tokio::test(flavor = "multi_thread")]
async fn many_changes_are_told_together() {
    let site = Site::start(Answers::new(600_000, PRIVATE), "", "").await;
    let caller = site.caller(&site.here, "acme", "ana");
    reading(&caller).await;
    let sent = async || {
        let sample = r#"mcp_announcements_total{kind="answers_outdated",outcome="sent"}"#;
        metric(&site.here, sample).await
    };
    let (before, begun) = (sent().await, std::time::Instant::now());
    futures_util::future::join_all((0..CALLS).map(|_| call(&caller, "sets"))).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let told = usize::try_from(sent().await - before).unwrap();
    let pauses = usize::try_from(begun.elapsed().as_millis() / 50).unwrap() + 2;
    assert!((1..=pauses).contains(&told), "{told} of {pauses}");
    println!(
        "{CALLS} changes were told {told} times in {:?}",
        begun.elapsed()
    );
}
