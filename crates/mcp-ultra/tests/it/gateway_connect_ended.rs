//! Grants that are withdrawn, or end, while something goes on with them.

use std::time::Duration;

use http::{Method, StatusCode};
use mcp_ultra_testkit::{
    fixture::Era,
    gateway::Gateway,
    raw::{legacy::Session, modern::Caller},
};
use serde_json::{Value, json};

use crate::{
    gateway_connect::{Rig, asked, bearer, call, connect, title, worked},
    gateway_grants::{admin, ask, grants, operator},
    gateway_rig::{SOON, logs, until},
};

const LONG: u64 = 60_000;

pub(crate) async fn wait_upstream(caller: &Caller, milliseconds: u64) -> Value {
    let params = json!({ "name": "test_wait", "arguments": { "milliseconds": milliseconds } });
    caller.call("tools/call", params).await.unwrap().message
}

pub(crate) async fn withdraw(admin: &str, subject: &str) {
    let grant = grants(admin, &format!("?subject={subject}"))
        .await
        .remove(0);
    let path = format!("/api/v1/grants/{}", grant["id"].as_str().unwrap());
    let done = ask(admin, &operator(), Method::DELETE, &path, Some("*")).await;
    assert_eq!(done.status, StatusCode::OK);
}

/// How many sessions are open with the upstream.
async fn upstream_sessions(gateway: &Gateway) -> usize {
    let text = gateway.get("/metrics").await.unwrap();
    let text = text.text().await.unwrap();
    let line = "mcp_upstream_sessions{upstream=\"tickets\"} ";
    let found = text.lines().find_map(|one| one.strip_prefix(line));
    found.unwrap_or("0").parse().unwrap()
}

pub(crate) fn was_withdrawn(answer: &Value) -> bool {
    let message = answer["error"]["message"].as_str().unwrap_or_default();
    message.contains("was withdrawn while the call was under way")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_ends_when_its_grant_is_withdrawn() {
    for era in [Era::Modern, Era::Legacy] {
        let rig = Rig::start(era).await;
        let mut gateway = rig.gateway().await;
        let admin = admin(&mut gateway).await;
        rig.connect(&gateway, "ana").await;
        rig.connect(&gateway, "bea").await;
        let (ana, bea) = (rig.caller(&gateway, "ana"), rig.caller(&gateway, "bea"));
        let own = upstream_sessions(&gateway).await;
        let withdrawing = async {
            rig.forget();
            until("both calls", async || {
                ["ana", "bea"]
                    .iter()
                    .all(|who| rig.subjects().iter().any(|subject| subject == who))
            })
            .await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            let before = upstream_sessions(&gateway).await;
            withdraw(&admin, "ana").await;
            (before, upstream_sessions(&gateway).await)
        };
        let calls = async {
            tokio::join!(
                wait_upstream(&ana, LONG),
                wait_upstream(&bea, 4000),
                withdrawing
            )
        };
        let (of_ana, of_bea, sessions) = tokio::time::timeout(SOON, calls).await.unwrap();
        assert!(was_withdrawn(&of_ana), "{era:?}: {of_ana}");
        assert!(worked(&of_bea), "{era:?}: {of_bea}");
        if era == Era::Legacy {
            assert_eq!(sessions, (own + 2, own + 1));
        }
        asked(&call(&ana, None).await);
        rig.connect(&gateway, "ana").await;
        assert!(worked(&call(&ana, None).await));
    }
}

/// Two gateways share the store; the other one withdraws.
async fn what_was_withdrawn_elsewhere_ends(era: Era) {
    let rig = Rig::start(era).await;
    let (gateway, mut other) = (rig.gateway().await, rig.gateway().await);
    let admin = admin(&mut other).await;
    let own = upstream_sessions(&gateway).await;
    rig.connect(&gateway, "ana").await;
    rig.connect(&gateway, "bea").await;
    let (ana, bea) = (rig.caller(&gateway, "ana"), rig.caller(&gateway, "bea"));
    assert!(worked(&call(&ana, None).await) && worked(&call(&bea, None).await));
    let withdrawing = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        // Of her nothing is under way.
        withdraw(&admin, "bea").await;
        withdraw(&admin, "ana").await;
    };
    let calls = async { tokio::join!(wait_upstream(&ana, LONG), withdrawing) };
    let (answer, ()) = tokio::time::timeout(SOON, calls).await.unwrap();
    assert!(was_withdrawn(&answer), "{answer}");
    until("the end of the sessions", async || {
        upstream_sessions(&gateway).await <= own
    })
    .await;
    logs(&gateway, "withdrawn elsewhere").await;
    asked(&call(&ana, None).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_ends_when_its_grant_is_withdrawn_elsewhere() {
    what_was_withdrawn_elsewhere_ends(Era::Legacy).await;
}

/// There are no sessions that would tell whose grants are in use.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_a_session_ends_when_its_grant_is_withdrawn_elsewhere() {
    what_was_withdrawn_elsewhere_ends(Era::Modern).await;
}

/// The person is asked when the server wants an answer, and the grant has ended until then.
#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_ends_in_the_middle_of_a_call_gives_a_link() {
    let capabilities = json!({ "elicitation": { "url": {}, "form": {} } });
    // A client of before, which is asked on the stream of its call.
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    rig.connect(&gateway, "ana").await;
    // A token that is refused is not replaced before.
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let headers = bearer(&rig.token("ana"));
    let opening = Session::open(
        gateway.client(),
        "2025-11-25",
        capabilities.clone(),
        headers,
    );
    let session = opening.await.unwrap();
    let params = json!({ "name": "test_input_required_result_elicitation", "arguments": {} });
    let mut questions = 0;
    let answering = session.call_answering("tools/call", params, |_| {
        questions += 1;
        rig.server.end_all();
        Some(json!({ "action": "accept", "content": { "name": "Ana" } }))
    });
    let answer = answering.await.unwrap();
    assert_eq!(questions, 1);
    assert_eq!(answer.error_code(), Some(-32042), "{}", answer.message);
    let elicitation = &answer.message["error"]["data"]["elicitations"][0];
    let url = elicitation["url"].as_str().unwrap();
    let page = connect(&rig.browser(&gateway, "ana"), url).await;
    assert_eq!(title(&page), "Connected", "{}", page.text);

    // A client of now, for which the call waits.
    let rig = Rig::start(Era::Legacy).await;
    let gateway = rig.gateway().await;
    rig.connect(&gateway, "ana").await;
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let mut ana = rig.caller(&gateway, "ana");
    ana.capabilities = capabilities;
    let params = json!({ "name": "test_elicitation", "arguments": { "message": "Well?" } });
    let first = ana.call("tools/call", params.clone()).await.unwrap();
    let question = |message: &Value| message["result"]["inputRequests"]["input-1"].clone();
    assert_eq!(question(&first.message)["params"]["message"], "Well?");
    rig.server.end_all();
    let mut retry = params.clone();
    retry["requestState"] = first.message["result"]["requestState"].clone();
    retry["inputResponses"] = json!({ "input-1": { "action": "decline" } });
    let answer = ana.call("tools/call", retry).await.unwrap();
    let (url, state) = asked(&answer.message);
    let page = connect(&rig.browser(&gateway, "ana"), &url).await;
    assert_eq!(title(&page), "Connected", "{}", page.text);
    // It begins anew.
    let mut again = params;
    again["requestState"] = state;
    again["inputResponses"] = json!({ "connect": { "action": "accept" } });
    let anew = ana.call("tools/call", again).await.unwrap();
    assert_eq!(question(&anew.message)["params"]["message"], "Well?");
}
