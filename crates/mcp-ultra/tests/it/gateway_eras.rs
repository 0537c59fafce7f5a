//! The four combinations of eras: what a caller of each era meets at a gateway before an upstream of
//! each era, over HTTP and over stdio.

use mcp_ultra_testkit::{
    fixture::{Era, http::Running},
    gateway::Gateway,
    raw::{Reply, legacy::Session, modern::Caller},
    schema::Revision,
};
use serde_json::{Value, json};

use crate::gateway_rig::{
    SOON, fixture, gateway, judge_reply, legacy, legacy_answering, legacy_tool, marker, modern,
    modern_tool, names, only, stdio_server, text, until,
};

/// An upstream of one era, reached in one way, behind a gateway of its own.
struct Case {
    what: String,
    gateway: Gateway,
    _upstream: Option<Running>,
}

/// Every way to reach a fixture that knows one era only.
async fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (era, name) in [(Era::Modern, "modern"), (Era::Legacy, "legacy")] {
        let upstream = fixture(era).await;
        cases.push(Case {
            what: format!("http {name}"),
            gateway: gateway(&only(&upstream.url(), "")).await,
            _upstream: Some(upstream),
        });
        let server = stdio_server("fix", name, &marker("eras"), "], prefix: none");
        cases.push(Case {
            what: format!("stdio {name}"),
            gateway: gateway(&format!("servers:\n{server}")).await,
            _upstream: None,
        });
    }
    cases
}

/// A session whose client can answer everything.
async fn able(gateway: &Gateway) -> Session {
    let capabilities = json!({ "elicitation": {}, "sampling": {}, "roots": {} });
    gateway.session("2025-11-25", capabilities).await.unwrap()
}

/// Answers as a client with a person, a model and two roots.
pub(crate) fn answer(asked: &Value) -> Option<Value> {
    Some(match asked["method"].as_str()? {
        "elicitation/create" => json!({
            "action": "accept",
            "content": { "username": "ana", "email": "ana@example.com", "name": "Ana", "color": "azul" },
        }),
        "sampling/createMessage" => json!({
            "role": "assistant", "model": "m", "content": { "type": "text", "text": "Paris" },
        }),
        "roots/list" => json!({ "roots": [{ "uri": "file:///a" }, { "uri": "file:///b" }] }),
        _ => return None,
    })
}

/// Calls a tool as a modern client does, with up to four rounds of input.
async fn rounds(caller: &Caller, tool: &str, respond: impl Fn(&Value) -> Value) -> (Reply, usize) {
    let mut params = json!({ "name": tool, "arguments": {} });
    for asked in 0..4 {
        let reply = modern(caller, "tools/call", params.clone()).await;
        if reply.result()["resultType"] != "input_required" {
            return (reply, asked);
        }
        let requests = reply.result()["inputRequests"].as_object();
        let responses = requests.into_iter().flatten();
        let responses = responses.map(|(key, request)| (key.clone(), respond(request)));
        params["inputResponses"] = Value::Object(responses.collect());
        params["requestState"] = reply.result()["requestState"].clone();
        if params["requestState"].is_null() {
            params.as_object_mut().unwrap().remove("requestState");
        }
    }
    panic!("{tool} asks without end");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_lists_and_errors_are_those_of_the_callers_era() {
    for case in cases().await {
        let (what, caller) = (&case.what, case.gateway.caller());
        let session = able(&case.gateway).await;
        for method in [
            "tools/list",
            "prompts/list",
            "resources/list",
            "resources/templates/list",
        ] {
            let new = modern(&caller, method, json!({})).await;
            let old = legacy(&session, method, json!({})).await;
            let list = match method {
                "resources/templates/list" => "resourceTemplates",
                other => other.split('/').next().unwrap(),
            };
            assert_eq!(
                names(&new, list).len(),
                names(&old, list).len(),
                "{what} {method}"
            );
            assert!(new.result()["ttlMs"].is_u64(), "{what} {method}");
            assert_eq!(old.result().get("resultType"), None, "{what} {method}");
        }
        let arguments = json!({ "a": [1, { "b": null }], "ü": "é" });
        for reply in [
            modern_tool(&caller, "test_echo", arguments.clone()).await,
            legacy_tool(&session, "test_echo", arguments.clone()).await,
        ] {
            assert_eq!(reply.result()["structuredContent"], arguments, "{what}");
        }
        let failed = modern_tool(&caller, "test_error_handling", json!({})).await;
        assert_eq!(failed.result()["isError"], true, "{what}");
        let prompt = json!({ "name": "test_prompt_with_arguments", "arguments": { "arg1": "x", "arg2": "y" } });
        for reply in [
            modern(&caller, "prompts/get", prompt.clone()).await,
            legacy(&session, "prompts/get", prompt).await,
        ] {
            let said = &reply.result()["messages"][0]["content"]["text"];
            assert_eq!(said, "Prompt with arguments: arg1='x', arg2='y'", "{what}");
        }
        for uri in ["test://static-text", "test://template/7/data"] {
            for reply in [
                modern(&caller, "resources/read", json!({ "uri": uri })).await,
                legacy(&session, "resources/read", json!({ "uri": uri })).await,
            ] {
                assert_eq!(reply.result()["contents"][0]["uri"], uri, "{what}");
            }
        }
        let complete = json!({
            "ref": { "type": "ref/prompt", "name": "test_prompt_with_arguments" },
            "argument": { "name": "arg1", "value": "par" },
        });
        for reply in [
            modern(&caller, "completion/complete", complete.clone()).await,
            legacy(&session, "completion/complete", complete).await,
        ] {
            let values = &reply.result()["completion"]["values"];
            assert_eq!(*values, json!(["paris", "park", "party"]), "{what}");
        }
        let gone = json!({ "uri": "test://no-such-thing" });
        let new = modern(&caller, "resources/read", gone.clone()).await;
        assert_eq!(new.error_code(), Some(-32602), "{what}: {}", new.message);
        let old = legacy(&session, "resources/read", gone).await;
        assert_eq!(old.error_code(), Some(-32002), "{what}: {}", old.message);
        for reply in [
            modern_tool(&caller, "no_such_tool", json!({})).await,
            legacy_tool(&session, "no_such_tool", json!({})).await,
            modern(&caller, "prompts/get", json!({ "name": "no_such" })).await,
            legacy(&session, "prompts/get", json!({ "name": "no_such" })).await,
        ] {
            assert_eq!(
                reply.error_code(),
                Some(-32602),
                "{what}: {}",
                reply.message
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_and_logs_come_in_order_under_the_callers_own_token() {
    for case in cases().await {
        let (what, caller) = (&case.what, case.gateway.caller());
        let session = able(&case.gateway).await;
        for token in [json!("own token"), json!(7)] {
            let params = json!({
                "name": "test_tool_with_progress", "arguments": {}, "_meta": { "progressToken": token },
            });
            for reply in [
                modern(&caller, "tools/call", params.clone()).await,
                legacy(&session, "tools/call", params).await,
            ] {
                let progress = reply.notifications("notifications/progress");
                let seen: Vec<_> = progress
                    .iter()
                    .map(|one| {
                        (
                            &one["params"]["progressToken"],
                            one["params"]["progress"].as_f64(),
                        )
                    })
                    .collect();
                let wanted = [0.0, 50.0, 100.0].map(|progress| (&token, Some(progress)));
                assert_eq!(seen, wanted, "{what}");
            }
        }
        // Nobody who did not ask for it gets progress.
        let reply = modern_tool(&caller, "test_tool_with_progress", json!({})).await;
        assert!(reply.before.is_empty(), "{what}: {:?}", reply.before);
        let log = |level: Option<&str>| {
            let mut params = json!({ "name": "test_tool_with_logging", "arguments": {} });
            if let Some(level) = level {
                params["_meta"] = json!({ "io.modelcontextprotocol/logLevel": level });
            }
            params
        };
        let quiet = modern(&caller, "tools/call", log(None)).await;
        assert!(quiet.before.is_empty(), "{what}: {:?}", quiet.before);
        let told = modern(&caller, "tools/call", log(Some("info"))).await;
        assert_eq!(
            told.notifications("notifications/message").len(),
            3,
            "{what}"
        );
        let above = modern(&caller, "tools/call", log(Some("error"))).await;
        assert!(above.before.is_empty(), "{what}: {:?}", above.before);
        let told = legacy(&session, "tools/call", log(None)).await;
        assert_eq!(
            told.notifications("notifications/message").len(),
            3,
            "{what}"
        );
        legacy(&session, "logging/setLevel", json!({ "level": "error" })).await;
        let above = legacy(&session, "tools/call", log(None)).await;
        assert!(above.before.is_empty(), "{what}: {:?}", above.before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_call_is_cancelled_upstream() {
    for case in cases().await {
        let (what, caller) = (&case.what, case.gateway.caller());
        let session = able(&case.gateway).await;
        let long = json!({ "name": "test_wait", "arguments": { "milliseconds": 60_000 } });
        let counted = async |reply: Reply| reply.result()["structuredContent"]["cancelled"].clone();
        // A modern caller goes away.
        let going = tokio::time::timeout(
            std::time::Duration::from_millis(400),
            caller.call("tools/call", long.clone()),
        );
        assert!(going.await.is_err(), "{what}: the call ended by itself");
        until(&format!("{what}: a cancelled wait"), async || {
            counted(modern_tool(&caller, "test_cancelled_waits", json!({})).await).await == 1
        })
        .await;
        // A legacy caller says so, and what it called ends without an answer.
        let (id, answer) = tokio::join!(
            async {
                tokio::time::sleep(std::time::Duration::from_millis(400)).await;
                // The first request of the session.
                let id = json!(1);
                let params = json!({ "requestId": id, "reason": "no longer wanted" });
                session
                    .notify("notifications/cancelled", params)
                    .await
                    .unwrap()
            },
            session.call("tools/call", long),
        );
        assert_eq!(id, 202, "{what}");
        assert!(
            answer.is_err(),
            "{what}: a cancelled call was answered: {answer:?}"
        );
        // A process of this session alone has its own count; an HTTP server counts both.
        until(&format!("{what}: a second cancelled wait"), async || {
            let count =
                counted(legacy_tool(&session, "test_cancelled_waits", json!({})).await).await;
            count == if what.starts_with("http") { 2 } else { 1 }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mid_call_questions_reach_callers_of_both_eras() {
    for case in cases().await {
        let (what, caller) = (&case.what, case.gateway.caller());
        let session = able(&case.gateway).await;
        for (tool, method, said) in [
            ("test_elicitation", "elicitation/create", "ana@example.com"),
            ("test_sampling", "sampling/createMessage", "Paris"),
        ] {
            let (reply, asked) = rounds(&caller, tool, |one| {
                assert_eq!(one["method"], method, "{what}");
                answer(one).unwrap()
            })
            .await;
            assert_eq!(asked, 1, "{what} {tool}");
            assert!(text(&reply).contains(said), "{what}: {}", text(&reply));
            let mut asked = 0;
            let params = json!({ "name": tool, "arguments": {} });
            let reply = legacy_answering(&session, "tools/call", params, |one| {
                asked += 1;
                assert_eq!(one["method"], method, "{what}");
                answer(one)
            })
            .await;
            assert_eq!(asked, 1, "{what} {tool}");
            assert!(text(&reply).contains(said), "{what}: {}", text(&reply));
        }
        // A person who declines is no error.
        let decline = |_: &Value| json!({ "action": "decline" });
        let (reply, _) = rounds(&caller, "test_elicitation", decline).await;
        assert!(text(&reply).contains("decline"), "{what}: {}", text(&reply));
        let params = json!({ "name": "test_elicitation", "arguments": {} });
        let reply =
            legacy_answering(&session, "tools/call", params, |one| Some(decline(one))).await;
        assert!(text(&reply).contains("decline"), "{what}: {}", text(&reply));
    }
}

/// What only a modern upstream has: several questions at once, several rounds, roots.
#[tokio::test(flavor = "multi_thread")]
async fn rounds_of_a_modern_upstream_reach_legacy_callers() {
    let upstream = fixture(Era::Modern).await;
    let gateway = gateway(&only(&upstream.url(), "")).await;
    let session = able(&gateway).await;
    let caller = gateway.caller();
    for (tool, questions, said) in [
        ("test_input_required_result_elicitation", 1, "Hello, Ana!"),
        (
            "test_input_required_result_list_roots",
            1,
            "The client has 2 roots",
        ),
        (
            "test_input_required_result_request_state",
            1,
            "Confirmed: state-ok",
        ),
        (
            "test_input_required_result_multiple_inputs",
            3,
            "All three inputs received",
        ),
        (
            "test_input_required_result_multi_round",
            2,
            "Both rounds done: Ana likes azul",
        ),
    ] {
        let mut asked = 0;
        let params = json!({ "name": tool, "arguments": {} });
        let reply = legacy_answering(&session, "tools/call", params, |one| {
            asked += 1;
            answer(one)
        })
        .await;
        assert_eq!(text(&reply), said);
        assert_eq!(asked, questions, "{tool}");
        let (reply, _) = rounds(&caller, tool, |one| answer(one).unwrap()).await;
        assert_eq!(text(&reply), said);
    }
    let prompt = json!({ "name": "test_input_required_result_prompt" });
    let reply = legacy_answering(&session, "prompts/get", prompt, |_| {
        Some(json!({ "action": "accept", "content": { "context": "testing" } }))
    })
    .await;
    let said = &reply.result()["messages"][0]["content"]["text"];
    assert_eq!(said, "To be used in: testing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_asked_only_for_what_it_declared() {
    for case in cases().await {
        let what = &case.what;
        let mut caller = case.gateway.caller();
        caller.capabilities = json!({});
        let session = case.gateway.session("2025-11-25", json!({})).await.unwrap();
        for tool in ["test_elicitation", "test_sampling"] {
            let reply = modern_tool(&caller, tool, json!({})).await;
            assert_eq!(
                reply.error_code(),
                Some(-32021),
                "{what}: {}",
                reply.message
            );
            assert_eq!(reply.status, 400, "{what}");
            let needed = &reply.message["error"]["data"]["requiredCapabilities"];
            assert!(needed.is_object(), "{what}: {}", reply.message);
            let reply = legacy_answering(
                &session,
                "tools/call",
                json!({ "name": tool, "arguments": {} }),
                |one| panic!("{what}: asked {one}"),
            )
            .await;
            let failed = reply
                .error_code()
                .is_some_and(|code| !(-32099..=-32020).contains(&code))
                || reply.result()["isError"] == true;
            assert!(failed, "{what}: {}", reply.message);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_state_is_good_for_its_own_request_only() {
    for case in cases().await {
        let (what, caller) = (&case.what, case.gateway.caller());
        let asked = modern_tool(&caller, "test_elicitation", json!({})).await;
        assert_eq!(asked.result()["resultType"], "input_required", "{what}");
        let Some(state) = asked.result()["requestState"].as_str() else {
            panic!("{what}: no requestState")
        };
        let requests = asked.result()["inputRequests"].as_object().unwrap();
        let responses: Value = requests
            .iter()
            .map(|(key, one)| (key.clone(), answer(one).unwrap()))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let retry = async |tool: &str, state: &str| {
            let params = json!({
                "name": tool, "arguments": {}, "inputResponses": responses, "requestState": state,
            });
            modern(&caller, "tools/call", params).await
        };
        let mut tampered = state.to_owned().into_bytes();
        let middle = tampered.len() / 2;
        tampered[middle] = if tampered[middle] == b'A' { b'B' } else { b'A' };
        let tampered = String::from_utf8(tampered).unwrap();
        for (tool, state) in [
            ("test_elicitation", tampered.as_str()),
            ("test_elicitation", "nonsense"),
            ("test_elicitation", ""),
            // Of another request.
            ("test_sampling", state),
        ] {
            let refused = retry(tool, state).await;
            assert_eq!(
                refused.error_code(),
                Some(-32602),
                "{what}: {}",
                refused.message
            );
        }
        // Of another gateway.
        let foreign = gateway(&only("http://127.0.0.1:9/mcp", "")).await;
        let params = json!({
            "name": "test_elicitation", "arguments": {}, "inputResponses": responses, "requestState": state,
        });
        let refused = modern(&foreign.caller(), "tools/call", params).await;
        assert!(
            refused.error_code().is_some(),
            "{what}: {}",
            refused.message
        );
        let done = retry("test_elicitation", state).await;
        assert!(
            text(&done).contains("ana@example.com"),
            "{what}: {}",
            done.message
        );
        // A call that has been taken up is not taken up twice.
        if what.ends_with("legacy") {
            let again = retry("test_elicitation", state).await;
            assert_eq!(
                again.error_code(),
                Some(-32602),
                "{what}: {}",
                again.message
            );
        }
    }
}

/// A dual-era upstream is spoken to in the era of the caller: nothing is translated.
#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_of_both_eras_is_spoken_to_in_the_callers() {
    let upstream = fixture(Era::Dual).await;
    let gateway = gateway(&only(&upstream.url(), "")).await;
    let version = |reply: &Reply| {
        let headers = &reply.result()["structuredContent"];
        headers["mcp-protocol-version"][0]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let reply = modern_tool(&gateway.caller(), "test_received_headers", json!({})).await;
    assert_eq!(version(&reply), "2026-07-28");
    for revision in ["2025-11-25", "2025-06-18"] {
        let session = gateway.session(revision, json!({})).await.unwrap();
        let reply = legacy_tool(&session, "test_received_headers", json!({})).await;
        assert_eq!(version(&reply), revision);
    }
}

/// SEP-1699: the stream of a legacy upstream that closes in a call is taken up again.
#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_stream_that_closes_is_taken_up_again() {
    let upstream = fixture(Era::Legacy).await;
    let gateway = gateway(&only(&upstream.url(), "")).await;
    let session = able(&gateway).await;
    let call = session.call(
        "tools/call",
        json!({ "name": "test_reconnection", "arguments": {} }),
    );
    let reply = tokio::time::timeout(SOON, call).await.unwrap().unwrap();
    judge_reply(Revision::V2025_11_25, "tools/call", &reply);
    assert!(text(&reply).starts_with("The answer that came after"));
    let reply = modern_tool(&gateway.caller(), "test_reconnection", json!({})).await;
    assert!(text(&reply).starts_with("The answer that came after"));
}
