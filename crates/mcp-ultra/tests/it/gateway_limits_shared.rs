//! Three gateways behind a balancer, with limits that are theirs together.

use std::path::Path;

use mcp_ultra_domain::limits::lease::{most_beyond, most_beyond_quota};
use mcp_ultra_testkit::{fixture::Era, fleet::Fleet, gateway::Gateway, stores::Redis};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    gateway_redis::sections,
    gateway_rig::{fixture, only, until},
};

const REPLICAS: usize = 3;

async fn fleet(url: &str, redis: &Redis, limits: &str) -> Fleet {
    let binary = Path::new(env!("CARGO_BIN_EXE_mcp-ultra"));
    let yaml = only(url, &format!("{}{limits}", sections(redis)));
    let fleet = Fleet::start(binary, &yaml, REPLICAS).await.unwrap();
    all_say(&fleet, "mcp_limit_replicas 3").await;
    fleet
}

async fn says(replica: &Gateway, line: &str) -> bool {
    let metrics = replica.get("/metrics").await.unwrap();
    let metrics = metrics.text().await.unwrap();
    metrics.lines().any(|said| said == line)
}

async fn all_say(fleet: &Fleet, line: &str) {
    for replica in fleet.replicas() {
        until(line, async || says(replica, line).await).await;
    }
}

/// How many of `calls`, of which ten are made at a time, a limit does not refuse. Nothing else may
/// happen to them.
async fn admitted(fleet: &Fleet, calls: usize, limit: &'static str) -> u64 {
    let mut running = JoinSet::new();
    for _ in 0..10 {
        let caller = fleet.caller();
        running.spawn(async move {
            let mut admitted = 0;
            for _ in 0..calls / 10 {
                let params = json!({ "name": "test_simple_text", "arguments": {} });
                let request = caller.prepare("tools/call", params);
                let answer = caller.send(request).await.unwrap();
                let status = answer.status.as_u16();
                let after = answer.header("retry-after").map(str::to_owned);
                let text = answer.text().await.unwrap();
                if status == 200 {
                    admitted += 1;
                    continue;
                }
                assert_eq!(status, 429, "{text}");
                let after: u64 = after.unwrap().parse().unwrap();
                assert!((1..=86_400).contains(&after), "{after}");
                let refusal: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(refusal["error"]["data"]["limit"], limit);
            }
            admitted
        });
    }
    running.join_all().await.into_iter().sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_and_a_quota_are_of_all_gateways_together() {
    let redis = Redis::start().await.unwrap();
    let upstream = fixture(Era::Modern).await;
    {
        let limits = "limits: { rates: { tool: 60/h } }\n";
        let fleet = fleet(&upstream.url(), &redis, limits).await;
        let count = admitted(&fleet, 300, "limits.rates.tool").await;
        // One comes back each minute.
        let most = 60 + 1 + most_beyond(60, 3);
        assert!((60..=most).contains(&count), "{count} of 60");
        assert!(admitted(&fleet, 50, "limits.rates.tool").await <= 1);
    }
    let limits = "limits: { quotas: { tool: 30 } }\n";
    let fleet = fleet(&upstream.url(), &redis, limits).await;
    let count = admitted(&fleet, 300, "limits.quotas.tool").await;
    let most = 30 + most_beyond_quota(30, 3);
    assert!((30..=most).contains(&count), "{count} of 30");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_each_gateway_has_its_share_and_nothing_fails() {
    let mut redis = Redis::start().await.unwrap();
    let upstream = fixture(Era::Modern).await;
    let limits = "limits: { rates: { tool: 60/h } }\n";
    let fleet = fleet(&upstream.url(), &redis, limits).await;
    redis.server_mut().kill().await.unwrap();
    all_say(&fleet, "mcp_limit_apart 1").await;
    let count = admitted(&fleet, 200, "limits.rates.tool").await;
    assert!((60..=64).contains(&count), "{count} of 60");
    redis.restart().await.unwrap();
    all_say(&fleet, "mcp_limit_apart 0").await;
    let count = admitted(&fleet, 50, "limits.rates.tool").await;
    assert!(count <= 4, "{count} more");
}
