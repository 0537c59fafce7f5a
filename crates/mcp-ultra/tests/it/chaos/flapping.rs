//! Many upstreams of which some come and go: what that costs the callers of the others.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use mcp_ultra_testkit::{
    fixture::{Era, http::Running},
    raw::{Reply, modern::Caller},
    stores::Fault as Network,
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::gateway_rig::{fixture, gateway};

const UPSTREAMS: usize = 24;
const FLAPPING: usize = 8;
/// How long they stay as they are.
const FLAP: Duration = Duration::from_millis(400);
/// Who calls the steady ones, and who those that flap.
const CALLERS: usize = 8;
/// Between two calls of one caller.
const PAUSE: Duration = Duration::from_millis(10);
/// Calm and flapping in turn, so that what else happens on this machine happens to both.
const TURNS: usize = 5;
/// The p99 of the others may grow by.
const AT_MOST: f64 = 2.0;

struct World {
    networks: Vec<Network>,
    _upstreams: Vec<Running>,
}

impl World {
    async fn new() -> (Self, String) {
        let (mut upstreams, mut networks) = (Vec::new(), Vec::new());
        let mut yaml = "limits: { call_timeout: 2s }\nservers:\n".to_owned();
        for number in 0..UPSTREAMS {
            let upstream = fixture(Era::Modern).await;
            let mut url = upstream.url();
            if number < FLAPPING {
                let address = url.trim_start_matches("http://").trim_end_matches("/mcp");
                let network = Network::before(address.parse().unwrap()).unwrap();
                url = format!("http://{}/mcp", network.address());
                networks.push(network);
            }
            writeln!(yaml, "  - {{ name: u{number}, url: \"{url}\" }}").unwrap();
            upstreams.push(upstream);
        }
        let world = Self {
            networks,
            _upstreams: upstreams,
        };
        (world, yaml)
    }

    /// Half of them is away at any time: refused at once, or silent.
    async fn flap(&self, time: Duration) {
        let begun = Instant::now();
        for round in 0.. {
            for (number, network) in self.networks.iter().enumerate() {
                match (round + number) % 4 {
                    0 => network.cut(),
                    2 => network.lost(),
                    _ => network.heal(),
                }
            }
            if begun.elapsed() > time {
                break;
            }
            tokio::time::sleep(FLAP).await;
        }
        self.networks.iter().for_each(Network::heal);
    }
}

async fn call(caller: &Caller, upstream: usize) -> Reply {
    let name = format!("u{upstream}_test_simple_text");
    caller.call_tool(&name, json!({}), None).await.unwrap()
}

/// How long calls to steady upstreams take, for as long as `world` goes on.
async fn times(
    gateway: &mcp_ultra_testkit::gateway::Gateway,
    world: impl Future<Output = ()>,
) -> Vec<Duration> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut steady = JoinSet::new();
    let mut unsteady = JoinSet::new();
    for number in 0..CALLERS {
        let (caller, stopped) = (gateway.caller(), stop.clone());
        steady.spawn(async move {
            let mut times = Vec::new();
            for call_number in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let steady = FLAPPING + (number + call_number) % (UPSTREAMS - FLAPPING);
                let begun = Instant::now();
                let reply = call(&caller, steady).await;
                times.push(begun.elapsed());
                assert_eq!(reply.error_code(), None, "{}", reply.message);
                tokio::time::sleep(PAUSE).await;
            }
            times
        });
        let (caller, stopped) = (gateway.caller(), stop.clone());
        unsteady.spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                // It may fail.
                drop(call(&caller, number % FLAPPING).await);
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
    world.await;
    stop.store(true, Ordering::Relaxed);
    unsteady.join_all().await;
    steady.join_all().await.concat()
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

/// The median of how the p99 of the steady upstreams grows.
async fn growth(time: Duration) -> f64 {
    let (world, yaml) = World::new().await;
    let gateway = gateway(&yaml).await;
    // The first calls find out what the upstreams speak.
    times(&gateway, tokio::time::sleep(time)).await;
    let mut growths = Vec::new();
    for _ in 0..TURNS {
        let calm = p99(times(&gateway, tokio::time::sleep(time)).await);
        let flapping = p99(times(&gateway, world.flap(time)).await);
        println!("p99 of the steady upstreams: {calm:.2?} calm, {flapping:.2?} while others flap");
        growths.push(flapping.as_secs_f64() / calm.as_secs_f64());
        // Breakers that are open would make the calm cheaper.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    growths.sort_by(f64::total_cmp);
    growths[TURNS / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_that_flap_do_not_slow_the_others() {
    let growth = Box::pin(growth(Duration::from_secs(2))).await;
    assert!(growth <= AT_MOST, "{growth:.2} x");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the same for longer: `make test-chaos`"]
async fn upstreams_that_flap_for_long_do_not_slow_the_others() {
    let growth = Box::pin(growth(Duration::from_secs(15))).await;
    assert!(growth <= AT_MOST, "{growth:.2} x");
}
