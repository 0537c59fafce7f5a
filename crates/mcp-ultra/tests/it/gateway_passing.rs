//! What passes through of answers that say more than the gateway knows, and what becomes public in
//! results that come by another way than the answer to their call.

use mcp_ultra_protocol::seal::{Purpose, Sealer};
use mcp_ultra_testkit::scripted::{Scene, Scripted};
use serde_json::{Value, json};

use crate::gateway_rig::{call_headers, call_text, gateway, modern, only};

fn prefixed(url: &str) -> String {
    format!("servers:\n  - {{ name: s, url: \"{url}\" }}\n")
}

fn tools() -> Value {
    json!([{ "name": "odd", "inputSchema": { "type": "object" } }])
}

#[tokio::test(flavor = "multi_thread")]
async fn members_beside_a_result_keep_their_bytes_and_their_order() {
    let upstream = Scripted::start(tools(), |seen| {
        (seen.rpc() == "tools/call").then(|| {
            let result = r#"{"resultType":"complete","content":[{"type":"resource_link","name":"n","uri":"a://1"}]}"#;
            Scene::Body(match seen.message()["params"]["arguments"]["case"].as_str() {
                Some("more") => format!(
                    r#"{{"x-first":[1e400], "result": {result},"id":$ID ,"jsonrpc":"2.0","x-last":{{"b":1,"a":2}}}}"#
                ),
                Some("error") => {
                    r#"{"error":{"code":-31999,"message":"mine"},"x":"y","id":$ID,"jsonrpc":"2.0"}"#.to_owned()
                }
                _ => format!(r#"{{"id":$ID, "result": {result} ,"jsonrpc":"2.0"}}"#),
            })
        })
    })
    .await
    .unwrap();
    let ask = async |yaml: &str, tool: &str, case: &str| {
        let gateway = gateway(yaml).await;
        let body = call_text(tool, &json!({ "case": case }).to_string());
        let answer = gateway.client().post(call_headers(tool), body).await;
        let modern = answer.unwrap().text().await.unwrap();
        let session = gateway.session("2025-11-25", json!({})).await.unwrap();
        let params = json!({ "name": tool, "arguments": { "case": case } });
        let (id, answer) = session.send("tools/call", params).await.unwrap();
        let legacy = answer.text().await.unwrap();
        (
            modern,
            legacy.replacen(&format!("\"id\":{id}"), "\"id\":N", 1),
        )
    };
    let (modern, legacy) = ask(&only(&upstream.url(), ""), "odd", "more").await;
    assert_eq!(
        modern,
        r#"{"x-first":[1e400], "result": {"resultType":"complete","content":[{"type":"resource_link","name":"n","uri":"a://1"}]},"id":1 ,"jsonrpc":"2.0","x-last":{"b":1,"a":2}}"#
    );
    assert_eq!(
        legacy,
        r#"{"x-first":[1e400], "result": {"content":[{"type":"resource_link","name":"n","uri":"a://1"}]},"id":N ,"jsonrpc":"2.0","x-last":{"b":1,"a":2}}"#
    );
    let (modern, _) = ask(&prefixed(&upstream.url()), "s_odd", "more").await;
    assert_eq!(
        modern,
        r#"{"x-first":[1e400], "result": {"resultType":"complete","content":[{"type":"resource_link","name":"n","uri":"s+a://1"}]},"id":1 ,"jsonrpc":"2.0","x-last":{"b":1,"a":2}}"#
    );
    let (modern, legacy) = ask(&only(&upstream.url(), ""), "odd", "error").await;
    let error = r#"{"error":{"code":-31999,"message":"mine"},"x":"y","id":ID,"jsonrpc":"2.0"}"#;
    assert_eq!(modern, error.replace("ID", "1"));
    assert_eq!(legacy, error.replace("ID", "N"));
    let (modern, _) = ask(&only(&upstream.url(), ""), "odd", "plain").await;
    assert!(
        modern.starts_with(r#"{"jsonrpc":"2.0","id":1,"result":{"#),
        "{modern}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn uris_in_the_result_of_a_task_are_public() {
    let upstream = Scripted::start(tools(), |seen| {
        let task = |status: &str, more: Value| {
            let mut task = json!({
                "resultType": if status == "working" { "task" } else { "complete" },
                "taskId": "t1", "status": status, "ttlMs": null,
                "createdAt": "2026-08-01T00:00:00Z", "lastUpdatedAt": "2026-08-01T00:00:00Z",
            });
            task.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            Some(Scene::Result(task.to_string()))
        };
        match seen.rpc().as_str() {
            "tools/call" => task("working", json!({})),
            "tasks/get" => task(
                "completed",
                json!({ "result": { "content": [
                { "type": "resource_link", "name": "n", "uri": "a://1" },
                { "type": "resource", "resource": { "uri": "a://2", "text": "a://3" } },
            ] } }),
            ),
            _ => None,
        }
    })
    .await
    .unwrap();
    let gateway = gateway(&prefixed(&upstream.url())).await;
    let mut caller = gateway.caller();
    caller.capabilities = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
    let params = json!({ "name": "s_odd", "arguments": {} });
    let created = caller.call("tools/call", params).await.unwrap();
    let id = created.result()["taskId"].clone();
    let done = caller
        .call("tasks/get", json!({ "taskId": id }))
        .await
        .unwrap();
    assert_eq!(done.result()["taskId"], id);
    let content = &done.result()["result"]["content"];
    assert_eq!(content[0]["uri"], "s+a://1", "{}", done.message);
    assert_eq!(content[1]["resource"]["uri"], "s+a://2", "{}", done.message);
    assert_eq!(content[1]["resource"]["text"], "a://3", "{}", done.message);
}

/// The secret of `session.keys`, and the byte that tokens name it by.
const SECRET: &str = "only-for-this-test-and-long-enough-for-a-key";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_state_that_has_expired_is_refused() {
    let upstream =
        Scripted::start(tools(), |seen| {
            let params = seen.message()["params"].clone();
            (seen.rpc() == "tools/call").then(|| {
                Scene::Result(match params["requestState"].as_str() {
                None => json!({ "resultType": "input_required", "requestState": "mine" }),
                Some(state) => json!({
                    "resultType": "complete", "content": [{ "type": "text", "text": state }],
                }),
            }.to_string())
            })
        })
        .await
        .unwrap();
    let keys = format!("session: {{ keys: [{{ id: k, secret: {SECRET} }}] }}");
    let gateway = gateway(&only(&upstream.url(), &keys)).await;
    let caller = gateway.caller();
    let asked = caller
        .call("tools/call", json!({ "name": "odd", "arguments": {} }))
        .await
        .unwrap();
    let token = asked.result()["requestState"].as_str().unwrap().to_owned();

    // The token as the gateway would have made it at another time.
    let key = 7_u8.wrapping_mul(31) ^ b'k';
    let sealer = Sealer::from_secrets([(key, SECRET.as_bytes())]).unwrap();
    let sealed = sealer.open(Purpose::RequestState, "anonymous", &token);
    let mut content: Value = serde_json::from_slice(&sealed.unwrap()).unwrap();
    let ends = content["ends"].as_u64().unwrap();
    for (ends, good) in [(ends, true), (ends - 2 * 60 * 60, false)] {
        content["ends"] = json!(ends);
        let text = content.to_string();
        let token = sealer.seal(Purpose::RequestState, "anonymous", text.as_bytes());
        let params = json!({ "name": "odd", "arguments": {}, "requestState": token.unwrap() });
        let reply = modern(&caller, "tools/call", params).await;
        if good {
            assert_eq!(reply.result()["content"][0]["text"], "mine");
        } else {
            let error = &reply.message["error"];
            assert_eq!(error["code"], -32602, "{}", reply.message);
            assert!(
                error["message"].as_str().unwrap().contains("expired"),
                "{error}"
            );
        }
    }
    assert_eq!(upstream.seen("tools/call").len(), 2);
}
