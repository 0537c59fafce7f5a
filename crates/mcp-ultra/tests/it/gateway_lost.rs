//! What outlives a session that an upstream has lost: the subscriptions that were made in it, and
//! whose it is.

use std::time::{Duration, Instant};

use mcp_ultra_testkit::{
    fixture::{Era, http},
    raw::{Events, legacy::Session},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::gateway_rig::{
    SOON, Server, children, free_address, gateway, judge, legacy, legacy_tool, marker, only,
    revision, stdio_server,
};

const WATCHED: &str = "test://watched-resource";
/// How long it may take until the gateway notices and has opened another session.
const RESTORED: Duration = Duration::from_secs(30);

/// The next message of the stream within `limit`.
async fn next_within(session: &Session, events: &mut Events, limit: Duration) -> Option<Value> {
    let event = events.next_within(limit).await.unwrap()?;
    let message = serde_json::from_str(&event.data).unwrap();
    judge(revision(session), "", &message);
    Some(message)
}

/// Calls the tool that changes the watched resource until `events` tell of a change. The first
/// one tells that a change may have been missed.
async fn heard_of_change(by: &Session, of: &Session, events: &mut Events) {
    let begun = Instant::now();
    let mut heard = 0;
    while heard < 2 {
        assert!(begun.elapsed() < RESTORED, "{heard} updates were heard");
        let trigger = json!({ "name": "test_trigger_resource_update", "arguments": {} });
        // It may be on its way up.
        drop(by.call("tools/call", trigger).await);
        while let Some(message) = next_within(of, events, Duration::from_millis(500)).await {
            assert_eq!(message["method"], "notifications/resources/updated");
            assert_eq!(message["params"]["uri"], WATCHED);
            heard += 1;
        }
    }
}

/// Nobody calls in the session that is subscribed: the gateway itself notices.
#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_outlive_a_restart_of_a_server() {
    let address = free_address();
    let server = Server::start(address, Era::Legacy).await;
    let gateway = gateway(&only(&http::url(address), "")).await;
    let one = gateway.session("2025-11-25", json!({})).await.unwrap();
    let two = gateway.session("2025-11-25", json!({})).await.unwrap();
    let mut events = one.stream(None).await.unwrap().events();
    let caller = gateway.caller();
    let wanted = json!({ "resourceSubscriptions": [WATCHED] });
    let mut listening = caller.listen(wanted).await.unwrap();
    let acknowledged = listening.message().await.unwrap().unwrap();
    let agreed = &acknowledged["params"]["notifications"];
    assert_eq!(agreed["resourceSubscriptions"], json!([WATCHED]));
    legacy(&one, "resources/subscribe", json!({ "uri": WATCHED })).await;
    server.end().await;
    let server = Server::start(address, Era::Legacy).await;
    heard_of_change(&two, &one, &mut events).await;
    let told = tokio::time::timeout(SOON, listening.message()).await;
    let told = told
        .expect("the stream of a modern client")
        .unwrap()
        .unwrap();
    assert_eq!(told["params"]["uri"], WATCHED);
    // And they end as any other.
    legacy(&one, "resources/unsubscribe", json!({ "uri": WATCHED })).await;
    legacy_tool(&two, "test_trigger_resource_update", json!({})).await;
    let quiet = next_within(&one, &mut events, Duration::from_millis(500)).await;
    assert!(quiet.is_none(), "told after unsubscribe");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_outlive_the_end_of_a_process() {
    let marker = marker("subscribed");
    let server = stdio_server("local", "legacy", &marker, "], prefix: none");
    let gateway = gateway(&format!("servers:\n{server}")).await;
    let before = children(&marker);
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    let mut events = session.stream(None).await.unwrap().events();
    legacy(&session, "resources/subscribe", json!({ "uri": WATCHED })).await;
    let own = children(&marker)
        .into_iter()
        .find(|id| !before.contains(id));
    let own = Pid::from_raw(i32::try_from(own.unwrap()).unwrap());
    kill(own, Signal::SIGKILL).unwrap();
    heard_of_change(&session, &session, &mut events).await;
}

/// A session that all callers share is nobody's, also where a call of one of them has opened it.
#[tokio::test(flavor = "multi_thread")]
async fn who_opens_a_shared_session_again_hears_nothing_of_the_others() {
    let address = free_address();
    let server = Server::start(address, Era::Legacy).await;
    let yaml = format!(
        "servers:\n  - {{ name: fix, url: \"{}\", prefix: none, shared: true }}\n",
        http::url(address)
    );
    let gateway = gateway(&yaml).await;
    let one = gateway.session("2025-11-25", json!({})).await.unwrap();
    let two = gateway.session("2025-11-25", json!({})).await.unwrap();
    let mut first = one.stream(None).await.unwrap().events();
    let mut second = two.stream(None).await.unwrap().events();
    server.end().await;
    let server = Server::start(address, Era::Legacy).await;
    legacy_tool(&one, "test_simple_text", json!({})).await;
    // Logs that could be of either of two calls are nobody's.
    let ((), _) = tokio::join!(
        async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            legacy_tool(&two, "test_tool_with_logging", json!({})).await;
        },
        legacy_tool(&two, "test_wait", json!({ "milliseconds": 2000 })),
    );
    for (session, events) in [(&one, &mut first), (&two, &mut second)] {
        let heard = next_within(session, events, Duration::from_millis(500)).await;
        assert!(heard.is_none(), "{heard:?}");
    }
    // An update is for all that are subscribed, not for the one that opened it.
    legacy(&two, "resources/subscribe", json!({ "uri": WATCHED })).await;
    legacy_tool(&one, "test_trigger_resource_update", json!({})).await;
    let update = next_within(&two, &mut second, SOON).await.unwrap();
    assert_eq!(update["params"]["uri"], WATCHED);
    let heard = next_within(&one, &mut first, Duration::from_millis(500)).await;
    assert!(heard.is_none(), "{heard:?}");
    server.end().await;
}
