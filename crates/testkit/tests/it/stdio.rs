//! The fixture as a process, over stdio and over HTTP.

use std::time::Duration;

use mcp_ultra_testkit::{
    process::Process,
    raw::{Client, modern::Caller},
};
use serde_json::{Value, json};

const FIXTURE: &str = env!("CARGO_BIN_EXE_fixture-upstream");
const LIMIT: Duration = Duration::from_secs(10);

async fn answer(process: &mut Process, message: &Value) -> Value {
    process
        .write(format!("{message}\n").as_bytes())
        .expect("written");
    let id = &message["id"];
    let answer = process.line("an answer", LIMIT, |line| {
        let answer: Value = serde_json::from_str(line).ok()?;
        (answer["id"] == *id).then_some(answer)
    });
    answer.await.expect("an answer")
}

#[tokio::test]
async fn both_eras_work_over_stdio_and_the_process_ends_with_its_input() {
    let initialize = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": { "name": "testkit", "version": "0" } } });
    let discover = json!({ "jsonrpc": "2.0", "id": 2, "method": "server/discover", "params": { "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "testkit", "version": "0" },
        "io.modelcontextprotocol/clientCapabilities": {} } } });
    for (era, legacy, modern) in [
        ("legacy", None, Some(-32601)),
        ("modern", Some(-32022), None),
        ("dual", None, None),
    ] {
        for (message, code) in [(&initialize, legacy), (&discover, modern)] {
            let mut process =
                Process::start(FIXTURE, ["--stdio", "--era", era], &[]).expect("it starts");
            let answer = answer(&mut process, message).await;
            assert_eq!(answer["error"]["code"].as_i64(), code, "{era}: {answer}");
            process.close_stdin();
            assert!(process.wait(LIMIT).await.expect("it ends").success());
        }
    }
}

#[tokio::test]
async fn the_http_fixture_says_where_it_listens() {
    let mut process =
        Process::start(FIXTURE, ["--era", "modern", "--name", "second"], &[]).expect("it starts");
    let url = process.line("its address", LIMIT, |line| {
        let ready: Value = serde_json::from_str(line).ok()?;
        ready["listening"].as_str().map(ToOwned::to_owned)
    });
    let caller = Caller::new(Client::new(url.await.expect("an address")));
    let reply = caller
        .call("server/discover", json!({}))
        .await
        .expect("discovered");
    let server = &reply.result()["_meta"]["io.modelcontextprotocol/serverInfo"];
    assert_eq!(server["name"], "second");
}
