//! Subscriptions to resources go to servers: they are of the limits of servers and of quotas, and
//! end in time.

use std::time::{Duration, Instant};

use mcp_ultra_testkit::{
    gateway::Gateway,
    raw::legacy::Session,
    scripted::{Scene, Scripted},
};
use serde_json::{Value, json};

use crate::{
    gateway_rates::{caller, configuration, token},
    gateway_rig::{SOON, gateway, until},
};

/// A server of 2025-11-25 with resources, which answers to a subscription after `wait`.
async fn legacy_server(wait: Duration) -> Scripted {
    Scripted::start(json!([]), move |seen| {
        let result = match seen.rpc().as_str() {
            "server/discover" => {
                let error = json!({ "code": -32601, "message": "Method not found" });
                return Some(Scene::Error(error.to_string()));
            }
            "initialize" => json!({
                "protocolVersion": "2025-11-25",
                "capabilities": { "resources": { "subscribe": true } },
                "serverInfo": { "name": "scripted", "version": "0" },
            }),
            "resources/list" => json!({ "resources": [] }),
            "resources/templates/list" => json!({ "resourceTemplates": [] }),
            "resources/read" => json!({ "contents": [] }),
            "resources/subscribe" => return Some(Scene::Late(wait, "{}".to_owned())),
            "resources/unsubscribe" => json!({}),
            _ => return None,
        };
        Some(Scene::Result(result.to_string()))
    })
    .await
    .unwrap()
}

async fn session(gateway: &Gateway) -> Session {
    let headers = token("acme", "ana", &[]);
    let session = Session::open(gateway.client(), "2025-11-25", json!({}), headers).await;
    session.unwrap()
}

/// What is listened to, by number.
fn wanted(count: usize) -> Value {
    let uris: Vec<String> = (0..count).map(|at| format!("db://{at}")).collect();
    json!({ "resourceSubscriptions": uris })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_subscribes_again_and_again_reaches_the_limit_of_the_server() {
    let upstream = legacy_server(Duration::ZERO).await;
    let limits = "limits: { rates: { server: 3/h } }";
    let gateway = gateway(&configuration(&upstream.url(), limits)).await;
    let session = session(&gateway).await;
    let ask = async |method: &str| {
        let params = json!({ "uri": "db://customers" });
        session.call(method, params).await.unwrap()
    };
    for _ in 0..3 {
        assert_eq!(ask("resources/subscribe").await.status, 200);
        // What is there already goes to no server, and neither an end nor that is counted.
        assert_eq!(ask("resources/subscribe").await.status, 200);
        assert_eq!(ask("resources/unsubscribe").await.status, 200);
    }
    let refused = ask("resources/subscribe").await;
    assert_eq!(
        (refused.status.as_u16(), refused.error_code()),
        (429, Some(-32005))
    );
    assert!(refused.headers.contains_key("retry-after"));
    let data = &refused.message["error"]["data"];
    assert_eq!(data["limit"], "limits.rates.server");
    assert_eq!(upstream.seen("resources/subscribe").len(), 3);
    // It was not taken for a subscription.
    assert_eq!(ask("resources/subscribe").await.status, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_watches_as_much_as_its_quota_allows() {
    let upstream = legacy_server(Duration::from_millis(100)).await;
    // One at a time: what waits for that is not too much.
    let limits = "limits: { quotas: { principal: 3 }, concurrency: { server: 1 } }";
    let gateway = gateway(&configuration(&upstream.url(), limits)).await;
    let caller = caller(&gateway, token("acme", "ana", &[]));
    let mut events = caller.listen(wanted(20)).await.unwrap();
    let first = events.message().await.unwrap().unwrap();
    assert_eq!(first["params"]["notifications"], wanted(3), "{first}");
    assert_eq!(upstream.seen("resources/subscribe").len(), 3);
    // With nothing left it is refused as any other call is.
    let params = json!({ "notifications": wanted(1) });
    let request = caller.prepare("subscriptions/listen", params);
    let refused = caller.send(request).await.unwrap();
    assert_eq!(refused.status, 429);
    assert!(refused.header("retry-after").is_some());
    let message = refused.json().await.unwrap();
    let limit = &message["error"]["data"]["limit"];
    assert_eq!(limit, "limits.quotas.principal", "{message}");
    drop(events);
    until("the end of all subscriptions", async || {
        upstream.seen("resources/unsubscribe").len() == 3
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_holds_a_stream_for_the_time_of_a_call() {
    let (good, hung) = (
        legacy_server(Duration::ZERO).await,
        legacy_server(Duration::from_secs(8)).await,
    );
    let yaml = format!(
        "limits: {{ call_timeout: 4s }}\nservers:\n  - {{ name: good, url: \"{}\" }}\n  - {{ name: hung, url: \"{}\" }}\n",
        good.url(),
        hung.url()
    );
    let gateway = gateway(&yaml).await;
    let uris = |server: &str, count: usize| -> Vec<String> {
        (0..count).map(|at| format!("{server}+db://{at}")).collect()
    };
    let all = [uris("hung", 9), uris("good", 2)].concat();
    let begin = Instant::now();
    let caller = gateway.caller();
    let mut events = caller
        .listen(json!({ "resourceSubscriptions": all }))
        .await
        .unwrap();
    let first = events.message().await.unwrap().unwrap();
    let taken = begin.elapsed();
    assert!(taken < Duration::from_secs(7), "{taken:?}");
    let mut agreed: Vec<String> =
        serde_json::from_value(first["params"]["notifications"]["resourceSubscriptions"].clone())
            .unwrap();
    agreed.sort();
    assert_eq!(agreed, uris("good", 2));
    // What it agrees to after nobody waits is given back.
    let asked = hung.seen("resources/subscribe").len();
    assert!((1..9).contains(&asked), "{asked}");
    until("the end of late subscriptions", async || {
        hung.seen("resources/unsubscribe").len() == asked
    })
    .await;
    assert_eq!(hung.seen("resources/subscribe").len(), asked);
    assert_eq!(good.seen("resources/unsubscribe").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_before_its_stream_is_open_leaves_nothing() {
    let upstream = legacy_server(Duration::from_secs(6)).await;
    let limits = "limits: { concurrency: { principal: 1 } }";
    let gateway = gateway(&configuration(&upstream.url(), limits)).await;
    let caller = caller(&gateway, token("acme", "ana", &[]));
    let listening = caller.listen(wanted(40));
    let early = tokio::time::timeout(Duration::from_secs(2), listening).await;
    assert!(early.is_err(), "it is not open");
    let begin = Instant::now();
    until("its place is free", async || {
        let reply = caller.call("resources/list", json!({})).await.unwrap();
        reply.status == 200
    })
    .await;
    assert!(begin.elapsed() < SOON / 3, "{:?}", begin.elapsed());
    let asked = upstream.seen("resources/subscribe").len();
    assert!((1..40).contains(&asked), "{asked}");
    until("the end of what was asked for", async || {
        upstream.seen("resources/unsubscribe").len() == asked
    })
    .await;
    assert_eq!(upstream.seen("resources/subscribe").len(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_waits_for_a_server_that_hangs_as_long_as_for_a_call() {
    let upstream = legacy_server(Duration::from_secs(20)).await;
    let yaml = format!(
        "limits: {{ call_timeout: 2s }}\nservers:\n  - {{ name: hung, url: \"{}\", prefix: none }}\n",
        upstream.url()
    );
    let gateway = gateway(&yaml).await;
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    let begin = Instant::now();
    let params = json!({ "uri": "db://customers" });
    let reply = session.call("resources/subscribe", params).await.unwrap();
    let taken = begin.elapsed();
    assert_eq!(
        reply.message["error"]["data"]["kind"], "timeout",
        "{}",
        reply.message
    );
    assert!(taken < Duration::from_secs(10), "{taken:?}");
    until("the end of what it may agree to yet", async || {
        upstream.seen("resources/unsubscribe").len() == 1
    })
    .await;
}
