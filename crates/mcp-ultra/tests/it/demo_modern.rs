//! The demo server over stdio, with a client of 2026-07-28.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    demo_judge::judge_structured,
    demo_stdio::{Stdio, address, calls, questions},
};

#[tokio::test]
async fn everything_is_there_and_valid() {
    let mut client = Stdio::modern();
    let discovered = client.call("server/discover", json!({})).await;
    assert_eq!(
        discovered["result"]["supportedVersions"],
        json!(["2026-07-28"])
    );
    for (method, params) in questions() {
        let answer = client.call(method, params.clone()).await;
        let result = &answer["result"];
        assert_eq!(
            result["resultType"], "complete",
            "{method} {params}: {answer}"
        );
        let info = &result["_meta"]["io.modelcontextprotocol/serverInfo"];
        assert_eq!(info["name"], "mcp-ultra-demo", "{method}");
        let cacheable = !matches!(method, "prompts/get" | "completion/complete");
        assert_eq!(result.get("ttlMs").is_some(), cacheable, "{method}");
    }
    let listed = client.call("tools/list", json!({})).await;
    let tools = &listed["result"]["tools"];
    assert_eq!(tools.as_array().unwrap().len(), 9);
    for (name, arguments) in calls() {
        let answer = client.tool(name, arguments).await;
        assert_eq!(answer["result"].get("isError"), None, "{name}: {answer}");
        judge_structured(tools, name, &answer["result"]);
    }
    client.end().await;
}

#[tokio::test]
async fn a_long_list_comes_in_pages_and_only_by_its_own_cursors() {
    let mut client = Stdio::modern();
    let first = client.call("resources/list", json!({})).await;
    let cursor = &first["result"]["nextCursor"];
    assert!(cursor.is_string(), "{first}");
    let second = client
        .call("resources/list", json!({"cursor": cursor}))
        .await;
    let uris = |page: &Value| -> Vec<String> {
        let resources = page["result"]["resources"].as_array().unwrap();
        resources.iter().map(|r| r["uri"].to_string()).collect()
    };
    assert_eq!(uris(&first).len(), 10);
    assert!(!uris(&second).is_empty());
    assert!(uris(&second).iter().all(|uri| !uris(&first).contains(uri)));
    assert_eq!(second["result"].get("nextCursor"), None);
    for (method, cursor) in [("tools/list", cursor), ("resources/list", &json!("10"))] {
        let refused = client.call(method, json!({"cursor": cursor})).await;
        assert_eq!(refused["error"]["code"], -32602, "{method}");
    }
    client.end().await;
}

/// Calls `update_address` and returns the state of the question.
async fn asked(client: &mut Stdio) -> Value {
    let answer = client.tool("update_address", address()).await;
    let result = &answer["result"];
    assert_eq!(result["resultType"], "input_required", "{answer}");
    let question = &result["inputRequests"]["confirmation"];
    assert_eq!(question["method"], "elicitation/create");
    assert_eq!(result.get("ttlMs"), None);
    result["requestState"].clone()
}

async fn answered(client: &mut Stdio, state: &Value, answer: Value, arguments: Value) -> Value {
    let params = json!({
        "name": "update_address",
        "arguments": arguments,
        "inputResponses": {"confirmation": answer},
        "requestState": state,
    });
    client.call("tools/call", params).await
}

async fn street(client: &mut Stdio) -> Value {
    let read = client
        .tool("get_customer", json!({"customer_id": "cus-0003"}))
        .await;
    read["result"]["structuredContent"]["customer"]["address"]["street"].clone()
}

#[tokio::test]
async fn an_address_changes_once_and_only_when_the_user_says_so() {
    let mut client = Stdio::modern();
    let before = street(&mut client).await;
    let state = asked(&mut client).await;
    for no in [
        json!({"action": "decline"}),
        json!({"action": "cancel"}),
        json!({"action": "accept", "content": {"confirm": false}}),
    ] {
        let kept = answered(&mut client, &state, no, address()).await;
        assert_eq!(
            kept["result"]["structuredContent"]["updated"], false,
            "{kept}"
        );
        assert_eq!(street(&mut client).await, before);
    }
    let yes = json!({"action": "accept", "content": {"confirm": true}});
    let mut other = address();
    other["number"] = json!("666");
    let forged = json!(format!("{}A", state.as_str().unwrap()));
    for (state, arguments) in [(&state, other), (&forged, address())] {
        let refused = answered(&mut client, state, yes.clone(), arguments).await;
        assert_eq!(refused["error"]["code"], -32602, "{refused}");
    }
    assert_eq!(street(&mut client).await, before);
    let changed = answered(&mut client, &state, yes.clone(), address()).await;
    assert_eq!(
        changed["result"]["structuredContent"]["updated"], true,
        "{changed}"
    );
    assert_eq!(street(&mut client).await, "Rua da Mudança");
    let again = answered(&mut client, &state, yes, address()).await;
    assert_eq!(
        again["error"]["code"], -32602,
        "one confirmation, one change"
    );
    client.capabilities = json!({});
    let unable = client.tool("update_address", address()).await;
    assert_eq!(unable["error"]["code"], -32021);
    assert!(unable["error"]["data"]["requiredCapabilities"]["elicitation"].is_object());
    client.end().await;
}

#[tokio::test]
async fn a_slow_tool_holds_nobody_up_and_can_be_cancelled() {
    let mut client = Stdio::modern();
    let slow = json!({"name": "flaky", "arguments": {"mode": "slow", "seconds": 60}});
    let slow = client.send("tools/call", slow);
    let quick = client.tool("echo", json!({"text": "first"})).await;
    assert_eq!(quick["result"]["content"][0]["text"], "first");
    let method = "notifications/cancelled";
    client.write(&json!({"jsonrpc": "2.0", "method": method, "params": {"requestId": slow}}));
    assert_eq!(client.next_within(Duration::from_millis(300)).await, None);
    // The id is free again, which it was not while the call went on.
    let begun = Instant::now();
    let mut params = json!({"name": "echo", "arguments": {"text": "again"}});
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    client.write(&json!({"jsonrpc": "2.0", "id": slow, "method": "tools/call", "params": params}));
    let again = client.response(slow).await;
    assert_eq!(again["result"]["content"][0]["text"], "again");
    assert!(begun.elapsed() < Duration::from_secs(10));
    client.end().await;
}

#[tokio::test]
async fn the_end_of_stdin_ends_the_server_even_when_it_is_busy() {
    let mut client = Stdio::modern();
    let slow = json!({"name": "flaky", "arguments": {"mode": "slow", "seconds": 60}});
    client.send("tools/call", slow);
    let listen = client.send("subscriptions/listen", json!({"notifications": {}}));
    let begun = Instant::now();
    client.process.close_stdin();
    let closed = client.response(listen).await;
    let id = &closed["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"];
    assert_eq!(*id, listen);
    client.end().await;
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn an_export_tells_how_far_it_is_to_those_who_asked() {
    let mut client = Stdio::modern();
    let export = json!({"name": "export_customers", "arguments": {"seconds": 0}});
    client.call("tools/call", export.clone()).await;
    assert!(client.early("notifications/message").is_empty());
    assert!(client.early("notifications/progress").is_empty());
    let mut asking = export;
    asking["_meta"] = json!({"progressToken": "p-1", "io.modelcontextprotocol/logLevel": "notice"});
    let exported = client.call("tools/call", asking).await;
    assert_eq!(exported["result"]["structuredContent"]["exported"], 25);
    let progress = client.early("notifications/progress");
    assert_eq!(progress.len(), 25);
    for (done, message) in (1..).zip(&progress) {
        assert_eq!(message["params"]["progressToken"], "p-1");
        assert_eq!(message["params"]["progress"], done);
    }
    let logged = client.early("notifications/message");
    assert_eq!(logged.len(), 1, "below notice is not wanted: {logged:?}");
    client.end().await;
}

#[tokio::test]
async fn a_listener_hears_what_it_asked_for_and_nothing_after_it_left() {
    let mut client = Stdio::modern();
    let wanted = json!({"notifications": {
        "toolsListChanged": true,
        "resourcesListChanged": true,
        "resourceSubscriptions": ["customer://cus-0005", "customer://cus-9999"],
    }});
    let listen = client.send("subscriptions/listen", wanted);
    let acknowledged = client
        .wait(|m| m["method"] == "notifications/subscriptions/acknowledged")
        .await;
    let granted = &acknowledged["params"]["notifications"];
    assert_eq!(
        *granted,
        json!({"resourcesListChanged": true, "resourceSubscriptions": ["customer://cus-0005"]})
    );
    let note = |id: &str| json!({"customer_id": id, "text": "Primeira observação."});
    client.tool("add_note", note("cus-0005")).await;
    for method in [
        "notifications/resources/updated",
        "notifications/resources/list_changed",
    ] {
        let told = client.wait(|message| message["method"] == method).await;
        let id = &told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"];
        assert_eq!(*id, listen, "{told}");
    }
    let params = json!({"requestId": listen});
    client.write(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}));
    client.tool("add_note", note("cus-0006")).await;
    assert_eq!(client.next_within(Duration::from_millis(200)).await, None);
    client.end().await;
}

#[tokio::test]
async fn failures_are_what_was_asked_for() {
    let mut client = Stdio::modern();
    let failed = client.tool("flaky", json!({"mode": "tool_error"})).await;
    assert_eq!(failed["result"]["isError"], true);
    let failed = client
        .tool("flaky", json!({"mode": "protocol_error"}))
        .await;
    assert_eq!(failed["error"]["code"], -32603);
    for (name, arguments) in [
        ("find_customer", json!({"query": "x"})),
        ("find_customer", json!({"query": "xx", "more": 1})),
        ("get_customer", json!({"customer_id": "cus-9999"})),
        ("list_orders", json!({"region": "leste"})),
        ("add_note", json!({"customer_id": "cus-0001", "text": " "})),
        ("export_customers", json!({"seconds": 61})),
        ("update_address", json!({"customer_id": "cus-0001"})),
    ] {
        let refused = client.tool(name, arguments.clone()).await;
        assert_eq!(
            refused["result"]["isError"], true,
            "{name} {arguments}: {refused}"
        );
    }
    let unknown = client.tool("nope", json!({})).await;
    assert_eq!(unknown["error"]["code"], -32602);
    let unknown = client
        .call("resources/read", json!({"uri": "customer://cus-9999"}))
        .await;
    assert_eq!(unknown["error"]["code"], -32602);
    for method in [
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "initialize",
        "x/y",
    ] {
        let refused = client.call(method, json!({})).await;
        assert_eq!(refused["error"]["code"], -32601, "{method}");
    }
    client.send(
        "tools/call",
        json!({"name": "flaky", "arguments": {"mode": "crash"}}),
    );
    let status = client.process.wait(Duration::from_secs(5)).await.unwrap();
    assert_eq!(status.code(), Some(70));
}

#[tokio::test]
async fn what_is_not_a_message_is_refused_and_the_next_one_is_answered() {
    let mut client = Stdio::modern();
    for (line, code) in [
        ("{", -32700),
        ("\0", -32700),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, -32600),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#, -32602),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"1999-01-01"}}}"#,
            -32022,
        ),
    ] {
        client
            .process
            .write(format!("{line}\n").as_bytes())
            .unwrap();
        let refused = client.wait(|message| message.get("error").is_some()).await;
        assert_eq!(refused["error"]["code"], code, "{line}: {refused}");
    }
    let deep = format!("{}{}\n", "[".repeat(500), "]".repeat(500));
    let long = format!("\"{}\"\n", "x".repeat(5 << 20));
    for line in [deep, long] {
        client.process.write(line.as_bytes()).unwrap();
        let refused = client.wait(|message| message.get("error").is_some()).await;
        assert_eq!(refused["error"]["code"], -32600);
    }
    let answer = client.tool("echo", json!({"text": "still here"})).await;
    assert_eq!(answer["result"]["content"][0]["text"], "still here");
    client.end().await;
}
