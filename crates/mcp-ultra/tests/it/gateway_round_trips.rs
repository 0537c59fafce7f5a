//! A call that local state can decide asks no store: PostgreSQL, Redis and NATS are asked as often for many
//! calls as for none, but for what is told together now and then.

use std::time::{Duration, Instant};

use mcp_ultra_testkit::{
    gateway::Gateway,
    raw::modern::Caller,
    stores::{Fault, Nats, Redis},
};
use serde_json::json;

use crate::{
    gateway_announced::messaging,
    gateway_registry::{Site, beside_postgres},
    gateway_rig::{modern_tool, text},
};

const CALLS: usize = 600;
const AT_ONCE: usize = 4;
const TOOL: &str = "fix_test_simple_text";
/// All that a call may be limited by, with leases that last: beyond these calls nothing is refused.
const LIMITS: &str = "limits:\n  \
    rates: { address: 100000/s, tenant: 100000/s, principal: 100000/s, tool: 100000/s, server: 100000/s }\n  \
    quotas: { tenant: 10000000, principal: 10000000, tool: 10000000 }\n  \
    concurrency: { tenant: 1000, principal: 1000, server: 1000 }\n";

async fn call(caller: &Caller) {
    let reply = modern_tool(caller, TOOL, json!({})).await;
    assert!(!text(&reply).is_empty());
}

async fn calls(site: &Site, gateway: &Gateway) {
    let callers = (0..AT_ONCE).map(|_| site.caller(gateway));
    let all = callers.map(|caller| async move {
        for _ in 0..CALLS / AT_ONCE {
            call(&caller).await;
        }
    });
    futures_util::future::join_all(all).await;
}

/// The sections with a proxy in the place of a port.
fn through(sections: &str, port: u16) -> (String, Fault) {
    let fault = Fault::before(([127, 0, 0, 1], port).into()).unwrap();
    let (there, other) = (port.to_string(), fault.address().port().to_string());
    assert!(sections.contains(&there), "{sections}");
    (sections.replace(&there, &other), fault)
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_ask_the_stores_for_no_more_than_time_does() {
    let (store, messages) = (Redis::start().await.unwrap(), Nats::start().await.unwrap());
    let redis_port = store.login().address.port();
    let (shared, redis) = through(&beside_postgres(&store), redis_port);
    let nats_port = messages.login().address.port();
    let (told, nats) = through(&messaging(&messages), nats_port);
    let site = Site::of(&format!("{shared}{told}{LIMITS}"), messages).await;
    site.wait(&site.here, TOOL, true).await;
    let caller = site.caller(&site.here);
    // Until the key, the eras and the leases are known.
    for _ in 0..50 {
        call(&caller).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let stores = [&site.postgres, &redis, &nats];
    let asked = || stores.map(Fault::asked);
    let (before, begun) = (asked(), Instant::now());
    calls(&site, &site.here).await;
    let (after, took) = (asked(), begun.elapsed());
    tokio::time::sleep(took).await;
    let idle = asked();
    // What is told together is told so often.
    let pauses = usize::try_from(took.as_millis() / 50).unwrap() + 1;
    for (at, name) in ["PostgreSQL", "Redis", "NATS"].into_iter().enumerate() {
        let (with, without) = (after[at] - before[at], idle[at] - after[at]);
        println!(
            "{name} was asked {with} times in {CALLS} calls and {took:?}, {without} without any"
        );
        // Nothing that a machine does slowly makes them more than one in four calls.
        assert!(
            with <= without + 2 * pauses + 20,
            "{name}: {with}, {without}"
        );
        assert!(with < CALLS / 4 + without, "{name}: {with}");
    }
}
