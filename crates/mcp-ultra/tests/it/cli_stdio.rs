//! `mcp-ultra stdio`: a client on one side, a server over HTTP on the other.

use std::{process::Stdio, sync::atomic::Ordering, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
    time::timeout,
};

use crate::{
    cli::command,
    server::{LEGACY, MODERN, Server, Speaks},
};

const SOON: Duration = Duration::from_secs(10);

/// The bridge, with the client's end in our hands.
pub(crate) struct Bridge {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Bridge {
    pub(crate) fn start(target: &str) -> Self {
        let mut command = command(&["stdio", "--target", target]);
        command.stdin(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            input: child.stdin.take(),
            child,
            output,
        }
    }

    async fn send_raw(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        input
            .write_all(format!("{line}\n").as_bytes())
            .await
            .unwrap();
        input.flush().await.unwrap();
    }

    async fn send(&mut self, message: &Value) {
        self.send_raw(&message.to_string()).await;
    }

    /// The next line; each must be one message.
    async fn next(&mut self) -> Value {
        let line = timeout(SOON, self.output.next_line())
            .await
            .expect("a line in time");
        let line = line.unwrap().expect("a line before the end");
        let message: Value = serde_json::from_str(&line).expect(&line);
        assert_eq!(message["jsonrpc"], "2.0", "{line}");
        message
    }

    pub(crate) async fn ask(&mut self, message: &Value) -> Value {
        self.send(message).await;
        self.next().await
    }

    pub(crate) async fn handshake(&mut self) {
        let answer = self
            .ask(&json!({"jsonrpc":"2.0","id":0,"method":"initialize","params":{
                "protocolVersion":LEGACY,"capabilities":{"elicitation":{}},"clientInfo":{"name":"t","version":"1"}}}))
            .await;
        assert_eq!(answer["result"]["protocolVersion"], LEGACY);
        self.send(&json!({"jsonrpc":"2.0","method":"notifications/initialized"}))
            .await;
    }

    /// Closes the input; the exit code, and what was still written.
    pub(crate) async fn end(mut self) -> (i32, Vec<Value>) {
        self.input = None;
        let mut rest = Vec::new();
        while let Some(line) = timeout(SOON, self.output.next_line())
            .await
            .unwrap()
            .unwrap()
        {
            rest.push(serde_json::from_str(&line).unwrap());
        }
        let status = timeout(SOON, self.child.wait()).await.unwrap().unwrap();
        (status.code().unwrap(), rest)
    }
}

pub(crate) fn modern(id: impl Into<Value>, method: &str, params: Value) -> Value {
    let mut params = params;
    params["_meta"] = json!({"io.modelcontextprotocol/protocolVersion":MODERN,
        "io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},
        "io.modelcontextprotocol/clientCapabilities":{}});
    json!({"jsonrpc":"2.0","id":id.into(),"method":method,"params":params})
}

pub(crate) fn call(name: &str, arguments: &Value) -> Value {
    json!({"name":name,"arguments":arguments})
}

/// Waits until something holds that the other process brings about.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not in time: {what}");
}

#[tokio::test]
async fn a_legacy_client_has_a_session_from_its_first_to_its_last_line() {
    let server = Server::start(Speaks::Both).await;
    let mut bridge = Bridge::start(&server.target());
    bridge.handshake().await;
    let answer = bridge
        .ask(&json!({"jsonrpc":"2.0","id":"a","method":"tools/call","params":call("echo",&json!({"text":"oi"}))}))
        .await;
    assert_eq!(answer["id"], "a");
    assert_eq!(answer["result"]["content"][0]["text"], "oi");
    let seen = &server.seen_of("tools/call")[0];
    assert_eq!(seen.header("mcp-protocol-version"), Some(LEGACY));
    assert_eq!(seen.header("mcp-session-id"), Some("session-1"));

    // The server speaks first.
    let pushed = json!({"jsonrpc":"2.0","method":"notifications/tools/list_changed"});
    until("the stream is open", || server.push(&pushed)).await;
    assert_eq!(bridge.next().await, pushed);

    let (code, rest) = bridge.end().await;
    assert_eq!((code, rest.len()), (0, 0));
    assert_eq!(server.seen().last().unwrap().method, "DELETE");
    assert!(server.inner.sessions.lock().is_empty());
}

#[tokio::test]
async fn a_server_that_asks_in_the_middle_of_a_call_is_answered() {
    let server = Server::start(Speaks::Legacy).await;
    let mut bridge = Bridge::start(&server.target());
    bridge.handshake().await;
    let asked = bridge
        .ask(&json!({"jsonrpc":"2.0","id":1,"method":"tools/call","params":call("ask",&json!({}))}))
        .await;
    assert_eq!(asked["method"], "elicitation/create");
    let answer = bridge
        .ask(&json!({"jsonrpc":"2.0","id":asked["id"],"result":{"action":"accept","content":{}}}))
        .await;
    assert_eq!(
        answer["result"]["content"][0]["text"],
        "\"ask-1\": \"accept\""
    );
}

#[tokio::test]
async fn a_session_that_the_gateway_forgot_is_opened_anew_unseen() {
    let server = Server::start(Speaks::Legacy).await;
    let mut bridge = Bridge::start(&server.target());
    bridge.handshake().await;
    // This server knows no such method; the bridge remembers it all the same.
    let level = bridge
        .ask(
            &json!({"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"error"}}),
        )
        .await;
    assert_eq!(level["error"]["code"], -32601);
    server.inner.sessions.lock().clear();
    for id in 2..4 {
        let answer = bridge
            .ask(&json!({"jsonrpc":"2.0","id":id,"method":"tools/call","params":call("echo",&json!({"text":"de novo"}))}))
            .await;
        assert_eq!(
            (&answer["id"], &answer["result"]["content"][0]["text"]),
            (&json!(id), &json!("de novo"))
        );
    }
    assert_eq!(server.seen_of("initialize").len(), 2);
    assert_eq!(server.seen_of("notifications/initialized").len(), 2);
    let levels = server.seen_of("logging/setLevel");
    assert_eq!(levels.len(), 2, "the level was set again");
    assert_eq!(levels[1].header("mcp-session-id"), Some("session-2"));
    assert_eq!(bridge.end().await, (0, Vec::new()));
}

#[tokio::test]
async fn a_modern_client_gets_the_headers_that_http_wants() {
    let server = Server::start(Speaks::Modern).await;
    let mut bridge = Bridge::start(&server.target());
    let found = bridge.ask(&modern(1, "server/discover", json!({}))).await;
    assert_eq!(found["result"]["supportedVersions"][0], MODERN);

    // No list has passed through: the bridge looks the tool up.
    let answer = bridge
        .ask(&modern(
            2,
            "tools/call",
            call("where", &json!({"region":"São Paulo"})),
        ))
        .await;
    assert_eq!(
        answer["error"]["code"], -32020,
        "this server compares without decoding: {answer}"
    );
    let answer = bridge
        .ask(&modern(
            3,
            "tools/call",
            call("where", &json!({"region":"sul"})),
        ))
        .await;
    assert_eq!(answer["result"]["structuredContent"]["region"], "sul");
    let calls = server.seen_of("tools/call");
    assert_eq!(
        calls[0].header("mcp-param-region"),
        Some("=?base64?U8OjbyBQYXVsbw==?=")
    );
    assert_eq!(
        calls.last().unwrap().header("mcp-param-region"),
        Some("sul")
    );
    assert_eq!(calls.last().unwrap().header("mcp-name"), Some("where"));
    assert!(
        server
            .seen()
            .iter()
            .all(|seen| seen.header("mcp-session-id").is_none())
    );

    let list = bridge.ask(&modern("l", "tools/list", json!({}))).await;
    let tools = list["result"]["tools"].as_array().unwrap();
    assert!(tools.iter().all(|tool| tool["name"] != "bad_header"));
    assert_eq!(tools.len(), 7);
    assert_eq!(bridge.end().await, (0, Vec::new()));
}

#[tokio::test]
async fn requests_run_side_by_side_and_one_is_cancelled_by_closing_its_stream() {
    let server = Server::start(Speaks::Modern).await;
    let mut bridge = Bridge::start(&server.target());
    bridge
        .send(&modern("w", "tools/call", call("wait", &json!({}))))
        .await;
    let answer = bridge
        .ask(&modern(
            2,
            "tools/call",
            call("echo", &json!({"text":"já"})),
        ))
        .await;
    assert_eq!(answer["id"], 2, "the one that waits holds nobody up");
    until("the call that waits has arrived", || {
        server.seen_of("tools/call").len() == 2
    })
    .await;
    bridge
        .send(
            &json!({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"w"}}),
        )
        .await;
    until("the stream is closed", || {
        server.inner.cancelled.load(Ordering::Relaxed) == 1
    })
    .await;
    assert!(server.seen_of("notifications/cancelled").is_empty());
    assert_eq!(
        bridge.end().await,
        (0, Vec::new()),
        "no answer to a cancelled request"
    );
}

#[tokio::test]
async fn a_subscription_stays_open_until_the_end() {
    let server = Server::start(Speaks::Modern).await;
    let mut bridge = Bridge::start(&server.target());
    let first = bridge
        .ask(&modern(
            7,
            "subscriptions/listen",
            json!({"notifications":{"toolsListChanged":true}}),
        ))
        .await;
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(
        bridge.next().await["method"],
        "notifications/tools/list_changed"
    );
    assert_eq!(bridge.end().await, (0, Vec::new()));
    until("the stream is closed", || {
        server.inner.cancelled.load(Ordering::Relaxed) == 1
    })
    .await;
}

#[tokio::test]
async fn a_gateway_that_is_down_is_said_to_be_and_found_again() {
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut bridge = Bridge::start(&format!("http://{address}/mcp"));
    let answer = bridge.ask(&modern(1, "server/discover", json!({}))).await;
    assert_eq!(
        (&answer["id"], &answer["error"]["code"]),
        (&json!(1), &json!(-32603))
    );
    let said = answer["error"]["message"].as_str().unwrap();
    assert!(
        said.contains("no connection to") && said.contains("Is the gateway running?"),
        "{said}"
    );

    // One that comes up while the bridge is trying is found without an error.
    bridge.send(&modern(2, "server/discover", json!({}))).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    let _server = Server::start_at(address, Speaks::Modern).await;
    assert_eq!(bridge.next().await["result"]["resultType"], "complete");
    assert_eq!(bridge.end().await, (0, Vec::new()));
}

#[tokio::test]
async fn lines_that_are_no_messages_are_answered_and_forgotten() {
    let server = Server::start(Speaks::Modern).await;
    let mut bridge = Bridge::start(&server.target());
    for (line, code) in [
        ("{", -32700),
        ("7", -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":2}"#, -32600),
    ] {
        bridge.send_raw(line).await;
        assert_eq!(bridge.next().await["error"]["code"], code, "{line}");
    }
    bridge.send_raw("").await;
    assert!(bridge.ask(&modern(1, "server/discover", json!({}))).await["result"].is_object());
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn what_was_asked_before_the_input_closed_is_answered() {
    let server = Server::start(Speaks::Both).await;
    let mut bridge = Bridge::start(&server.target());
    bridge
        .send(&modern(1, "tools/call", call("slow", &json!({}))))
        .await;
    let (code, rest) = bridge.end().await;
    assert_eq!(code, 0);
    assert_eq!(rest.len(), 7, "three times progress and log, one answer");
    assert_eq!(rest[6]["result"]["content"][0]["text"], "pronto");
}

#[tokio::test]
async fn a_signal_ends_it_cleanly_with_a_call_in_flight() {
    let server = Server::start(Speaks::Both).await;
    let mut bridge = Bridge::start(&server.target());
    bridge.handshake().await;
    bridge
        .send(
            &json!({"jsonrpc":"2.0","id":1,"method":"tools/call","params":call("wait",&json!({}))}),
        )
        .await;
    until("the call has arrived", || {
        server.seen_of("tools/call").len() == 1
    })
    .await;
    let pid = i32::try_from(bridge.child.id().unwrap()).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    let status = timeout(Duration::from_secs(3), bridge.child.wait())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(
        server.inner.sessions.lock().is_empty(),
        "the session was ended"
    );
}

#[tokio::test]
async fn a_stream_that_ends_early_is_taken_up_again_or_told() {
    let server = Server::start(Speaks::Both).await;
    let mut bridge = Bridge::start(&server.target());
    bridge.handshake().await;
    let answer = bridge
        .ask(&json!({"jsonrpc":"2.0","id":1,"method":"tools/call","params":call("resume",&json!({}))}))
        .await;
    assert_eq!(answer["result"]["content"][0]["text"], "retomado");
    let answer = bridge
        .ask(&modern(2, "tools/call", call("resume", &json!({}))))
        .await;
    assert_eq!(
        (&answer["id"], &answer["error"]["code"]),
        (&json!(2), &json!(-32603))
    );
    assert_eq!(bridge.end().await, (0, Vec::new()));
}
