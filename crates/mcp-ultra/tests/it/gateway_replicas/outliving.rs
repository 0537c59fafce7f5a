//! What a session is subscribed to outlives the gateway that it was subscribed through.

use std::time::{Duration, Instant};

use mcp_ultra_testkit::{
    fixture::Era,
    gateway::Gateway,
    raw::Events,
    stores::{Nats, Redis},
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    gateway_announced::{connected, messaging},
    gateway_redis::sections,
    gateway_rig::{SOON, fixture, gateway, legacy_tool},
};

const WATCHED: &str = "test://watched-resource";
/// How long it takes at most until a change is told, and a bit.
const QUIET: Duration = Duration::from_secs(1);

/// Changes the resource through a session of its own.
async fn change(gateway: &Gateway) {
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    legacy_tool(&session, "test_trigger_resource_update", json!({})).await;
}

/// How many updates are told until it is quiet.
async fn updates(events: &mut Events) -> usize {
    let mut told = 0;
    while let Some(event) = events.next_within(QUIET).await.unwrap() {
        let message: Value = serde_json::from_str(&event.data).unwrap_or_default();
        told += usize::from(message["method"] == "notifications/resources/updated");
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_outlives_the_gateway_that_it_was_made_through() {
    let (redis, nats) = (Redis::start().await.unwrap(), Nats::start().await.unwrap());
    let rest = format!("{}{}", sections(&redis), messaging(&nats));
    for (era, of_server) in [
        (Era::Modern, ""),
        // Else another one may take half a minute until it listens in the session that both are in.
        (Era::Legacy, ", session_per_gateway: true"),
    ] {
        let upstream = fixture(era).await;
        let yaml = format!(
            "{rest}\nservers:\n  - {{ name: fix, url: \"{}\", prefix: none{of_server} }}\n",
            upstream.url()
        );
        let (stays, mut ends) = (gateway(&yaml).await, gateway(&yaml).await);
        for gateway in [&stays, &ends] {
            connected(gateway, "1").await;
        }
        let here = stays.session("2025-11-25", json!({})).await.unwrap();
        let mut there = ends.session("2025-11-25", json!({})).await.unwrap();
        there.id.clone_from(&here.id);
        let mut events = here.stream(None).await.unwrap().events();
        let made = there.call("resources/subscribe", json!({ "uri": WATCHED }));
        assert!(made.await.unwrap().result().is_object());
        // Whoever has the stream takes it over; of a legacy server both are told.
        tokio::time::sleep(Duration::from_secs(2)).await;
        change(&stays).await;
        let told = updates(&mut events).await;
        if of_server.is_empty() {
            assert_eq!(told, 1);
        } else {
            assert!(told > 0);
        }

        ends.signal(Signal::SIGTERM).unwrap();
        assert!(ends.wait(SOON).await.unwrap().success());
        let begun = Instant::now();
        change(&stays).await;
        while updates(&mut events).await == 0 {
            assert!(begun.elapsed() < SOON, "{era:?}: nobody tells any more");
            change(&stays).await;
        }

        // And ends for good where the client says so.
        let ended = here.call("resources/unsubscribe", json!({ "uri": WATCHED }));
        assert!(ended.await.unwrap().result().is_object());
        tokio::time::sleep(QUIET).await;
        change(&stays).await;
        assert_eq!(updates(&mut events).await, 0, "{era:?}");
    }
}
