//! `mcp-ultra tools`, in both eras.

use serde_json::Value;

use crate::{
    cli::run,
    server::{LEGACY, MODERN, Server, Speaks},
};

const ALL: [Speaks; 3] = [Speaks::Modern, Speaks::Legacy, Speaks::Both];

#[tokio::test]
async fn the_era_is_found_out() {
    for speaks in ALL {
        let server = Server::start(speaks).await;
        let run = run(&["tools", "list", "--target", &server.target()]).await;
        assert_eq!(run.code, 0, "{speaks:?}: {}", run.err);
        let legacy = speaks == Speaks::Legacy;
        assert_eq!(
            server.seen_of("initialize").len(),
            usize::from(legacy),
            "{speaks:?}"
        );
        assert_eq!(
            server.seen_of("notifications/initialized").len(),
            usize::from(legacy)
        );
        let list = server.seen_of("tools/list").remove(0);
        let version = if legacy { LEGACY } else { MODERN };
        assert_eq!(list.header("mcp-protocol-version"), Some(version));
        assert_eq!(list.header("mcp-session-id").is_some(), legacy);
        assert!(
            server.inner.sessions.lock().is_empty(),
            "the session was ended"
        );
    }
}

#[tokio::test]
async fn tools_are_listed_for_people_and_programs() {
    let server = Server::start(Speaks::Modern).await;
    let list = run(&["tools", "list", "--target", &server.target()]).await;
    let echo = list
        .out
        .lines()
        .find(|line| line.starts_with("echo"))
        .unwrap();
    assert!(
        echo.contains("text:string") && echo.contains("times?:integer"),
        "{echo}"
    );
    assert!(echo.ends_with("Says it again"), "{echo}");
    assert!(
        !list.out.contains("bad_header"),
        "against the rules, so it is left out"
    );
    assert!(
        list.err.contains("bad_header"),
        "and that is said: {}",
        list.err
    );

    let json = run(&["tools", "list", "--json", "--target", &server.target()]).await;
    let tools: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(tools[0]["name"], "echo");
    assert_eq!(tools.as_array().unwrap().len(), 7);
}

#[tokio::test]
async fn a_call_prints_what_the_tool_returns() {
    for speaks in ALL {
        let server = Server::start(speaks).await;
        let target = server.target();
        let call = run(&[
            "tools", "call", "echo", "--arg", "text=42", "--arg", "times=2", "--target", &target,
        ])
        .await;
        assert_eq!(
            (call.code, call.out.as_str()),
            (0, "42\n"),
            "{speaks:?}: {}",
            call.err
        );
        let sent = &server.seen_of("tools/call")[0].body["params"]["arguments"];
        assert_eq!(sent["text"], "42", "a string by the schema");
        assert_eq!(sent["times"], 2, "an integer by the schema");

        let call = run(&[
            "tools",
            "call",
            "where",
            "--json",
            "--arguments",
            r#"{"region":"sul"}"#,
            "--target",
            &target,
        ])
        .await;
        let result: Value = serde_json::from_str(&call.out).unwrap();
        assert_eq!(
            result["structuredContent"]["region"], "sul",
            "{speaks:?}: {}",
            call.err
        );

        let slow = run(&["tools", "call", "slow", "--target", &target]).await;
        assert_eq!(
            (slow.code, slow.out.as_str()),
            (0, "pronto\n"),
            "{}",
            slow.err
        );
        assert!(
            slow.err.contains("[info] passo 3"),
            "log messages are shown: {}",
            slow.err
        );
    }
}

#[tokio::test]
async fn a_call_that_fails_says_why_and_exits_with_one() {
    let server = Server::start(Speaks::Both).await;
    let target = server.target();
    let fail = run(&["tools", "call", "fail", "--target", &target]).await;
    assert_eq!(fail.code, 1);
    assert!(fail.out.contains("pedido 7") && fail.err.contains("reported an error"));

    let unknown = run(&["tools", "call", "ECHO", "--target", &target]).await;
    assert_eq!(unknown.code, 1);
    assert!(
        unknown.err.contains("did you mean \"echo\""),
        "{}",
        unknown.err
    );

    let wrong = run(&[
        "tools", "call", "echo", "--arg", "text=a", "--arg", "times=x", "--target", &target,
    ])
    .await;
    assert_eq!(wrong.code, 2, "{}", wrong.err);

    let late = run(&[
        "tools",
        "call",
        "wait",
        "--timeout",
        "200ms",
        "--target",
        &target,
    ])
    .await;
    assert_eq!(late.code, 1);
    assert!(late.err.contains("no answer within 0.2 s"), "{}", late.err);
}

#[tokio::test]
async fn what_a_server_asks_for_is_reported_or_declined() {
    let modern = Server::start(Speaks::Modern).await;
    let ask = run(&["tools", "call", "ask", "--target", &modern.target()]).await;
    assert_eq!(ask.code, 1);
    assert!(ask.err.contains("Qual cidade?"), "{}", ask.err);

    let legacy = Server::start(Speaks::Legacy).await;
    let ask = run(&["tools", "call", "ask", "--target", &legacy.target()]).await;
    assert_eq!(
        (ask.code, ask.out.as_str()),
        (0, "\"ask-1\": \"decline\"\n"),
        "{}",
        ask.err
    );
    assert!(ask.err.contains("declined"), "{}", ask.err);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_to_be_so() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let target = format!("http://127.0.0.1:{port}/mcp");
    let run = run(&["tools", "list", "--target", &target]).await;
    assert_eq!(run.code, 1);
    assert!(
        run.err.contains("no connection to") && run.err.contains("--target"),
        "{}",
        run.err
    );
}

#[tokio::test]
async fn a_stream_that_a_legacy_server_closes_early_is_taken_up_again() {
    let server = Server::start(Speaks::Legacy).await;
    let run = run(&["tools", "call", "resume", "--target", &server.target()]).await;
    assert_eq!(
        (run.code, run.out.as_str()),
        (0, "retomado\n"),
        "{}",
        run.err
    );

    // A modern stream can't be: that is said.
    let server = Server::start(Speaks::Modern).await;
    let run = crate::cli::run(&["tools", "call", "resume", "--target", &server.target()]).await;
    assert_eq!(run.code, 1);
    assert!(
        run.err.contains("ended before the result came"),
        "{}",
        run.err
    );
}

#[tokio::test]
async fn what_is_hidden_in_tools_is_found() {
    let server = Server::start(Speaks::Modern).await;
    let target = server.target();
    let clean = run(&["tools", "scan", "--target", &target]).await;
    assert_eq!(clean.code, 0, "{}", clean.err);
    assert!(clean.out.contains("Nothing was found"), "{}", clean.out);
    server
        .inner
        .poisoned
        .store(true, std::sync::atomic::Ordering::Relaxed);
    let found = run(&["tools", "scan", "--target", &target]).await;
    assert_eq!(found.code, 1, "{}", found.out);
    for line in [
        "high  poisoned  description: instruction: do not tell the user",
        "high  poisoned  inputSchema.title: invisible: 2 tag characters (U+E0000 and on)",
        "medium  Ech0  name: look_alike: looks like echo",
    ] {
        assert!(found.out.contains(line), "{line}: {}", found.out);
    }
    assert!(found.out.is_ascii(), "{}", found.out);
    let json = run(&["tools", "scan", "--json", "--target", &target]).await;
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json[0]["tool"], "poisoned");
    assert_eq!(json[0]["severity"], "high");
}
