//! Several gateways that reach each other over NATS: whatever a client sends may arrive at another one than that
//! which needs it.

mod asking;
mod legacy;
mod listening;
mod outliving;
mod paused;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use mcp_ultra_testkit::{
    fleet::Fleet,
    gateway::Gateway,
    raw::{Reply, modern::Caller},
    stores::Nats,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use self::asking::Asking;
use crate::{
    gateway_announced::{connected, messaging, metric},
    gateway_rig::{SOON, gateway, modern, only, text, until},
};

const KEYS: &str =
    "session: { keys: [{ id: k, secret: \"a sealing secret of thirty-two bytes\" }] }\n";

/// How long a person takes to answer.
const THINKING: Duration = Duration::from_millis(300);

/// Gateways of one configuration, which are addressed one by one.
struct Site {
    all: Vec<Gateway>,
    nats: Nats,
}

impl Site {
    async fn new(url: &str, gateways: usize, rest: &str) -> Self {
        let nats = Nats::start().await.unwrap();
        let yaml = only(url, &format!("{KEYS}{rest}{}", messaging(&nats)));
        let mut all = Vec::new();
        for _ in 0..gateways {
            let gateway = gateway(&yaml).await;
            connected(&gateway, "1").await;
            all.push(gateway);
        }
        Self { all, nats }
    }
}

/// The same site before the server that asks, two gateways wide.
async fn asking_site(rest: &str) -> (Site, Arc<Asking>) {
    let (url, server) = asking::start().await;
    (Site::new(&url, 2, rest).await, server)
}

fn asked(reply: &Reply) -> bool {
    reply.result()["resultType"] == "input_required"
}

/// The parameters of the retry that answers what was asked.
fn retry(tool: &str, arguments: &Value, reply: &Reply, name: &str) -> Value {
    let requests = reply.result()["inputRequests"].as_object().unwrap();
    let answer = json!({ "action": "accept", "content": { "name": name } });
    let answers = requests.keys().map(|key| (key.clone(), answer.clone()));
    json!({
        "name": tool, "arguments": arguments, "inputResponses": Value::Object(answers.collect()),
        "requestState": reply.result()["requestState"],
    })
}

async fn first(caller: &Caller, tool: &str, arguments: &Value) -> Reply {
    let params = json!({ "name": tool, "arguments": arguments });
    let reply = modern(caller, "tools/call", params).await;
    assert!(asked(&reply), "{}", reply.message);
    reply
}

async fn lost(gateway: &Gateway, reason: &str) -> String {
    let name = format!("mcp_parked_calls_lost_total{{reason=\"{reason}\"}}");
    metric(gateway, &name).await
}

async fn errands(gateway: &Gateway, errand: &str, outcome: &str) -> String {
    let name = format!("mcp_replica_errands_total{{errand=\"{errand}\",outcome=\"{outcome}\"}}");
    metric(gateway, &name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_call_is_answered_through_another_replica() {
    let (site, server) = asking_site("").await;
    let (here, there) = (site.all[0].caller(), site.all[1].caller());
    for size in [0, 3 << 20] {
        let arguments = json!({ "size": size });
        let one = first(&here, "ask", &arguments).await;
        let meta = json!({ "io.modelcontextprotocol/logLevel": "info" });
        let mut params = retry("ask", &arguments, &one, "ana");
        params["_meta"] = meta;
        let two = modern(&there, "tools/call", params).await;
        assert!(asked(&two), "{}", two.message);
        let params = retry("ask", &arguments, &two, "bea");
        let last = modern(&there, "tools/call", params.clone()).await;
        assert_eq!(text(&last), "ana and bea", "{}", last.message);
        let more = last.result()["content"][1]["text"].as_str().unwrap();
        assert_eq!(more.len(), size);
        // Each place is good for one return, wherever that is.
        for caller in [&here, &there] {
            let again = modern(caller, "tools/call", params.clone()).await;
            assert_eq!(again.error_code(), Some(-32602), "{}", again.message);
        }
    }
    assert_eq!(server.begun.load(Ordering::SeqCst), 2);
    assert_eq!(server.ended.load(Ordering::SeqCst), 2);
    assert_eq!(errands(&site.all[1], "resume", "done").await, "4");
    assert_eq!(errands(&site.all[1], "resume", "not_there").await, "2");
    assert_eq!(lost(&site.all[0], "not_waiting").await, "2");
    for gateway in &site.all {
        assert!(!gateway.output().contains("ana"), "no answer in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_on_the_way_reaches_the_replica_where_the_client_waits() {
    let (site, _server) = asking_site("").await;
    let (here, there) = (site.all[0].caller(), site.all[1].caller());
    let meta = json!({ "io.modelcontextprotocol/logLevel": "info" });
    let params = json!({ "name": "ask", "arguments": {}, "_meta": meta });
    let one = modern(&here, "tools/call", params).await;
    let two = modern(&there, "tools/call", retry("ask", &json!({}), &one, "ana")).await;
    assert!(asked(&two), "{}", two.message);
    let told = two.notifications("notifications/message");
    let told: Vec<&Value> = told.iter().map(|one| &one["params"]["data"]).collect();
    assert_eq!(told, [&json!(0), &json!(1), &json!(2)]);
}

/// The one that holds the call is killed: one error, nothing is done twice, and it is counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_holder_is_killed_fails_once_and_is_not_made_again() {
    let (mut site, server) = asking_site("").await;
    let there = site.all[1].caller();
    let one = first(&site.all[0].caller(), "ask", &json!({})).await;
    let stays = first(&site.all[0].caller(), "stay", &json!({})).await;
    // One is being gone on with for a client of the other replica when it happens.
    let going_on = async {
        let params = retry("stay", &json!({}), &stays, "ana");
        modern(&there, "tools/call", params).await
    };
    let killing = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        site.all[0].signal(Signal::SIGKILL).unwrap();
        Instant::now()
    };
    let (cut, killed) = tokio::join!(going_on, killing);
    println!(
        "a call whose gateway was killed ends after {:?}",
        killed.elapsed()
    );
    assert_eq!(cut.error_code(), Some(-32603), "{}", cut.message);
    assert_eq!(cut.message["error"]["data"]["reason"], "lost");
    let begun = Instant::now();
    let params = retry("ask", &json!({}), &one, "ana");
    let refused = modern(&there, "tools/call", params).await;
    println!(
        "its gateway is gone: {} after {:?}",
        refused.message,
        begun.elapsed()
    );
    assert_eq!(refused.error_code(), Some(-32602), "{}", refused.message);
    assert_eq!(refused.message["error"]["data"]["reason"], "not_waiting");
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(
        server.begun.load(Ordering::SeqCst),
        2,
        "nothing is made again"
    );
    assert_eq!(server.ended.load(Ordering::SeqCst), 0);
    assert_eq!(lost(&site.all[1], "not_waiting").await, "1");
    assert_eq!(lost(&site.all[1], "lost").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_cancels_its_call_at_the_other_replica() {
    let (site, server) = asking_site("").await;
    let there = site.all[1].caller();
    let one = first(&site.all[0].caller(), "stay", &json!({})).await;
    let params = retry("stay", &json!({}), &one, "ana");
    let waiting = there.call("tools/call", params);
    let in_vain = tokio::time::timeout(Duration::from_secs(1), waiting).await;
    assert!(in_vain.is_err(), "it stays");
    until("the cancellation", async || {
        server.cancelled.load(Ordering::SeqCst) == 1
    })
    .await;
}

/// A gateway that ends keeps what waits for its clients until its deadline, and no longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_drains_keeps_parked_calls_until_its_deadline() {
    let rest = "server: { shutdown: { drain_delay: 0s, drain_deadline: 5s } }\n";
    let (mut site, server) = asking_site(rest).await;
    let there = site.all[1].caller();
    let one = first(&site.all[0].caller(), "ask", &json!({})).await;
    let other = first(&site.all[0].caller(), "ask", &json!({})).await;
    let begun = Instant::now();
    site.all[0].signal(Signal::SIGTERM).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let two = modern(&there, "tools/call", retry("ask", &json!({}), &one, "ana")).await;
    let last = modern(&there, "tools/call", retry("ask", &json!({}), &two, "bea")).await;
    assert_eq!(text(&last), "ana and bea", "{}", last.message);
    let ended = site.all[0].wait(SOON).await.unwrap();
    assert!(ended.success(), "{ended}");
    assert!(
        begun.elapsed() >= Duration::from_secs(5),
        "one still waited"
    );
    let params = retry("ask", &json!({}), &other, "ana");
    let late = modern(&there, "tools/call", params).await;
    assert_eq!(late.error_code(), Some(-32602), "{}", late.message);
    assert_eq!(server.begun.load(Ordering::SeqCst), 2);
    assert_eq!(server.ended.load(Ordering::SeqCst), 1);
    assert_eq!(lost(&site.all[1], "not_waiting").await, "1");
}

/// Without anything that waits, a gateway ends as fast as ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_drains_waits_for_nobody_in_vain() {
    let rest = "server: { shutdown: { drain_delay: 0s } }\n";
    let (mut site, _server) = asking_site(rest).await;
    let begun = Instant::now();
    site.all[0].signal(Signal::SIGTERM).unwrap();
    assert!(site.all[0].wait(SOON).await.unwrap().success());
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}

/// NATS is away for a moment while a person thinks, and while a call goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_parked_call_outlives_a_lost_connection() {
    let (mut site, server) = asking_site("").await;
    let there = site.all[1].caller();
    let one = first(&site.all[0].caller(), "ask", &json!({})).await;
    site.nats.server_mut().kill().await.unwrap();
    for gateway in &site.all {
        connected(gateway, "0").await;
    }
    let begun = Instant::now();
    let away = modern(&there, "tools/call", retry("ask", &json!({}), &one, "ana")).await;
    println!("without NATS: {} after {:?}", away.message, begun.elapsed());
    assert_eq!(away.status, 503, "{}", away.message);
    assert_eq!(away.message["error"]["data"]["reason"], "unreachable");
    assert_eq!(away.headers["retry-after"], "1");
    site.nats.restart().await.unwrap();
    for gateway in &site.all {
        connected(gateway, "1").await;
    }
    // Nothing was taken from the one who waits.
    let two = modern(&there, "tools/call", retry("ask", &json!({}), &one, "ana")).await;
    let last = modern(&there, "tools/call", retry("ask", &json!({}), &two, "bea")).await;
    assert_eq!(text(&last), "ana and bea", "{}", last.message);
    assert_eq!(server.begun.load(Ordering::SeqCst), 1);
}

/// A call that asks twice, at any three replicas.
async fn through_any(caller: &Caller, number: usize, thinking: Duration) -> Result<(), String> {
    let (mut params, name) = (
        json!({ "name": "ask", "arguments": {} }),
        number.to_string(),
    );
    for _ in 0..4 {
        let reply = modern(caller, "tools/call", params).await;
        if !asked(&reply) {
            let expected = format!("{name} and {name}");
            let said = reply.result()["content"][0]["text"] == *expected;
            return said.then_some(()).ok_or(reply.message.to_string());
        }
        tokio::time::sleep(thinking).await;
        params = retry("ask", &json!({}), &reply, &name);
    }
    Err("it asks without end".into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_parked_calls_are_answered_through_any_of_three_replicas() {
    let (url, server) = asking::start().await;
    let nats = Nats::start().await.unwrap();
    let yaml = only(&url, &format!("{KEYS}{}", messaging(&nats)));
    let binary = Path::new(env!("CARGO_BIN_EXE_mcp-ultra"));
    let fleet = Fleet::start(binary, &yaml, 3).await.unwrap();
    for replica in fleet.replicas() {
        connected(replica, "1").await;
    }
    let begun = Instant::now();
    let mut calls = JoinSet::new();
    for number in 0..100 {
        let caller = fleet.caller();
        calls.spawn(async move { through_any(&caller, number, Duration::ZERO).await });
    }
    let failed: Vec<String> = calls
        .join_all()
        .await
        .into_iter()
        .filter_map(Result::err)
        .collect();
    println!("100 calls that ask twice took {:?}", begun.elapsed());
    assert_eq!(failed, Vec::<String>::new());
    assert_eq!(server.begun.load(Ordering::SeqCst), 100);
    assert_eq!(server.ended.load(Ordering::SeqCst), 100);
    let mut brought = 0;
    for replica in fleet.replicas() {
        brought += errands(replica, "resume", "done")
            .await
            .parse::<usize>()
            .unwrap();
    }
    println!("{brought} of 200 retries came to another replica");
    assert!(brought > 50);
}

/// All replicas are replaced, one after the other, while calls ask and are answered after a while.
/// Nobody has thought for longer than the drain lasts, so no call fails, and none is made twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_no_call_that_asks() {
    let (url, server) = asking::start().await;
    let nats = Nats::start().await.unwrap();
    let rest = "server: { shutdown: { drain_delay: 500ms, drain_deadline: 20s } }\n";
    let yaml = only(&url, &format!("{KEYS}{rest}{}", messaging(&nats)));
    let binary = Path::new(env!("CARGO_BIN_EXE_mcp-ultra"));
    let mut fleet = Fleet::start(binary, &yaml, 3).await.unwrap();
    for replica in fleet.replicas() {
        connected(replica, "1").await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for number in 0..8 {
        let (caller, stop) = (fleet.caller(), stop.clone());
        callers.spawn(async move {
            let (mut calls, mut failed) = (0, Vec::new());
            while !stop.load(Ordering::SeqCst) {
                failed.extend(through_any(&caller, number, THINKING).await.err());
                calls += 1;
            }
            (calls, failed)
        });
    }
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        fleet.grow().await.unwrap();
        let newest = fleet.replicas().last().unwrap();
        connected(newest, "1").await;
        let mut old = fleet.retire(0).unwrap();
        let ended = old.wait(SOON).await.unwrap();
        assert!(ended.success(), "{ended}");
        fleet.balance().await.unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    let ended = callers.join_all().await;
    let calls: usize = ended.iter().map(|(calls, _)| calls).sum();
    let failed: Vec<String> = ended.into_iter().flat_map(|(_, failed)| failed).collect();
    println!("{calls} calls that ask twice, while three replicas were replaced");
    assert_eq!(failed, Vec::<String>::new(), "of {calls} calls");
    assert!(calls > 20, "{calls}");
    assert_eq!(server.begun.load(Ordering::SeqCst), calls);
    assert_eq!(server.ended.load(Ordering::SeqCst), calls);
}
