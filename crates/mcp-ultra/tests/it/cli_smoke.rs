//! `mcp-ultra smoke`.

use std::sync::atomic::Ordering;

use serde_json::Value;

use crate::{
    cli::{command, finish, run},
    server::{LEGACY, MODERN, Server, Speaks},
};

fn step<'a>(report: &'a Value, name: &str) -> &'a Value {
    let steps = report["steps"].as_array().unwrap();
    steps.iter().find(|step| step["name"] == name).unwrap()
}

#[tokio::test]
async fn a_healthy_server_passes_in_both_eras() {
    for (speaks, version) in [(Speaks::Modern, MODERN), (Speaks::Legacy, LEGACY)] {
        let server = Server::start(speaks).await;
        let run = run(&["smoke", "--json", "--target", &server.target()]).await;
        let report: Value = serde_json::from_str(&run.out).unwrap();
        assert_eq!(
            (run.code, &report["ok"]),
            (0, &Value::Bool(true)),
            "{report:#}"
        );
        assert_eq!(report["protocolVersion"], version);
        for name in [
            "connect",
            "tools/list",
            "resources/list",
            "prompts/list",
            "tools/call",
            "/livez",
            "/readyz",
        ] {
            let step = step(&report, name);
            assert_eq!(step["status"], "ok", "{step}");
            assert!(step["ms"].as_f64().unwrap() > 0.0, "{step}");
        }
        assert_eq!(
            step(&report, "resources/list")["detail"],
            "2 resources",
            "both pages"
        );
        assert_eq!(
            server.seen_of("tools/call")[0].body["params"]["name"],
            "echo"
        );
        assert!(
            server.inner.sessions.lock().is_empty(),
            "the session was ended"
        );
    }
}

#[tokio::test]
async fn one_failed_step_fails_the_run_and_the_others_are_done() {
    let server = Server::start(Speaks::Both).await;
    server.inner.ready.store(false, Ordering::Relaxed);
    let run = run(&[
        "smoke",
        "--tool",
        "fail",
        "--lang",
        "en",
        "--target",
        &server.target(),
    ])
    .await;
    assert_eq!(run.code, 1);
    let failed: Vec<&str> = run
        .out
        .lines()
        .filter(|line| line.contains("FAILED"))
        .collect();
    assert_eq!(failed.len(), 2, "{}", run.out);
    assert!(
        failed[0].contains("pedido 7") && failed[1].contains("draining"),
        "{}",
        run.out
    );
    assert!(run.out.contains("did not pass: 2 failed"), "{}", run.out);
}

#[tokio::test]
async fn the_report_speaks_portuguese_where_the_environment_does() {
    let server = Server::start(Speaks::Both).await;
    let target = server.target();
    let mut smoke = command(&["smoke", "--target", &target]);
    smoke.env("LANG", "pt_BR.UTF-8");
    let run = finish(smoke).await;
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.out.contains("O servidor passou."), "{}", run.out);
}

#[tokio::test]
async fn a_server_that_is_not_there_fails_each_step_that_needs_it() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let target = format!("http://127.0.0.1:{port}/mcp");
    let run = run(&["smoke", "--json", "--target", &target]).await;
    assert_eq!(run.code, 1);
    let report: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(step(&report, "connect")["status"], "failed");
    assert_eq!(step(&report, "tools/call")["status"], "skipped");
    assert_eq!(step(&report, "/livez")["status"], "failed");
}

#[tokio::test]
async fn a_tool_that_hangs_is_cut_off() {
    let server = Server::start(Speaks::Both).await;
    let run = run(&[
        "smoke",
        "--json",
        "--tool",
        "wait",
        "--timeout",
        "300ms",
        "--target",
        &server.target(),
    ])
    .await;
    assert_eq!(run.code, 1);
    let report: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(step(&report, "tools/call")["status"], "failed");
    assert_eq!(step(&report, "/readyz")["status"], "ok");
}
