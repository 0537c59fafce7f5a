//! What the tests of the running gateway share: its start, its upstreams, and calls whose every
//! message is checked against the schema of its revision.

use std::{
    env, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::{Duration, Instant},
};

use http::HeaderMap;
use mcp_ultra_testkit::{
    fixture::{self, Era, Options},
    gateway::Gateway,
    raw::{Answer, Reply, legacy::Session, modern::Caller},
    schema::{Revision, assert_valid},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::demo_judge;

/// An upper bound for what should come at once.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// What a modern request says of itself, as text.
pub(crate) const META: &str = r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"testkit","version":"0"},"io.modelcontextprotocol/clientCapabilities":{}}"#;

/// The gateway with this configuration.
pub(crate) async fn gateway(yaml: &str) -> Gateway {
    Gateway::start(Path::new(env!("CARGO_BIN_EXE_mcp-ultra")), yaml)
        .await
        .unwrap()
}

/// A fixture in this process.
pub(crate) async fn fixture(era: Era) -> fixture::http::Running {
    fixture::http::start(Options::new(era)).await.unwrap()
}

/// A fixture on an address that another one may take over.
pub(crate) struct Server {
    stop: CancellationToken,
    serving: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Starts as soon as the address is free.
    pub(crate) async fn start(address: SocketAddr, era: Era) -> Self {
        let listener = loop {
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                // The one before is about to let go of it.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        let stop = CancellationToken::new();
        let serving = tokio::spawn(fixture::http::serve(
            listener,
            Options::new(era),
            stop.clone(),
        ));
        Self { stop, serving }
    }

    /// Ends with all its connections and sessions.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.serving.abort();
        drop(self.serving.await);
    }
}

/// An address on loopback that nothing listens on.
pub(crate) fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// A configuration with one upstream in identity mode, and `rest` before it.
pub(crate) fn only(url: &str, rest: &str) -> String {
    format!("{rest}\nservers:\n  - {{ name: fix, url: \"{url}\", prefix: none }}\n")
}

/// The line of a server that is a fixture over stdio. `marker` stands on its command line.
pub(crate) fn stdio_server(name: &str, era: &str, marker: &str, rest: &str) -> String {
    let binary = fixture_binary();
    format!(
        "  - {{ name: {name}, command: \"{}\", args: [\"--stdio\", \"--era\", \"{era}\", \"--name\", \"{marker}\"{rest} }}\n",
        binary.display()
    )
}

/// The fixture as a program. It is built beside the gateway in a run of the whole workspace; a run
/// of this crate alone builds it here.
pub(crate) fn fixture_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let path = Path::new(env!("CARGO_BIN_EXE_mcp-ultra")).with_file_name("fixture-upstream");
        if !path.exists() {
            let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let built = Command::new(cargo)
                .args([
                    "build",
                    "-p",
                    "mcp-ultra-testkit",
                    "--bin",
                    "fixture-upstream",
                ])
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .status()
                .unwrap();
            assert!(built.success(), "fixture-upstream does not build");
        }
        path
    })
}

/// A name that no other test puts on a command line.
pub(crate) fn marker(what: &str) -> String {
    format!("{what}-{}", std::process::id())
}

/// The fixtures over stdio with this marker on their command line.
pub(crate) fn children(marker: &str) -> Vec<u32> {
    let folders = fs::read_dir("/proc").unwrap();
    let ids = folders.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| {
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        // The guard between the gateway and the program has the marker on its line too.
        let program = words.next().unwrap_or_default();
        program.ends_with(b"fixture-upstream") && words.any(|word| word == marker.as_bytes())
    })
    .collect()
}

/// Waits until the log has `text` in it: it is written a moment after what it tells of.
pub(crate) async fn logs(gateway: &Gateway, text: &str) {
    until(text, async || gateway.output().contains(text)).await;
}

/// Waits until `check` holds.
pub(crate) async fn until(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !check().await {
        assert!(begun.elapsed() < SOON, "{what} did not come about");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The revision that a session has agreed on.
pub(crate) fn revision(session: &Session) -> Revision {
    Revision::ALL
        .into_iter()
        .find(|revision| revision.as_str() == session.version())
        .unwrap()
}

/// Checks a message of the gateway; `method` is that of the request where it is a response.
#[track_caller]
pub(crate) fn judge(revision: Revision, method: &str, message: &Value) {
    if message.get("error").is_some() {
        let name = match revision {
            Revision::V2025_03_26 | Revision::V2025_06_18 => "JSONRPCError",
            _ => "JSONRPCErrorResponse",
        };
        return assert_valid(revision, name, message);
    }
    if message["result"]["resultType"] == "input_required" {
        return assert_valid(revision, "InputRequiredResult", &message["result"]);
    }
    demo_judge::judge(revision, method, message);
}

/// Checks a reply and all that came before it.
#[track_caller]
pub(crate) fn judge_reply(revision: Revision, method: &str, reply: &Reply) {
    for message in &reply.before {
        judge(revision, method, message);
    }
    judge(revision, method, &reply.message);
}

/// A modern call whose messages are all valid.
pub(crate) async fn modern(caller: &Caller, method: &str, params: Value) -> Reply {
    let reply = caller.call(method, params).await.unwrap();
    judge_reply(Revision::V2026_07_28, method, &reply);
    reply
}

/// A modern call of a tool.
pub(crate) async fn modern_tool(caller: &Caller, name: &str, arguments: Value) -> Reply {
    modern(
        caller,
        "tools/call",
        json!({ "name": name, "arguments": arguments }),
    )
    .await
}

/// A legacy call whose messages are all valid.
pub(crate) async fn legacy(session: &Session, method: &str, params: Value) -> Reply {
    legacy_answering(session, method, params, |_| None).await
}

/// The same with answers to what the server asks.
pub(crate) async fn legacy_answering(
    session: &Session,
    method: &str,
    params: Value,
    answer: impl FnMut(&Value) -> Option<Value>,
) -> Reply {
    let reply = session
        .call_answering(method, params, answer)
        .await
        .unwrap();
    judge_reply(revision(session), method, &reply);
    reply
}

/// A legacy call of a tool.
pub(crate) async fn legacy_tool(session: &Session, name: &str, arguments: Value) -> Reply {
    legacy(
        session,
        "tools/call",
        json!({ "name": name, "arguments": arguments }),
    )
    .await
}

/// The first text of the result of a tool.
#[track_caller]
pub(crate) fn text(reply: &Reply) -> &str {
    let text = reply.result()["content"][0]["text"].as_str();
    text.unwrap_or_else(|| panic!("no text: {}", reply.message))
}

/// The names in a list.
pub(crate) fn names(reply: &Reply, list: &str) -> Vec<String> {
    let items = reply.result()[list].as_array().unwrap();
    let name = |item: &Value| item["name"].as_str().unwrap().to_owned();
    items.iter().map(name).collect()
}

/// The status of an answer and the code of the error in its body, which must be a valid one.
pub(crate) async fn refusal(answer: Answer) -> (u16, i64) {
    let status = answer.status.as_u16();
    let message = answer.json().await.unwrap();
    judge(Revision::V2026_07_28, "", &message);
    (status, message["error"]["code"].as_i64().unwrap())
}

/// The body of a modern tool call; all of it is text, so that it can be odd.
pub(crate) fn call_text(tool: &str, arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments},"_meta":{META}}}}}"#
    )
}

/// The headers of a modern tool call.
pub(crate) fn call_headers(tool: &str) -> HeaderMap {
    let mut headers = mcp_ultra_testkit::raw::headers::post();
    headers.insert("mcp-protocol-version", "2026-07-28".parse().unwrap());
    headers.insert("mcp-method", "tools/call".parse().unwrap());
    headers.insert("mcp-name", tool.parse().unwrap());
    headers
}
