//! Upstreams over stdio that do what the fixture does not: lines over the limit with several calls
//! in flight, and what such a server is told of a trace and of changed roots.

use std::fs;

use mcp_ultra_testkit::{
    gateway::Gateway,
    raw::{Reply, modern::Caller},
};
use serde_json::{Value, json};

use crate::gateway_rig::{META, call_headers, gateway, legacy_tool, modern_tool, text, until};

/// A server of the era that its argument names. Calls of `hold` wait for `release`.
const SERVER: &str = r#"
import json, sys
modern = sys.argv[1] == "modern"
long = "x" * 100_000
held, asking = [], []
roots = 0
def send(text):
    print(text, flush=True)
def result(id, value):
    send(json.dumps({"jsonrpc": "2.0", "id": id, "result": dict(value, **COMPLETE)}))
def said(text):
    return {"content": [{"type": "text", "text": text}]}
COMPLETE = {"resultType": "complete"} if modern else {}
HINTS = {"ttlMs": 0, "cacheScope": "private"} if modern else {}
INFO = {"name": "lines", "version": "0"}
def call(id, name, arguments, meta):
    if name == "hold":
        held.append(id)
    elif name == "held":
        result(id, said(str(len(held))))
    elif name == "release":
        for one in held:
            result(one, said("held"))
        result(id, said("released"))
    elif name == "meta":
        result(id, said(json.dumps(meta)))
    elif name == "roots":
        result(id, said(str(roots)))
    elif name == "note":
        params = json.dumps({"level": "info", "data": long})
        send('{"jsonrpc":"2.0","method":"notifications/message","params":%s}' % params)
        result(id, said("noted"))
    elif name == "print":
        send("a line for people " + long)
        result(id, said("printed"))
    elif name == "ask":
        asking.append(id)
        send('{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage","params":{"m":"%s"}}' % long)
    else:
        answer = json.dumps(dict(said(long), **COMPLETE))
        first, last = '"id":%s,' % json.dumps(id), ""
        if arguments["id"] == "last":
            first, last = "", ',"id":%s' % json.dumps(id)
        send('{"jsonrpc":"2.0",%s"result":%s%s}' % (first, answer, last))
for line in sys.stdin:
    message = json.loads(line)
    id, method = message.get("id"), message.get("method")
    params = message.get("params") or {}
    if method == "notifications/roots/list_changed":
        roots += 1
    elif method is None:
        result(asking.pop(), said(json.dumps(message)))
    elif method == "server/discover" and modern:
        result(id, dict(HINTS, supportedVersions=["2026-07-28"], capabilities={"tools": {}},
            _meta={"io.modelcontextprotocol/serverInfo": INFO}))
    elif method == "initialize" and not modern:
        result(id, {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": INFO})
    elif method == "tools/list":
        names = ["hold", "held", "release", "meta", "note", "print", "ask", "long", "roots"]
        result(id, dict(HINTS, tools=[{"name": name, "inputSchema": {"type": "object"}} for name in names]))
    elif method == "tools/call":
        call(id, params["name"], params.get("arguments") or {}, params.get("_meta"))
    elif id is not None:
        send(json.dumps({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "no"}}))
"#;

/// The gateway with that server behind it.
async fn start(era: &str) -> (Gateway, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("server.py");
    fs::write(&script, SERVER).unwrap();
    let gateway = gateway(&format!(
        "limits: {{ result: 64KiB }}\nservers:\n  - {{ name: lines, prefix: none, command: python3, args: [\"{}\", {era}] }}\n",
        script.display()
    ))
    .await;
    (gateway, folder)
}

async fn tool(caller: &Caller, name: &str) -> String {
    let reply = modern_tool(caller, name, json!({})).await;
    text(&reply).to_owned()
}

async fn until_held(caller: &Caller, count: &str) {
    until("calls in flight", async || {
        tool(caller, "held").await == count
    })
    .await;
}

#[track_caller]
fn is_too_large(reply: &Reply) {
    let error = &reply.message["error"];
    assert_eq!(error["data"]["kind"], "too_large", "{}", reply.message);
    assert_eq!(error["data"]["upstream"], "lines", "{}", reply.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_over_the_limit_fails_the_call_that_it_answers_and_no_other() {
    for era in ["legacy", "modern"] {
        let (gateway, _folder) = start(era).await;
        let caller = gateway.caller();
        let held = modern_tool(&caller, "hold", json!({}));
        let beside = async {
            until_held(&caller, "1").await;
            is_too_large(&modern_tool(&caller, "long", json!({ "id": "first" })).await);
            // What is no answer concerns nobody, and who asked is told.
            assert_eq!(tool(&caller, "note").await, "noted");
            assert_eq!(tool(&caller, "print").await, "printed");
            let refused = tool(&caller, "ask").await;
            assert!(refused.contains("-32600"), "{era}: {refused}");
            assert_eq!(tool(&caller, "release").await, "released");
        };
        let (held, ()) = tokio::join!(held, beside);
        assert_eq!(text(&held), "held", "{era}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_over_the_limit_that_may_answer_any_call_fails_them_all() {
    for era in ["legacy", "modern"] {
        let (gateway, _folder) = start(era).await;
        let caller = gateway.caller();
        let hold = || modern_tool(&caller, "hold", json!({}));
        let long = async {
            until_held(&caller, "2").await;
            modern_tool(&caller, "long", json!({ "id": "last" })).await
        };
        let (one, other, long) = tokio::join!(hold(), hold(), long);
        for reply in [one, other, long] {
            is_too_large(&reply);
        }
        assert_eq!(
            tool(&caller, "print").await,
            "printed",
            "the server lives on"
        );
    }
}

/// The server of a session hears of changed roots, in a batch as alone (2025-11-25, Roots).
#[tokio::test(flavor = "multi_thread")]
async fn changed_roots_of_a_client_reach_its_servers() {
    let (gateway, _folder) = start("legacy").await;
    let capabilities = json!({ "roots": { "listChanged": true } });
    let session = gateway.session("2025-03-26", capabilities).await.unwrap();
    let heard = async |times: &str| {
        until("the change of roots", async || {
            text(&legacy_tool(&session, "roots", json!({})).await) == times
        })
        .await;
    };
    heard("0").await;
    let change = json!({ "jsonrpc": "2.0", "method": "notifications/roots/list_changed" });
    session.post(&change).await.unwrap();
    heard("1").await;
    session.post(&json!([change])).await.unwrap();
    heard("2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_of_a_request_reaches_a_server_over_stdio() {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for era in ["legacy", "modern"] {
        let (gateway, _folder) = start(era).await;
        let meta = async |own: &str| -> Value {
            let mut headers = call_headers("meta");
            headers.insert("traceparent", parent.parse().unwrap());
            headers.insert("tracestate", "vendor=1".parse().unwrap());
            let meta = META.replacen('{', &format!("{{{own}"), 1);
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"meta","_meta":{meta}}}}}"#
            );
            let answer = gateway.client().post(headers, body).await.unwrap();
            let answer = answer.json().await.unwrap();
            let text = answer["result"]["content"][0]["text"].as_str();
            serde_json::from_str(text.unwrap_or_else(|| panic!("{answer}"))).unwrap()
        };
        let seen = meta("").await;
        assert_eq!(seen["traceparent"], parent, "{era}: {seen}");
        assert_eq!(seen["tracestate"], "vendor=1", "{era}: {seen}");
        let seen = meta(r#""traceparent":"its own","baggage":"a=1","#).await;
        assert_eq!(seen["traceparent"], "its own", "{era}: {seen}");
        assert_eq!(seen["baggage"], "a=1", "{era}: {seen}");
        assert!(seen.get("tracestate").is_none(), "{era}: {seen}");
    }
}
