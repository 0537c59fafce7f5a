//! Answers that are given again: which, to whom, for how long, and what ends them.

mod forgotten;
mod registry;
mod rig;
mod rules;
mod safety;
mod shared;
mod site;
mod told;
mod waiting;
mod written;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use mcp_ultra_testkit::{
    fixture::Era,
    raw::{Reply, modern::Caller},
};
use serde_json::json;

use self::rig::{Answers, Rig, metric, read, reads, server, server_of, yaml};
use crate::gateway_rig::{fixture, gateway, legacy, modern, modern_tool, only, text, until};

const PRIVATE: &str = "private";
const PUBLIC: &str = "public";

fn ttl(reply: &Reply) -> u64 {
    reply.result()["ttlMs"].as_u64().unwrap()
}

/// Which reading of its server an answer is of.
fn version(reply: &Reply) -> &str {
    reply.result()["contents"][0]["text"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_is_given_again_for_as_long_as_its_server_says() {
    let server = server(60_000, PRIVATE).await;
    let gateway = gateway(&yaml(&server, "", "")).await;
    let caller = gateway.caller();
    let first = read(&caller, "test://a").await;
    assert_eq!((ttl(&first), version(&first)), (60_000, "test://a 1"));
    for _ in 0..4 {
        let again = read(&caller, "test://a").await;
        assert_eq!(version(&again), "test://a 1");
        assert!(ttl(&again) <= ttl(&first) && ttl(&again) > 30_000);
        assert_eq!(again.result()["cacheScope"], "private");
    }
    // What is said besides is not what is asked for.
    let meta = json!({ "uri": "test://a", "_meta": { "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "progressToken": 7 } });
    let again = modern(&caller, "resources/read", meta).await;
    assert_eq!(version(&again), "test://a 1");
    assert_eq!(reads(&server), 1);

    let other = read(&caller, "test://b").await;
    assert_eq!(version(&other), "test://b 1");
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    for _ in 0..2 {
        let old = legacy(&session, "resources/read", json!({ "uri": "test://a" })).await;
        assert_eq!(version(&old), "test://a 2", "in another form");
        assert_eq!(old.result().get("ttlMs"), None);
    }
    assert_eq!(reads(&server), 3);
    let hits = r#"mcp_cache_hits_total{level="memory",kind="resource"}"#;
    assert_eq!(metric(&gateway, hits).await, 6);
    let misses = r#"mcp_cache_misses_total{kind="resource"}"#;
    assert_eq!(metric(&gateway, misses).await, 3);
    assert_eq!(metric(&gateway, "mcp_cache_entries").await, 3);
    assert!(metric(&gateway, "mcp_cache_bytes").await > 0);
    assert_eq!(metric(&gateway, "mcp_cache_age_seconds_count").await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_server_lets_nobody_keep_is_asked_for_each_time() {
    let server = server(0, PUBLIC).await;
    let general = "cache: { ttl: { prompts: 1m, tools: 1m } }\n";
    let gateway = gateway(&yaml(&server, general, ", read_only: [looks, fails, asks]")).await;
    let caller = gateway.caller();
    for number in 1..=3 {
        let reply = read(&caller, "test://a").await;
        assert_eq!(version(&reply), format!("test://a {number}"));
        assert_eq!(ttl(&reply), 0);
    }
    let count = || server.seen("tools/call").len();
    // One that may change something; errors; and what is asked with more than arguments.
    for _ in 0..2 {
        modern_tool(&caller, "sets", json!({})).await;
        modern_tool(&caller, "fails", json!({})).await;
        let input = json!({ "name": "looks", "arguments": {}, "inputResponses": { "a": { "action": "cancel" } } });
        caller.call("tools/call", input).await.unwrap();
    }
    assert_eq!(count(), 6);
    for _ in 0..3 {
        let reply = caller.call("tools/call", json!({ "name": "asks", "arguments": {} }));
        assert_eq!(
            reply.await.unwrap().result()["resultType"],
            "input_required"
        );
        assert_eq!(
            caller
                .call("resources/read", json!({ "uri": "test://none" }))
                .await
                .unwrap()
                .error_code(),
            Some(-32602)
        );
    }
    assert_eq!(count(), 9);
    assert_eq!(reads(&server), 6);
    // And one that only looks, whose result is kept since the operator says so.
    for _ in 0..3 {
        assert_eq!(
            text(&modern_tool(&caller, "looks", json!({})).await),
            "looks 10"
        );
    }
    modern_tool(&caller, "looks", json!({ "more": 1 })).await;
    assert_eq!(count(), 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn results_of_tools_are_kept_only_where_the_operator_says_how_long() {
    for (general, of_server, calls) in [
        ("", ", trust_annotations: true", 3),
        ("cache: { ttl: { tools: 1m } }\n", "", 3),
        (
            "cache: { ttl: { tools: 1m } }\n",
            ", trust_annotations: true",
            1,
        ),
        (
            "",
            ", trust_annotations: true, cache: { ttl: { tools: 1m } }",
            1,
        ),
        (
            "cache: { ttl: { tools: 1m } }\n",
            ", trust_annotations: true, cache: { enabled: false }",
            3,
        ),
        (
            "cache: { enabled: false, ttl: { tools: 1m } }\n",
            ", trust_annotations: true",
            3,
        ),
    ] {
        let server = server(0, PRIVATE).await;
        let gateway = gateway(&yaml(&server, general, of_server)).await;
        for _ in 0..3 {
            modern_tool(&gateway.caller(), "reads", json!({})).await;
        }
        let seen = server.seen("tools/call").len();
        assert_eq!(seen, calls, "{general}{of_server}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_what_was_answered_to_another() {
    for (scope, versions) in [(PRIVATE, [1, 2, 3]), (PUBLIC, [1, 1, 2])] {
        let rig = Rig::start(60_000, scope, "", "").await;
        let callers = [
            rig.caller("acme", "ana"),
            rig.caller("acme", "bea"),
            // Nothing of one tenant is another's, whoever calls it public.
            rig.caller("other", "ana"),
        ];
        for _ in 0..2 {
            for (caller, number) in callers.iter().zip(versions) {
                let reply = read(caller, "test://a").await;
                assert_eq!(version(&reply), format!("test://a {number}"), "{scope}");
                assert_eq!(reply.result()["cacheScope"], *scope);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_gets_nothing_that_is_kept_and_policies_change_at_once() {
    let policy = |role: &str| {
        format!(r#"permit(principal in Role::"{role}", action, resource in Server::"fix");"#)
    };
    let rig = Rig::start(60_000, PUBLIC, &policy("r-ana"), "").await;
    let (ana, bea) = (rig.caller("acme", "ana"), rig.caller("acme", "bea"));
    let first = read(&ana, "test://a").await;
    assert_eq!(version(&first), "test://a 1");
    assert_eq!(
        first.result()["cacheScope"],
        "private",
        "not everyone may have it"
    );
    let refused = async |caller: &Caller| {
        let reply = caller.call("resources/read", json!({ "uri": "test://a" }));
        reply.await.unwrap().error_code() == Some(-32602)
    };
    assert!(refused(&bea).await);
    rig.set_policy(&policy("r-bea"));
    until("the policy holds", async || refused(&ana).await).await;
    let other = read(&bea, "test://a").await;
    assert_eq!(version(&other), "test://a 2", "of other policies");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_are_one_to_the_server() {
    let answers = Answers {
        late: Duration::from_secs(2),
        ..Answers::new(60_000, PRIVATE)
    };
    let server = server_of(answers).await;
    let gateway = gateway(&yaml(&server, "", "")).await;
    let caller = gateway.caller();
    read(&caller, "test://other").await;
    let all = join_all((0..50).map(|_| read(&caller, "test://a"))).await;
    assert!(all.iter().all(|reply| version(reply) == "test://a 1"));
    assert_eq!(reads(&server), 2);
    let hits = async |level: &str| {
        let sample = format!(r#"mcp_cache_hits_total{{level="{level}",kind="resource"}}"#);
        metric(&gateway, &sample).await
    };
    let (waited, came_later) = (hits("flight").await, hits("memory").await);
    assert_eq!(waited + came_later, 49);
    assert!(waited > 10, "{waited}");
}

/// Who has asked first goes away: somebody else asks then.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_somebody_who_is_gone_asks_again() {
    let answers = Answers {
        late: Duration::from_millis(500),
        ..Answers::new(60_000, PRIVATE)
    };
    let server = server_of(answers).await;
    let gateway = gateway(&yaml(&server, "", "")).await;
    let caller = gateway.caller();
    let impatient = async {
        let soon = Duration::from_millis(200);
        let late = tokio::time::timeout(soon, read(&caller, "test://a")).await;
        assert!(late.is_err());
    };
    let patient = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let begun = Instant::now();
        let reply = read(&caller, "test://a").await;
        assert!(begun.elapsed() < Duration::from_secs(10));
        version(&reply).to_owned()
    };
    let ((), version) = tokio::join!(impatient, patient);
    assert!(version.starts_with("test://a"), "{version}");
    let more = read(&caller, "test://a").await;
    assert_eq!(version, self::version(&more));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_the_server_tells_of_ends_what_is_kept_of_it() {
    let server = server(60_000, PRIVATE).await;
    let gateway = gateway(&yaml(
        &server,
        "cache: { ttl: { tools: 1m }, writes_outdate: false }\n",
        ", read_only: [looks]",
    ))
    .await;
    let caller = gateway.caller();
    for uri in ["test://a", "test://b", "test://a"] {
        assert_eq!(version(&read(&caller, uri).await), format!("{uri} 1"));
    }
    modern_tool(&caller, "looks", json!({})).await;
    // Tells on its stream that a was updated.
    caller
        .call("tools/call", json!({ "name": "touches", "arguments": {} }))
        .await
        .unwrap();
    assert_eq!(version(&read(&caller, "test://a").await), "test://a 2");
    assert_eq!(version(&read(&caller, "test://b").await), "test://b 1");
    assert_eq!(
        text(&modern_tool(&caller, "looks", json!({})).await),
        "looks 1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_stands_in_for_a_server_that_fails_where_the_operator_says_so() {
    for (stale, stands_in) in [("0s", false), ("1m", true)] {
        let server = server(60_000, PRIVATE).await;
        let general = format!(
            "cache: {{ ttl_at_most: 500ms, stale: {stale}, writes_outdate: false }}\nretry: {{ attempts: 0 }}\n"
        );
        let gateway = gateway(&yaml(
            &server,
            &general,
            ", breaker: { least_calls: 3, open_for: 1m }",
        ))
        .await;
        let caller = gateway.caller();
        assert_eq!(version(&read(&caller, "test://a").await), "test://a 1");
        tokio::time::sleep(Duration::from_millis(600)).await;
        rig::fail(&caller).await;
        // With the breaker closed, and open.
        for _ in 0..8 {
            let reply = caller
                .call("resources/read", json!({ "uri": "test://a" }))
                .await
                .unwrap();
            if stands_in {
                assert_eq!((version(&reply), ttl(&reply)), ("test://a 1", 0));
            } else {
                assert!(reply.error_code().is_some(), "{}", reply.message);
            }
            let never_read = caller
                .call("resources/read", json!({ "uri": "test://b" }))
                .await
                .unwrap();
            assert!(never_read.error_code().is_some());
        }
        let counted = metric(&gateway, r#"mcp_cache_stale_total{kind="resource"}"#).await;
        assert_eq!(counted, if stands_in { 8 } else { 0 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_configured_otherwise_is_asked_anew() {
    let server = server(60_000, PRIVATE).await;
    let gateway = gateway(&yaml(&server, "", "")).await;
    let caller = gateway.caller();
    assert_eq!(version(&read(&caller, "test://a").await), "test://a 1");
    let change = |rest: &str| gateway.reconfigure(&yaml(&server, "", rest)).unwrap();
    change(", headers: { x-other: \"1\" }");
    until("it is asked anew", async || {
        version(&read(&caller, "test://a").await) == "test://a 2"
    })
    .await;
    change(", headers: { x-other: \"1\" }, cache: { enabled: false }");
    until("it is asked each time", async || {
        let [one, other]: [Reply; 2] = [
            read(&caller, "test://a").await,
            read(&caller, "test://a").await,
        ];
        version(&one) != version(&other)
    })
    .await;
}

/// A server of sessions says nothing of its answers; what it says may go by the session.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_sessions_is_asked_by_each_of_them() {
    let server = fixture(Era::Legacy).await;
    let general = "cache: { ttl: { resources: 1m, prompts: 1m, completions: 1m } }\n";
    let gateway = gateway(&only(&server.url(), general)).await;
    let calls = [
        (
            "resource",
            "resources/read",
            json!({ "uri": "test://static-text" }),
        ),
        (
            "prompt",
            "prompts/get",
            json!({ "name": "test_simple_prompt" }),
        ),
        (
            "completion",
            "completion/complete",
            json!({ "ref": { "type": "ref/prompt", "name": "test_prompt_with_arguments" }, "argument": { "name": "arg1", "value": "p" } }),
        ),
    ];
    let hits = async |kind: &str| {
        let sample = format!(r#"mcp_cache_hits_total{{level="memory",kind="{kind}"}}"#);
        metric(&gateway, &sample).await
    };
    let sessions = [
        gateway.session("2025-11-25", json!({})).await.unwrap(),
        gateway.session("2025-11-25", json!({})).await.unwrap(),
    ];
    for (kind, method, params) in calls {
        for asked in 1..=2 {
            let reply = modern(&gateway.caller(), method, params.clone()).await;
            if kind == "resource" {
                assert_eq!(ttl(&reply), 0, "nobody else may keep it");
                assert_eq!(reply.result()["cacheScope"], "private");
            }
            assert_eq!(hits(kind).await, asked - 1, "{kind}");
        }
        for (number, session) in [0, 1, 0, 1].into_iter().enumerate() {
            legacy(&sessions[session], method, params.clone()).await;
            let expected = 1 + u64::try_from(number).unwrap().saturating_sub(1);
            assert_eq!(hits(kind).await, expected, "{kind} {number}");
        }
    }
}
