//! Sessions of revisions up to 2025-11-25: their ids, their ends, their streams, what belongs to one
//! of them and no other, and the older revisions.

use std::time::Duration;

use http::HeaderMap;
use mcp_ultra_testkit::{
    fixture::Era,
    gateway::Gateway,
    raw::{Events, headers, legacy::Session},
    schema::{Revision, assert_valid},
};
use serde_json::{Value, json};

use crate::gateway_rig::{
    SOON, children, fixture, gateway, judge, legacy, legacy_tool, marker, names, only, refusal,
    revision, stdio_server, text, until,
};

/// How long a stream is watched that should stay quiet.
const QUIET: Duration = Duration::from_millis(400);

async fn open(gateway: &Gateway) -> Session {
    gateway.session("2025-11-25", json!({})).await.unwrap()
}

/// The next message on a stream, which must be a valid one.
async fn next(session: &Session, events: &mut Events) -> Value {
    let message = tokio::time::timeout(SOON, events.message()).await;
    let message = message.unwrap().unwrap().unwrap();
    judge(revision(session), "", &message);
    message
}

/// Whether a stream stays quiet for a while.
async fn quiet(events: &mut Events) -> bool {
    let event = events.next_within(QUIET).await;
    event.unwrap().is_none()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_id_is_opaque_short_and_ends_with_delete() {
    let upstream = fixture(Era::Dual).await;
    let gateway = gateway(&only(&upstream.url(), "")).await;
    // A client with much to say of itself.
    let capabilities = json!({
        "elicitation": {}, "experimental": { "example.com/long": "x".repeat(3000) },
    });
    let session = gateway.session("2025-11-25", capabilities).await.unwrap();
    assert_valid(
        Revision::V2025_11_25,
        "InitializeResult",
        &session.initialized,
    );
    assert_eq!(session.initialized["serverInfo"]["name"], "mcp-ultra");
    let id = session.id().unwrap().to_owned();
    assert!(id.len() <= 1024, "{} characters", id.len());
    assert!(id.bytes().all(|byte| byte.is_ascii_graphic()), "{id}");
    for word in ["elicitation", "testkit", "2025"] {
        assert!(!id.contains(word), "{id}");
    }
    let other = open(&gateway).await;
    assert_ne!(other.id(), Some(&*id));
    legacy_tool(&session, "test_simple_text", json!({})).await;
    // Another connection, the same session.
    let elsewhere = gateway
        .client()
        .post(
            session.headers(),
            json!({ "jsonrpc": "2.0", "id": 9, "method": "ping" }).to_string(),
        )
        .await
        .unwrap();
    assert_eq!(elsewhere.json().await.unwrap()["result"], json!({}));
    let headers = session.headers();
    assert_eq!(session.close().await.unwrap(), 204);
    let ping = json!({ "jsonrpc": "2.0", "id": 9, "method": "ping" }).to_string();
    let after = gateway.client().post(headers.clone(), ping).await.unwrap();
    assert_eq!(refusal(after).await, (404, -32001));
    assert_eq!(
        gateway
            .client()
            .delete(headers.clone())
            .await
            .unwrap()
            .status,
        404
    );
    let mut stream = headers;
    stream.insert("accept", "text/event-stream".parse().unwrap());
    assert_eq!(gateway.client().get(stream).await.unwrap().status, 404);
    // The other one lives on.
    let reply = legacy_tool(&other, "test_simple_text", json!({})).await;
    assert!(text(&reply).starts_with("This is"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_session_or_with_a_wrong_one_nothing_is_answered() {
    let upstream = fixture(Era::Dual).await;
    let first = gateway(&only(&upstream.url(), "")).await;
    let second = gateway(&only(&upstream.url(), "")).await;
    let session = open(&first).await;
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string();
    let send = async |id: Option<&str>, version: Option<&str>| {
        let mut map = headers::post();
        if let Some(id) = id {
            map.insert("mcp-session-id", id.parse().unwrap());
        }
        if let Some(version) = version {
            map.insert("mcp-protocol-version", version.parse().unwrap());
        }
        second.client().post(map, body.clone()).await.unwrap()
    };
    let version = Some("2025-11-25");
    assert_eq!(refusal(send(None, version).await).await.0, 400);
    assert_eq!(refusal(send(None, None).await).await.0, 400);
    let foreign = session.id().unwrap().to_owned();
    let mut tampered = foreign.clone().into_bytes();
    tampered[40] = if tampered[40] == b'A' { b'B' } else { b'A' };
    let tampered = String::from_utf8(tampered).unwrap();
    for id in ["nonsense", "", "\"", &"A".repeat(2000), &tampered, &foreign] {
        assert_eq!(
            refusal(send(Some(id), version).await).await,
            (404, -32001),
            "{id}"
        );
    }
    let own = open(&second).await;
    let unknown = send(own.id(), Some("1999-01-01")).await.status;
    assert_eq!(unknown, 400);
    assert_eq!(
        send(own.id(), None).await.status,
        200,
        "the header may be absent"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_the_same_key_are_good_at_another_process() {
    let upstream = fixture(Era::Dual).await;
    let keys = "session: { keys: [{ id: a, secret: \"0123456789abcdef0123456789abcdef\" }] }";
    let first = gateway(&only(&upstream.url(), keys)).await;
    let second = gateway(&only(&upstream.url(), keys)).await;
    let session = open(&first).await;
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "test_simple_text" },
    });
    let answer = second
        .client()
        .post(session.headers(), body.to_string())
        .await
        .unwrap();
    let message = answer.json().await.unwrap();
    judge(Revision::V2025_11_25, "tools/call", &message);
    assert!(message["result"]["content"].is_array(), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_and_subscriptions_come_on_the_stream_of_their_session() {
    for era in [Era::Legacy, Era::Modern] {
        let upstream = fixture(era).await;
        let gateway = gateway(&only(&upstream.url(), "")).await;
        let (one, two) = (open(&gateway).await, open(&gateway).await);
        let stream = one.stream(None).await.unwrap();
        assert_eq!(stream.header("x-accel-buffering"), Some("no"));
        assert!(stream.is_event_stream());
        let (mut first, mut second) = (stream.events(), two.stream(None).await.unwrap().events());
        let uri = json!({ "uri": "test://watched-resource" });
        let subscribed = legacy(&one, "resources/subscribe", uri.clone()).await;
        assert_eq!(
            *subscribed.result(),
            json!({}),
            "{era:?}: {}",
            subscribed.message
        );
        legacy_tool(&one, "test_trigger_resource_update", json!({})).await;
        let update = next(&one, &mut first).await;
        assert_eq!(
            update["method"], "notifications/resources/updated",
            "{era:?}"
        );
        assert_eq!(update["params"]["uri"], uri["uri"]);
        assert!(
            quiet(&mut second).await,
            "{era:?}: another session was told"
        );
        // Nobody is told any more.
        legacy(&one, "resources/unsubscribe", uri).await;
        legacy_tool(&one, "test_trigger_resource_update", json!({})).await;
        assert!(quiet(&mut first).await, "{era:?}: told after unsubscribe");
        // A changed list concerns everyone.
        legacy_tool(&one, "test_trigger_tool_change", json!({})).await;
        for (session, events) in [(&one, &mut first), (&two, &mut second)] {
            let changed = next(session, events).await;
            assert_eq!(
                changed["method"], "notifications/tools/list_changed",
                "{era:?}"
            );
        }
        // A stream ends with its session.
        assert_eq!(one.close().await.unwrap(), 204);
        let end = tokio::time::timeout(SOON, first.message()).await.unwrap();
        assert!(end.unwrap().is_none(), "{era:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_subscribes_again_at_once_is_told_once() {
    for era in [Era::Legacy, Era::Modern] {
        let upstream = fixture(era).await;
        let gateway = gateway(&only(&upstream.url(), "")).await;
        // The revision with batches: no time passes between the two.
        let session = gateway.session("2025-03-26", json!({})).await.unwrap();
        let mut events = session.stream(None).await.unwrap().events();
        let uri = json!({ "uri": "test://watched-resource" });
        legacy(&session, "resources/subscribe", uri.clone()).await;
        for round in 0..20 {
            let again = ["unsubscribe", "subscribe"].map(|what| {
                json!({ "jsonrpc": "2.0", "id": format!("{what}{round}"), "method": format!("resources/{what}"), "params": uri })
            });
            let answer = session.post(&json!(again)).await.unwrap();
            let said = answer.text().await.unwrap();
            assert!(!said.contains("error"), "{era:?}: {said}");
        }
        legacy(&session, "resources/subscribe", uri).await;
        // A subscription that began and one that ended may be a moment late.
        tokio::time::sleep(QUIET).await;
        legacy_tool(&session, "test_trigger_resource_update", json!({})).await;
        let update = next(&session, &mut events).await;
        assert_eq!(
            update["method"], "notifications/resources/updated",
            "{era:?}"
        );
        assert!(quiet(&mut events).await, "{era:?}: told twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_do_not_see_each_others_messages() {
    for era in [Era::Legacy, Era::Modern] {
        let upstream = fixture(era).await;
        let gateway = gateway(&only(&upstream.url(), "")).await;
        let (one, two) = (open(&gateway).await, open(&gateway).await);
        legacy(&two, "logging/setLevel", json!({ "level": "error" })).await;
        let mut streams = Vec::new();
        for session in [&one, &two] {
            streams.push(session.stream(None).await.unwrap().events());
        }
        let call = async |session: &Session, name: &str, token: &str| {
            let params =
                json!({ "name": name, "arguments": {}, "_meta": { "progressToken": token } });
            legacy(session, "tools/call", params).await
        };
        // At the same moment, with the same ids and tokens.
        let (a, b, c, d) = tokio::join!(
            call(&one, "test_tool_with_progress", "same"),
            call(&two, "test_tool_with_progress", "same"),
            call(&one, "test_tool_with_logging", "same"),
            call(&two, "test_tool_with_logging", "same"),
        );
        for reply in [&a, &b] {
            let progress = reply.notifications("notifications/progress");
            assert_eq!(progress.len(), 3, "{era:?}: {:?}", reply.before);
        }
        // A log message of a legacy upstream names no call: with two in flight it comes on the
        // stream of the session.
        let mut heard = Vec::new();
        for (stream, replies) in streams.iter_mut().zip([[&a, &c], [&b, &d]]) {
            let mut logs: Vec<Value> = replies
                .iter()
                .flat_map(|reply| reply.notifications("notifications/message"))
                .cloned()
                .collect();
            while let Some(event) = stream.next_within(QUIET).await.unwrap() {
                let message: Value = serde_json::from_str(&event.data).unwrap();
                assert_eq!(
                    message["method"], "notifications/message",
                    "{era:?}: {message}"
                );
                logs.push(message);
            }
            heard.push(logs.len());
        }
        assert_eq!(heard, [3, 0], "{era:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_session_has_a_process_of_its_own_unless_it_is_shared() {
    let (own, shared) = (marker("own"), marker("shared"));
    let yaml = format!(
        "servers:\n{}{}",
        stdio_server("own", "legacy", &own, "]"),
        stdio_server("shared", "legacy", &shared, "], shared: true"),
    );
    let gateway = gateway(&yaml).await;
    let (one, two) = (open(&gateway).await, open(&gateway).await);
    let before = (children(&own).len(), children(&shared).len());
    for session in [&one, &two] {
        for tool in ["own_test_simple_text", "shared_test_simple_text"] {
            let reply = legacy_tool(session, tool, json!({})).await;
            assert!(text(&reply).starts_with("This is"), "{}", reply.message);
        }
    }
    assert_eq!(children(&own).len(), before.0 + 2, "a process a session");
    let more = children(&shared).len() - before.1;
    assert!(more <= 1, "{more} processes more of the shared one");
    // What one session did is not seen in the other.
    let session = legacy(
        &one,
        "tools/call",
        json!({ "name": "own_test_wait", "arguments": { "milliseconds": 1 } }),
    );
    assert!(session.await.error_code().is_none());
    assert_eq!(one.close().await.unwrap(), 204);
    until("the end of the process of a closed session", async || {
        children(&own).len() == before.0 + 1
    })
    .await;
    let reply = legacy_tool(&two, "own_test_simple_text", json!({})).await;
    assert!(text(&reply).starts_with("This is"));
}

/// A shared upstream session is nobody's: whoever opened it hears nothing of the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_shared_upstream_session_tells_everyone_what_is_theirs() {
    let upstream = fixture(Era::Legacy).await;
    let yaml = format!(
        "servers:\n  - {{ name: fix, url: \"{}\", prefix: none, shared: true }}\n",
        upstream.url()
    );
    let gateway = gateway(&yaml).await;
    let (one, two) = (open(&gateway).await, open(&gateway).await);
    let mut first = one.stream(None).await.unwrap().events();
    let mut second = two.stream(None).await.unwrap().events();
    legacy_tool(&one, "test_simple_text", json!({})).await;
    // Logs that could be of either of two calls are dropped.
    let ((), _) = tokio::join!(
        async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            legacy_tool(&two, "test_tool_with_logging", json!({})).await;
        },
        legacy_tool(&two, "test_wait", json!({ "milliseconds": 2000 })),
    );
    assert!(quiet(&mut first).await, "told of another session's call");
    assert!(quiet(&mut second).await);
    // Both watch the same resource, then one does not any more.
    let uri = json!({ "uri": "test://watched-resource" });
    for session in [&one, &two] {
        let subscribed = legacy(session, "resources/subscribe", uri.clone()).await;
        assert_eq!(*subscribed.result(), json!({}), "{}", subscribed.message);
    }
    legacy_tool(&one, "test_trigger_resource_update", json!({})).await;
    for (session, events) in [(&one, &mut first), (&two, &mut second)] {
        let update = next(session, events).await;
        assert_eq!(update["params"]["uri"], uri["uri"]);
    }
    legacy(&one, "resources/unsubscribe", uri.clone()).await;
    legacy_tool(&one, "test_trigger_resource_update", json!({})).await;
    assert_eq!(next(&two, &mut second).await["params"]["uri"], uri["uri"]);
    assert!(quiet(&mut first).await, "told after unsubscribe");
    legacy(&two, "resources/unsubscribe", uri).await;
    legacy_tool(&two, "test_trigger_resource_update", json!({})).await;
    assert!(quiet(&mut second).await, "told after unsubscribe");
}

#[tokio::test(flavor = "multi_thread")]
async fn older_revisions_get_their_own_schema() {
    for era in [Era::Legacy, Era::Modern] {
        let upstream = fixture(era).await;
        let gateway = gateway(&only(&upstream.url(), "")).await;
        for version in ["2025-06-18", "2025-03-26"] {
            let session = gateway
                .session(version, json!({ "sampling": {} }))
                .await
                .unwrap();
            assert_eq!(session.version(), version);
            let revision = revision(&session);
            assert_valid(revision, "InitializeResult", &session.initialized);
            let tools = legacy(&session, "tools/list", json!({})).await;
            assert!(names(&tools, "tools").contains(&"test_echo".to_owned()));
            for method in ["prompts/list", "resources/list", "resources/templates/list"] {
                legacy(&session, method, json!({})).await;
            }
            for tool in [
                "test_simple_text",
                "test_embedded_resource",
                "test_audio_content",
            ] {
                let reply = legacy_tool(&session, tool, json!({})).await;
                assert!(
                    reply.error_code().is_none(),
                    "{version} {tool}: {}",
                    reply.message
                );
            }
            let reply = crate::gateway_rig::legacy_answering(
                &session,
                "tools/call",
                json!({ "name": "test_sampling", "arguments": {} }),
                |_| Some(json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": "Paris" } })),
            )
            .await;
            assert!(text(&reply).contains("Paris"), "{version}");
        }
        for (asked, agreed) in [("2026-07-28", "2025-11-25"), ("1999-01-01", "2025-11-25")] {
            let session = gateway.session(asked, json!({})).await.unwrap();
            assert_eq!(session.version(), agreed);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_exist_in_2025_03_26_only() {
    let upstream = fixture(Era::Dual).await;
    let gateway = gateway(&only(&upstream.url(), "")).await;
    let old = gateway.session("2025-03-26", json!({})).await.unwrap();
    let mut map = old.headers();
    // This revision has no such header.
    map.remove("mcp-protocol-version");
    let post = async |map: &HeaderMap, batch: &Value| {
        let answer = gateway.client().post(map.clone(), batch.to_string()).await;
        answer.unwrap()
    };
    let call = |id: Value, name: &str| json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": name, "arguments": {} } });
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    let mixed = json!([
        call(json!(1), "test_simple_text"),
        note,
        { "jsonrpc": "2.0", "id": "two", "method": "ping" },
        call(json!(3), "no_such_tool"),
        { "jsonrpc": "1.0", "id": 4, "method": "ping" },
    ]);
    let check = |messages: &[Value]| {
        for message in messages {
            judge(
                Revision::V2025_03_26,
                if message["id"] == 1 {
                    "tools/call"
                } else {
                    "ping"
                },
                message,
            );
        }
        let of = |id: Value| messages.iter().find(|one| one["id"] == id).unwrap();
        assert!(of(json!(1))["result"]["content"].is_array());
        assert_eq!(of(json!("two"))["result"], json!({}));
        assert_eq!(of(json!(3))["error"]["code"], -32602);
        assert_eq!(of(json!(4))["error"]["code"], -32600);
        assert_eq!(messages.len(), 4);
    };
    let answer = post(&map, &mixed).await;
    assert!(answer.is_event_stream());
    let mut events = answer.events();
    let mut messages = Vec::new();
    while let Some(message) = events.message().await.unwrap() {
        match message {
            Value::Array(batch) => messages.extend(batch),
            one => messages.push(one),
        }
    }
    check(&messages);
    let mut json_only = map.clone();
    json_only.insert("accept", "application/json".parse().unwrap());
    let answer = post(&json_only, &mixed).await.json().await.unwrap();
    assert_valid(Revision::V2025_03_26, "JSONRPCBatchResponse", &answer);
    check(answer.as_array().unwrap());
    let answer = post(&map, &json!([note, note])).await;
    assert_eq!(answer.status, 202);
    assert!(answer.bytes().await.unwrap().is_empty());
    assert_eq!(refusal(post(&map, &json!([])).await).await, (400, -32600));
    let many = Value::Array((0..101).map(|id| call(json!(id), "x")).collect());
    assert_eq!(refusal(post(&map, &many).await).await, (400, -32600));
    // initialize stands alone.
    let opening = json!([{ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": { "name": "t", "version": "0" } } }]);
    assert_eq!(
        refusal(post(&headers::post(), &opening).await).await,
        (400, -32600)
    );
    for version in ["2025-06-18", "2025-11-25"] {
        let session = gateway.session(version, json!({})).await.unwrap();
        let answer = post(
            &session.headers(),
            &json!([call(json!(1), "test_simple_text")]),
        )
        .await;
        assert_eq!(refusal(answer).await, (400, -32600), "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_bounded_and_the_idle_ones_come_back() {
    let upstream = fixture(Era::Dual).await;
    let gateway = gateway(&only(&upstream.url(), "limits: { sessions: 3 }")).await;
    let mut sessions = Vec::new();
    for _ in 0..8 {
        sessions.push(open(&gateway).await);
    }
    for session in &sessions {
        let reply = legacy_tool(session, "test_simple_text", json!({})).await;
        assert!(text(&reply).starts_with("This is"), "{}", reply.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_without_accept_opens_the_stream_of_its_session() {
    let upstream = fixture(Era::Dual).await;
    let gateway = gateway(&only(&upstream.url(), "")).await;
    let session = open(&gateway).await;
    let mut headers = session.headers();
    headers.remove("accept");
    headers.remove("content-type");
    let answer = gateway.client().get(headers.clone()).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.is_event_stream(), "{:?}", answer.headers);
    // The stream is one: what is asked goes there.
    let mut events = answer.events();
    assert!(quiet(&mut events).await);

    headers.insert("accept", "application/json".parse().unwrap());
    let answer = gateway.client().get(headers).await.unwrap();
    assert_eq!(answer.status, 406, "one that takes no stream");
    let answer = gateway.client().get(HeaderMap::new()).await.unwrap();
    assert_eq!(answer.status, 405, "without a session there is none");
}
