//! What the gateway has sealed for one caller (session ids, cursors, `requestState`), changed in any
//! place or in the hands of another: always the one answer that something made up gets too.

use http::{HeaderMap, HeaderValue};
use mcp_ultra_testkit::{
    fixture::Era,
    gateway::Gateway,
    raw::{legacy::Session, modern::Caller},
};
use serde_json::{Value, json};

use crate::{
    gateway_eras::answer,
    gateway_rates::{caller, configuration, token},
    gateway_rig::{fixture, gateway, modern, modern_tool, text},
};

/// Changes of a sealed token: every letter of it by another, what is cut off and put on, and two of
/// them joined.
fn changed(token: &str) -> Vec<String> {
    let letters = token.char_indices().map(|(at, letter)| {
        let other = if letter == 'A' { 'B' } else { 'A' };
        format!(
            "{}{other}{}",
            &token[..at],
            &token[at + letter.len_utf8()..]
        )
    });
    let half = token.len() / 2;
    letters
        .chain([
            token[..half].to_owned(),
            token[half..].to_owned(),
            token[..token.len() - 1].to_owned(),
            format!("{token}A"),
            format!("{token}="),
            format!("{token}{token}"),
            token.to_ascii_uppercase(),
            "nonsense".to_owned(),
            "A".repeat(token.len()),
        ])
        .filter(|other| other != token)
        .collect()
}

/// Two callers of one tenant at a gateway in front of an upstream of this era.
async fn two(era: Era) -> (Gateway, Caller, Caller, impl Sized) {
    let upstream = fixture(era).await;
    // So many bad requests come faster than an address usually may.
    let rest = "catalog: { page_size: 2 }\nlimits: { rates: { address: off } }\n";
    let gateway = gateway(&configuration(&upstream.url(), rest)).await;
    let ana = caller(&gateway, token("acme", "ana", &[]));
    let bea = caller(&gateway, token("acme", "bea", &[]));
    (gateway, ana, bea, upstream)
}

/// What a modern caller is told, without the id of the request.
async fn told(caller: &Caller, method: &str, params: Value) -> (u16, Value) {
    let request = caller.prepare(method, params);
    let answer = caller.send(request).await.unwrap();
    let status = answer.status.as_u16();
    let mut message = answer.json().await.unwrap();
    message["id"] = Value::Null;
    (status, message)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_of_one_caller_and_list_and_not_to_be_changed() {
    let (_gateway, ana, bea, _upstream) = two(Era::Dual).await;
    let first = modern(&ana, "tools/list", json!({})).await;
    let cursor = first.result()["nextCursor"].as_str().unwrap().to_owned();
    let list = |cursor: &str| json!({ "cursor": cursor });
    let refused = told(&ana, "tools/list", list("nonsense")).await;
    assert_eq!(
        (refused.0, &refused.1["error"]["code"]),
        (200, &json!(-32602))
    );
    for other in changed(&cursor) {
        let answer = told(&ana, "tools/list", list(&other)).await;
        assert_eq!(answer, refused, "{other}");
    }
    assert_eq!(told(&bea, "tools/list", list(&cursor)).await, refused);
    assert_eq!(told(&ana, "prompts/list", list(&cursor)).await, refused);
    let second = modern(&ana, "tools/list", list(&cursor)).await;
    assert!(second.result()["tools"].is_array(), "{}", second.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_state_is_of_one_caller_and_not_to_be_changed() {
    // Where the upstream is legacy, the state leads to a call that waits; else to its own state.
    for era in [Era::Legacy, Era::Modern] {
        let (_gateway, ana, bea, _upstream) = two(era).await;
        let asked = modern_tool(&ana, "test_elicitation", json!({})).await;
        let state = asked.result()["requestState"].as_str().unwrap().to_owned();
        let requests = asked.result()["inputRequests"].as_object().unwrap();
        let responses = requests.iter();
        let responses: serde_json::Map<_, _> = responses
            .map(|(key, request)| (key.clone(), answer(request).unwrap()))
            .collect();
        let retry = |state: &str| {
            json!({
                "name": "test_elicitation", "arguments": {}, "inputResponses": responses,
                "requestState": state,
            })
        };
        let refused = told(&ana, "tools/call", retry("nonsense")).await;
        assert_eq!(
            (refused.0, &refused.1["error"]["code"]),
            (200, &json!(-32602))
        );
        for other in changed(&state) {
            let answer = told(&ana, "tools/call", retry(&other)).await;
            assert_eq!(answer, refused, "{other}");
        }
        // Another caller neither gets the answer nor takes the call from its owner.
        assert_eq!(told(&bea, "tools/call", retry(&state)).await, refused);
        let done = modern(&ana, "tools/call", retry(&state)).await;
        assert!(text(&done).contains("ana@example.com"), "{}", done.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_id_is_not_to_be_changed() {
    let (gateway, ana, bea, _upstream) = two(Era::Dual).await;
    let headers = ana.extra_headers.clone();
    let session = Session::open(gateway.client(), "2025-11-25", json!({}), headers);
    let session = session.await.unwrap();
    let id = session.id().unwrap().to_owned();
    let client = gateway.client();
    let ask = async |id: &str, of: &HeaderMap| {
        let mut headers = session.headers();
        headers.insert("mcp-session-id", HeaderValue::try_from(id).unwrap());
        headers.extend(of.clone());
        let list = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/list" });
        let answer = client.post(headers, list.to_string()).await.unwrap();
        (answer.status.as_u16(), answer.text().await.unwrap())
    };
    let refused = ask("nonsense", &ana.extra_headers).await;
    assert_eq!(refused.0, 404);
    for other in changed(&id) {
        assert_eq!(ask(&other, &ana.extra_headers).await, refused, "{other}");
    }
    assert_eq!(ask(&id, &bea.extra_headers).await, refused);
    assert_eq!(ask(&id, &ana.extra_headers).await.0, 200);
}
