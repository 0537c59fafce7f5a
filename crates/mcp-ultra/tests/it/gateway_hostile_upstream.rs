//! Upstreams that misbehave: their callers get a clean error in bounded time, and a neighbour works
//! at the same moment.

use std::time::{Duration, Instant};

use mcp_ultra_testkit::{
    fixture::Era,
    hostile::{Hostile, MISBEHAVIOURS, TOOL},
    raw::Reply,
    schema::Revision,
    scripted::{Scene, Scripted},
};
use serde_json::json;

use crate::gateway_rig::{
    SOON, fixture, gateway, judge_reply, legacy_tool, modern, modern_tool, names, text, until,
};

/// The deadline of calls to upstreams that never answer.
const NEVER: Duration = Duration::from_secs(2);
/// That of all others is long: they fail by themselves, however busy the machine is.
const LIMITS: &str = "limits: { call_timeout: 60s, result: 1MiB }\n";

/// What a caller gets.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Expected {
    /// A result with this text.
    Text(&'static str),
    /// An error of the gateway of this kind.
    Failed(&'static str),
}

/// Every misbehaviour of the hostile upstream, and what its callers get.
fn expected(path: &str) -> Expected {
    use Expected::{Failed, Text};
    match path {
        "garbage" | "empty" | "not-mcp" | "truncated" | "wrong-id" | "wrong-id-stream" | "deep"
        | "duplicate-keys" | "content-type" => Failed("protocol"),
        "huge" | "huge-stream" | "endless-line" | "endless-body" => Failed("too_large"),
        "two-answers" => Text("first"),
        "newlines" => Text("line\nline"),
        "slow" => Text("slow"),
        "error" | "unavailable" | "unauthorized" | "redirect" => Failed("status"),
        "hang" | "hang-stream" | "endless" => Failed("timeout"),
        "cut" | "cut-stream" | "closed-stream" => Failed("closed"),
        other => panic!("no expectation for {other}: add one"),
    }
}

/// The line of a bad server in a configuration.
fn server_line(path: &str, url: &str) -> String {
    let never = ["hang", "hang-stream", "endless"].contains(&path);
    let timeout = if never { ", timeout: 2s" } else { "" };
    format!("  - {{ name: bad-{path}, url: \"{url}\"{timeout} }}\n")
}

fn check(path: &str, reply: &Reply) {
    match expected(path) {
        Expected::Text(wanted) => assert_eq!(text(reply), wanted, "{path}"),
        Expected::Failed(kind) => {
            let error = &reply.message["error"];
            assert_eq!(error["code"], -32603, "{path}: {}", reply.message);
            assert_eq!(error["data"]["kind"], kind, "{path}: {}", reply.message);
            assert_eq!(error["data"]["upstream"], format!("bad-{path}"), "{path}");
            let message = error["message"].as_str().unwrap();
            assert!(message.len() < 400, "{path}: {message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_misbehaviour_is_a_clean_error_and_a_neighbour_works_meanwhile() {
    let hostile = Hostile::start().await.unwrap();
    let good = fixture(Era::Modern).await;
    let mut yaml = format!(
        "{LIMITS}servers:\n  - {{ name: good, url: \"{}\", prefix: none }}\n",
        good.url()
    );
    for one in MISBEHAVIOURS {
        yaml += &server_line(one.path, &hostile.url(one.path));
    }
    let mut gateway = gateway(&yaml).await;
    let caller = gateway.caller();
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    let listed = names(&modern(&caller, "tools/list", json!({})).await, "tools");
    let mut calls = Vec::new();
    for one in MISBEHAVIOURS.iter().filter(|one| one.path != "surrogate") {
        let tool = format!("bad-{}_{TOOL}", one.path);
        assert!(listed.contains(&tool), "{tool}");
        let (caller, session) = (&caller, &session);
        calls.push(async move {
            let begun = Instant::now();
            let (modern, legacy) = tokio::join!(
                modern_tool(caller, &tool, json!({})),
                legacy_tool(session, &tool, json!({})),
            );
            check(one.path, &modern);
            check(one.path, &legacy);
            let took = begun.elapsed();
            assert!(took < NEVER + SOON * 2, "{}: {took:?}", one.path);
        });
    }
    let neighbour = async {
        let until = Instant::now() + NEVER;
        while Instant::now() < until {
            let begun = Instant::now();
            let reply = modern_tool(&caller, "test_simple_text", json!({})).await;
            assert!(text(&reply).starts_with("This is"));
            let took = begun.elapsed();
            assert!(took < SOON, "the neighbour waits: {took:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::join!(futures_util::future::join_all(calls), neighbour);
    // Half a surrogate pair has no meaning as text, but it is the upstream's to send.
    let request = caller.prepare(
        "tools/call",
        json!({ "name": format!("bad-surrogate_{TOOL}"), "arguments": {} }),
    );
    let body = caller.send(request).await.unwrap().text().await.unwrap();
    assert!(body.contains(r"\ud800 half"), "{body}");
    // A redirect is not followed, and nothing of a page for people is shown to the caller.
    assert_eq!(gateway.status().unwrap(), None, "{}", gateway.output());
    assert!(
        !gateway.output().contains("panicked"),
        "{}",
        gateway.output()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_behind_of_calls_to_broken_upstreams() {
    let hostile = Hostile::start().await.unwrap();
    let yaml = format!(
        "limits: {{ call_timeout: 300ms, result: 64KiB }}\nservers:\n  - {{ name: hang, url: \"{}\" }}\n  - {{ name: endless, url: \"{}\" }}\n  - {{ name: body, url: \"{}\" }}\n",
        hostile.url("hang"),
        hostile.url("endless"),
        hostile.url("endless-body"),
    );
    let gateway = gateway(&yaml).await;
    let caller = gateway.caller();
    let round = async || {
        for name in ["hang", "endless", "body"] {
            let tool = format!("{name}_{TOOL}");
            let calls = (0..10).map(|_| modern_tool(&caller, &tool, json!({})));
            for reply in futures_util::future::join_all(calls).await {
                assert_eq!(reply.error_code(), Some(-32603), "{}", reply.message);
            }
        }
    };
    let descriptors = || {
        let folder = format!("/proc/{}/fd", gateway.id());
        std::fs::read_dir(folder).unwrap().count()
    };
    round().await;
    let before = descriptors();
    for _ in 0..3 {
        round().await;
    }
    // Connections that broke are closed, those that did not are used again.
    until("an end to the connections of failed calls", async || {
        descriptors() <= before + 10
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_never_speaks_mcp_leaves_the_rest_working() {
    let hostile = Hostile::start().await.unwrap();
    let good = fixture(Era::Dual).await;
    let mut yaml = format!(
        "limits: {{ call_timeout: 5s, connect_timeout: 1s }}\ncatalog: {{ list_timeout: 1s }}\nservers:\n  - {{ name: good, url: \"{}\" }}\n",
        good.url()
    );
    for path in [
        "garbage",
        "hang",
        "endless",
        "error",
        "redirect",
        "closed-stream",
        "huge",
    ] {
        yaml += &server_line(path, &hostile.url(&format!("always/{path}")));
    }
    let gateway = gateway(&yaml).await;
    let caller = gateway.caller();
    let reply = modern_tool(&caller, "good_test_simple_text", json!({})).await;
    assert!(text(&reply).starts_with("This is"));
    let tools = modern(&caller, "tools/list", json!({})).await;
    assert!(
        names(&tools, "tools")
            .iter()
            .all(|name| name.starts_with("good_"))
    );
    let begun = Instant::now();
    let reply = modern_tool(&caller, &format!("bad-hang_{TOOL}"), json!({})).await;
    assert_eq!(reply.message["error"]["data"]["upstream"], "bad-hang");
    assert!(begun.elapsed() < SOON);
    until("a mark on the upstreams that do not answer", async || {
        let health = gateway.get("/healthz").await.unwrap().json().await.unwrap();
        let bad = health["dependencies"].as_array().unwrap().iter();
        bad.filter(|one| one["status"] == "unavailable").count() == 7
    })
    .await;
    assert_eq!(gateway.get("/livez").await.unwrap().status, 200);
    assert_eq!(gateway.get("/readyz").await.unwrap().status, 200);
}

/// Results and errors that are JSON-RPC but not what the call may have.
#[tokio::test(flavor = "multi_thread")]
async fn odd_answers_reach_callers_of_both_eras_as_valid_messages() {
    let tools = json!([{ "name": "odd", "inputSchema": { "type": "object" } }]);
    let upstream = Scripted::start(tools, |seen| {
        if seen.rpc() != "tools/call" {
            return None;
        }
        let case = seen.message()["params"]["arguments"]["case"].clone();
        Some(match case.as_str()? {
            "error-without-id" => Scene::Body(
                r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"what?"}}"#.to_owned(),
            ),
            "error-null-id" => Scene::Body(
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"what?"}}"#.to_owned(),
            ),
            "request-from-modern" => Scene::Events(vec![
                r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{"messages":[],"maxTokens":1}}"#.to_owned(),
                r#"{"jsonrpc":"2.0","id":$ID,"result":{"resultType":"complete","content":[]}}"#.to_owned(),
            ]),
            "own-code" => Scene::Error(r#"{"code":-31999,"message":"mine","data":[1e400]}"#.to_owned()),
            "response-to-other-first" => Scene::Events(vec![
                r#"{"jsonrpc":"2.0","id":"someone else","result":{"secret":true}}"#.to_owned(),
                r#"{"jsonrpc":"2.0","id":$ID,"result":{"resultType":"complete","content":[]}}"#.to_owned(),
            ]),
            other => panic!("{other}"),
        })
    })
    .await
    .unwrap();
    let gateway = gateway(&crate::gateway_rig::only(&upstream.url(), "")).await;
    let caller = gateway.caller();
    let session = gateway
        .session("2025-11-25", json!({ "sampling": {} }))
        .await
        .unwrap();
    for case in ["error-without-id", "error-null-id"] {
        let reply = modern_tool(&caller, "odd", json!({ "case": case })).await;
        assert_eq!(reply.message["error"]["message"], "what?", "{case}");
        let reply = legacy_tool(&session, "odd", json!({ "case": case })).await;
        assert_eq!(reply.message["error"]["message"], "what?", "{case}");
    }
    // Nobody who calls is asked by a server that has no right to.
    for reply in [
        modern_tool(&caller, "odd", json!({ "case": "request-from-modern" })).await,
        legacy_tool(&session, "odd", json!({ "case": "request-from-modern" })).await,
    ] {
        assert!(reply.before.is_empty(), "{:?}", reply.before);
        assert_eq!(reply.result()["content"], json!([]));
    }
    let reply = modern_tool(&caller, "odd", json!({ "case": "response-to-other-first" })).await;
    assert!(!reply.message.to_string().contains("secret"));
    assert_eq!(reply.message["error"]["data"]["kind"], "protocol");
    let request = caller.prepare(
        "tools/call",
        json!({ "name": "odd", "arguments": { "case": "own-code" } }),
    );
    let body = caller.send(request).await.unwrap().text().await.unwrap();
    assert!(
        body.contains(r#"{"code":-31999,"message":"mine","data":[1e400]}"#),
        "{body}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_dies_in_a_call_ends_the_call_and_is_found_again() {
    let marker = crate::gateway_rig::marker("dies");
    let server = crate::gateway_rig::stdio_server("local", "dual", &marker, "]");
    let gateway = gateway(&format!("servers:\n{server}")).await;
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    let reply = legacy_tool(&session, "local_test_simple_text", json!({})).await;
    assert!(text(&reply).starts_with("This is"));
    let before = crate::gateway_rig::children(&marker);
    let waiting = session.call(
        "tools/call",
        json!({ "name": "local_test_wait", "arguments": { "milliseconds": 60_000 } }),
    );
    let killing = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        for id in &before {
            let id = nix::unistd::Pid::from_raw(i32::try_from(*id).unwrap());
            nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGKILL).unwrap();
        }
    };
    let (reply, ()) = tokio::join!(tokio::time::timeout(SOON, waiting), killing);
    let reply = reply.unwrap().unwrap();
    judge_reply(Revision::V2025_11_25, "tools/call", &reply);
    assert_eq!(
        reply.message["error"]["data"]["kind"], "closed",
        "{}",
        reply.message
    );
    until("a new process", async || {
        let reply = legacy_tool(&session, "local_test_simple_text", json!({})).await;
        reply.error_code().is_none()
    })
    .await;
}
