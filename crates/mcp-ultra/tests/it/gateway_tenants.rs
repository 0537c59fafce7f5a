//! Nothing of one tenant is visible to another, whatever both do: a property test with the running
//! gateway. There is one subject in both tenants, in each under two issuers: four principals. What
//! they do is generated and interleaved, and everything that is of a tenant has its canary in it.
//!
//! - Nothing that one tenant receives has the canary of the other in it, nor have the metrics any.
//! - What a tenant is answered is the same, byte for byte but for what is random or a time, as
//!   without the other.
//! - What is of the same subject of the same tenant under the other issuer is answered as what
//!   nobody has.
//!
//! `MCP_ULTRA_TENANT_CASES` sets the number of cases. The ledger, which is to be apart too, does not
//! exist yet.

mod actor;
mod world;

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};

use serde_json::json;

use self::{
    actor::Step,
    world::{Tenant, World},
};

/// How many cases there are where nothing else is asked for: what some seconds allow.
const CASES: u32 = 3;

/// What somebody does.
#[derive(Debug, Clone)]
struct Move {
    /// Of the first or the second tenant.
    first: bool,
    /// By which of its two principals.
    principal: usize,
    step: Step,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one =
        (any::<bool>(), 0..2_usize, actor::step()).prop_map(|(first, principal, step)| Move {
            first,
            principal,
            step,
        });
    vec(one, 30..60)
}

/// What makes names odd: they become parts of keys, ids of entities and lists.
fn oddity() -> impl Strategy<Value = String> {
    proptest::sample::select(vec![
        "", "a/", "a|b", "%2F", "é ", "\"", "7:x:", "*", "tenant:",
    ])
    .prop_map(str::to_owned)
}

#[test]
fn nothing_of_one_tenant_is_visible_to_another() {
    let cases = std::env::var("MCP_ULTRA_TENANT_CASES").ok();
    let cases = cases.map_or(CASES, |cases| cases.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let config = Config {
        cases,
        max_shrink_iters: 20,
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&(oddity(), moves()), |(odd, moves)| {
        runtime.block_on(both_runs(&odd, &moves))
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// Sessions that one tenant opens cost another none of its own, however many they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_loses_no_session_to_one_that_has_more() {
    let tenants = [Tenant::new("", "cna5e1"), Tenant::new("", "cnb7f2")];
    let world = World::start(&tenants).await;
    // With nothing open, so that it is idle. What it has set is lost with it.
    let quiet = world.session(1).await;
    let set = quiet.call("logging/setLevel", json!({ "level": "error" }));
    assert!(set.await.unwrap().message.get("result").is_some());
    let logged = async || {
        let name = format!("{}_test_tool_with_logging", tenants[1].canary);
        let params = json!({ "name": name, "arguments": {} });
        let reply = quiet.call("tools/call", params).await.unwrap();
        reply.notifications("notifications/message").len()
    };
    assert_eq!(logged().await, 0);
    for _ in 0..20 {
        drop(world.session(0).await);
    }
    assert_eq!(logged().await, 0);
    // Its own sessions make room for each other, and what was set is lost with one.
    for _ in 0..20 {
        drop(world.session(1).await);
    }
    assert_eq!(logged().await, 3);
}

/// The same subject under two issuers is two principals of one tenant.
#[tokio::test(flavor = "multi_thread")]
async fn a_namesake_under_another_issuer_is_somebody_else() {
    let tenants = [Tenant::new("", "cna5e1"), Tenant::new("", "cnb7f2")];
    // More than both directions need: a refusal for the quota would say nothing of the namesake.
    let world = World::with_quota(&tenants, 100).await;
    let give = [Step::List("tools/list"), Step::Ask, Step::StartTask];
    let take = [
        Step::NamesakeCursor,
        Step::NamesakeSession,
        Step::NamesakeState,
        Step::NamesakeTask,
    ];
    for (giver, taker) in [(0, 1), (1, 0)] {
        for step in &give {
            world.act(0, giver, step).await;
        }
        for step in &take {
            world.act(0, taker, step).await;
        }
    }
    let ended = world.end().await;
    assert_eq!(ended.of[0].of_the_namesake.len(), 8);
    for [namesake, nobody] in &ended.of[0].of_the_namesake {
        assert_eq!(namesake, nobody);
        assert!(!namesake.contains("limits.quotas"), "{namesake}");
    }
}

/// Once with both tenants, and once with the second alone.
async fn both_runs(odd: &str, moves: &[Move]) -> Result<(), TestCaseError> {
    let tenants = [Tenant::new(odd, "cna5e1"), Tenant::new(odd, "cnb7f2")];
    let together = World::start(&tenants).await;
    for one in moves {
        together
            .act(usize::from(!one.first), one.principal, &one.step)
            .await;
    }
    let together = together.end().await;
    for (tenant, other) in [(0, 1), (1, 0)] {
        let canary = &tenants[other].canary;
        for received in &together.of[tenant].received {
            prop_assert!(
                !received.contains(canary),
                "{canary} in what the other receives: {received}"
            );
        }
    }
    for [namesake, nobody] in together.of.iter().flat_map(|of| &of.of_the_namesake) {
        prop_assert_eq!(namesake, nobody);
    }
    for tenant in &tenants {
        prop_assert!(
            !together.metrics.contains(&tenant.label()),
            "a tenant in the metrics"
        );
    }
    let alone = World::start(&tenants).await;
    for one in moves.iter().filter(|one| !one.first) {
        alone.act(1, one.principal, &one.step).await;
    }
    let alone = alone.end().await;
    let (with, without) = (&together.of[1], &alone.of[1]);
    prop_assert_eq!(with.answers.len(), without.answers.len());
    for (with, without) in with.answers.iter().zip(&without.answers) {
        prop_assert_eq!(with, without);
    }
    prop_assert_eq!(&with.heard, &without.heard);
    Ok(())
}
