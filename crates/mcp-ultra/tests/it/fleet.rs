//! Several replicas behind a balancer without affinity.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use mcp_ultra_testkit::{
    fixture::Era,
    fleet::Fleet,
    gateway::Gateway,
    raw::{Reply, legacy::Session, modern::Caller},
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::gateway_rig::{SOON, fixture, legacy_tool, modern_tool, only, until};

/// What all replicas have in common, besides their servers.
const SHARED: &str = "session: { keys: [{ id: k, secret: \"a sealing secret of thirty-two bytes\" }] }\nserver: { shutdown: { drain_delay: 500ms } }\n";

async fn fleet(url: &str, replicas: usize) -> Fleet {
    let binary = Path::new(env!("CARGO_BIN_EXE_mcp-ultra"));
    Fleet::start(binary, &only(url, SHARED), replicas)
        .await
        .unwrap()
}

/// How many MCP requests a replica has answered.
async fn answered(replica: &Gateway) -> usize {
    let metrics = replica.get("/metrics").await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let lines = metrics.lines();
    let counts = lines.filter(|line| line.starts_with("mcp_requests_total{"));
    let counts = counts.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
    counts.sum()
}

fn works(reply: &Reply) -> Result<(), String> {
    if reply.error_code().is_none() && reply.status == 200 {
        return Ok(());
    }
    Err(format!("{} {}", reply.status, reply.message))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_served_by_whichever_replica_gets_its_request() {
    for era in [Era::Legacy, Era::Modern] {
        let upstream = fixture(era).await;
        let fleet = fleet(&upstream.url(), 3).await;
        let session = fleet.session("2025-11-25", json!({})).await.unwrap();
        for _ in 0..12 {
            let reply = legacy_tool(&session, "test_simple_text", json!({})).await;
            assert_eq!(works(&reply), Ok(()));
        }
        for replica in fleet.replicas() {
            assert!(answered(replica).await > 0, "the balancer uses all of them");
        }
    }
}

/// A modern client cancels by hanging up, which only the balancer can see.
#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_at_the_balancer_cancels_its_call() {
    for era in [Era::Legacy, Era::Modern] {
        let upstream = fixture(era).await;
        let fleet = fleet(&upstream.url(), 2).await;
        let caller = fleet.caller();
        let long = json!({ "name": "test_wait", "arguments": { "milliseconds": 60_000 } });
        let waiting = caller.call("tools/call", long);
        let going = tokio::time::timeout(Duration::from_secs(1), waiting).await;
        assert!(going.is_err(), "the call ended by itself: {going:?}");
        let since = Instant::now();
        until("a cancelled wait", async || {
            let counted = modern_tool(&caller, "test_cancelled_waits", json!({})).await;
            counted.result()["structuredContent"]["cancelled"] == 1
        })
        .await;
        // And not when it is found out that what is sent to it arrives nowhere.
        assert!(since.elapsed() < Duration::from_secs(5), "{era:?}");
    }
}

/// Calls one after the other until it is told to stop; how many there were, and what failed.
struct Load {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    callers: JoinSet<Vec<String>>,
}

impl Load {
    fn start(modern: Vec<Caller>, legacy: Vec<Session>) -> Self {
        let (stop, calls) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let mut callers = JoinSet::new();
        for caller in modern {
            let call = async move || {
                let arguments = json!({ "milliseconds": 20 });
                modern_tool(&caller, "test_wait", arguments).await
            };
            callers.spawn(until_stopped(stop.clone(), calls.clone(), call));
        }
        for session in legacy {
            let call = async move || legacy_tool(&session, "test_simple_text", json!({})).await;
            callers.spawn(until_stopped(stop.clone(), calls.clone(), call));
        }
        Self {
            stop,
            calls,
            callers,
        }
    }

    /// Waits until there were so many more calls.
    async fn more(&self, calls: usize) {
        let wanted = self.calls.load(Ordering::SeqCst) + calls;
        let reached = async {
            while self.calls.load(Ordering::SeqCst) < wanted {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(SOON, reached).await.unwrap();
    }

    async fn end(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::SeqCst);
        let failed = self.callers.join_all().await.concat();
        (self.calls.load(Ordering::SeqCst), failed)
    }
}

async fn until_stopped(
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    call: impl AsyncFn() -> Reply,
) -> Vec<String> {
    let mut failed = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        failed.extend(works(&call().await).err());
        calls.fetch_add(1, Ordering::SeqCst);
    }
    failed
}

/// Each replica is replaced by another one, under load, and nobody notices.
#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_fails_no_request() {
    let upstream = fixture(Era::Dual).await;
    let mut fleet = fleet(&upstream.url(), 3).await;
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(fleet.session("2025-11-25", json!({})).await.unwrap());
    }
    let load = Load::start((0..4).map(|_| fleet.caller()).collect(), sessions);
    load.more(50).await;
    for _ in 0..3 {
        fleet.grow().await.unwrap();
        let mut old = fleet.retire(0).unwrap();
        let ended = old.wait(SOON).await.unwrap();
        assert!(ended.success(), "{ended}");
        fleet.balance().await.unwrap();
        load.more(50).await;
    }
    let (calls, failed) = load.end().await;
    assert!(calls > 150);
    assert_eq!(failed, Vec::<String>::new(), "of {calls} calls");
}

/// From one replica to three and back.
#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_grows_and_shrinks_fails_no_request() {
    let upstream = fixture(Era::Dual).await;
    let mut fleet = fleet(&upstream.url(), 1).await;
    let session = fleet.session("2025-11-25", json!({})).await.unwrap();
    let load = Load::start((0..3).map(|_| fleet.caller()).collect(), vec![session]);
    load.more(20).await;
    for _ in 0..2 {
        fleet.grow().await.unwrap();
        load.more(20).await;
    }
    for replica in fleet.replicas() {
        assert!(answered(replica).await > 0);
    }
    for _ in 0..2 {
        let mut old = fleet.retire(0).unwrap();
        assert!(old.wait(SOON).await.unwrap().success());
        fleet.balance().await.unwrap();
        load.more(20).await;
    }
    let (calls, failed) = load.end().await;
    assert_eq!(failed, Vec::<String>::new(), "of {calls} calls");
}
