//! Clients of others through the gateway to servers of others: the official SDKs for TypeScript
//! (both majors) and Python, and the inspector, in both eras, over HTTP and through the stdio bridge;
//! behind the gateway the reference servers, over stdio and streamable HTTP.
//!
//! What the SDKs check is in `tests/clients`: `checks.mjs` and `sdk.py`.

use std::{fs, net::TcpListener, path::Path, time::Duration};

use mcp_ultra_testkit::process::Process;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::real_clients_installed::{Gateway, Run, command, finish, node, package, python, script};

/// A client with all its checks takes about ten seconds.
const LIMIT: Duration = Duration::from_mins(3);
/// How long a server over HTTP may take until it listens.
const READY: Duration = Duration::from_secs(30);
/// Checks in `checks.mjs`: 16 for each of the two servers with everything, 5 for the others.
const TYPESCRIPT_CHECKS: u32 = 37;
/// Checks in `sdk.py`: 9 for each of the two, 2 for the others.
const PYTHON_CHECKS: u32 = 20;

/// The binary under test.
const GATEWAY: &str = env!("CARGO_BIN_EXE_mcp-ultra");

/// A gateway in front of the reference servers, with a folder for the file server.
struct Rig {
    gateway: Gateway,
    /// `server-everything` over streamable HTTP.
    _remote: Process,
    folder: TempDir,
}

impl Rig {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = folder.path().join("files");
        fs::create_dir(&files).unwrap();
        let (remote, url) = everything_over_http().await;
        let everything = package("@modelcontextprotocol/server-everything/dist/index.js");
        let filesystem = package("@modelcontextprotocol/server-filesystem/dist/index.js");
        let memory = package("@modelcontextprotocol/server-memory/dist/index.js");
        let graph = folder.path().join("graph.jsonl");
        let servers = json!([
            { "name": "everything", "command": node(), "args": [everything, "stdio"] },
            { "name": "remote", "url": url },
            { "name": "files", "command": node(), "args": [filesystem, files] },
            { "name": "memory", "command": node(), "args": [memory],
              "env": { "MEMORY_FILE_PATH": graph } },
        ]);
        let gateway = Gateway::start(&servers).await;
        let rig = Self {
            gateway,
            _remote: remote,
            folder,
        };
        rig.wait_for_servers().await;
        rig
    }

    /// The gateway serves before its servers have answered; clients come to one that runs.
    async fn wait_for_servers(&self) {
        let wanted = [
            "everything_echo",
            "remote_echo",
            "files_read_text_file",
            "memory_read_graph",
        ];
        let mut listed = String::new();
        for _ in 0..60 {
            let mut list = command(Path::new(GATEWAY));
            list.args(["tools", "list", "--target", self.gateway.url()]);
            listed = finish(list, READY).await.text;
            if wanted.iter().all(|tool| listed.contains(tool)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        panic!("not all servers came up: {listed}\n{}", self.gateway.log());
    }

    fn files(&self) -> String {
        self.folder.path().join("files").display().to_string()
    }

    /// Adds where the gateway is: its URL, or the bridge as a server of its own.
    fn reach(&self, client: &mut Command, by: By) {
        match by {
            By::Http => client.args(["--url", self.gateway.url()]),
            By::Bridge => client.args(["--", GATEWAY, "stdio", "--target", self.gateway.url()]),
        };
    }

    async fn run(&self, client: Command) -> Run {
        finish(client, LIMIT).await
    }

    /// Runs a client with checks of its own, all of which must pass.
    async fn passes(&self, mut client: Command, by: By, checks: u32) {
        self.reach(&mut client, by);
        let run = self.run(client).await;
        let done = format!("done: {checks} checks");
        assert!(
            run.code == Some(0) && run.text.lines().any(|line| line == done),
            "exit code {:?}, no line {done:?}\n{}\nthe gateway's log:\n{}",
            run.code,
            run.text,
            self.gateway.log()
        );
    }
}

/// How a client reaches the gateway.
#[derive(Clone, Copy)]
enum By {
    Http,
    /// `mcp-ultra stdio`.
    Bridge,
}

/// `server-everything` on a free port.
async fn everything_over_http() -> (Process, String) {
    // It takes no port 0 of its own.
    let port = {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.local_addr().unwrap().port()
    };
    let mut server = command(&node()).into_std();
    server
        .arg(package(
            "@modelcontextprotocol/server-everything/dist/index.js",
        ))
        .arg("streamableHttp")
        .env("PORT", port.to_string());
    let mut process = Process::start_command(server).unwrap();
    let listening = process.line("the port", READY, |line| {
        line.contains("listening").then_some(())
    });
    listening.await.unwrap();
    (process, format!("http://127.0.0.1:{port}/mcp"))
}

async fn typescript(name: &str, modern: bool, by: By) {
    let rig = Rig::start().await;
    let mut client = command(&node());
    client.arg(script(name)).args(["--folder", &rig.files()]);
    if modern {
        client.arg("--modern");
    }
    rig.passes(client, by, TYPESCRIPT_CHECKS).await;
}

async fn python_sdk(mode: &str, by: By) {
    let rig = Rig::start().await;
    let mut client = command(&python());
    client.arg(script("sdk.py"));
    client.args(["--folder", &rig.files(), "--mode", mode]);
    rig.passes(client, by, PYTHON_CHECKS).await;
}

#[tokio::test]
async fn typescript_sdk_1_over_http() {
    typescript("sdk-v1.mjs", false, By::Http).await;
}

#[tokio::test]
async fn typescript_sdk_1_through_the_bridge() {
    typescript("sdk-v1.mjs", false, By::Bridge).await;
}

#[tokio::test]
async fn typescript_sdk_2_legacy_over_http() {
    typescript("sdk-v2.mjs", false, By::Http).await;
}

#[tokio::test]
async fn typescript_sdk_2_modern_over_http() {
    typescript("sdk-v2.mjs", true, By::Http).await;
}

#[tokio::test]
async fn typescript_sdk_2_modern_through_the_bridge() {
    typescript("sdk-v2.mjs", true, By::Bridge).await;
}

#[tokio::test]
async fn python_sdk_legacy_over_http() {
    python_sdk("legacy", By::Http).await;
}

#[tokio::test]
async fn python_sdk_modern_over_http() {
    python_sdk("auto", By::Http).await;
}

#[tokio::test]
async fn python_sdk_modern_through_the_bridge() {
    python_sdk("auto", By::Bridge).await;
}

/// One request of the inspector's command line; its answer.
async fn inspect(rig: &Rig, by: By, arguments: &[&str]) -> Value {
    let mut client = command(&node());
    client
        .arg(package(
            "@modelcontextprotocol/inspector/clients/launcher/build/index.js",
        ))
        .arg("--cli");
    match by {
        By::Http => client.args([rig.gateway.url(), "--transport", "http"]),
        By::Bridge => client.args([GATEWAY, "stdio", "--target", rig.gateway.url()]),
    };
    client.args(arguments).env("HOME", rig.folder.path());
    let run = rig.run(client).await;
    assert_eq!(run.code, Some(0), "{arguments:?}: {}", run.text);
    let json = run.text.find('{').map(|begin| &run.text[begin..]);
    let mut answers =
        serde_json::Deserializer::from_str(json.unwrap_or_default()).into_iter::<Value>();
    match answers.next() {
        Some(Ok(answer)) => answer,
        _ => panic!("{arguments:?}: no JSON in {}", run.text),
    }
}

async fn inspector(by: By) {
    let rig = Rig::start().await;
    let listed = inspect(&rig, by, &["--method", "tools/list"]).await;
    let tools = listed["tools"].as_array().unwrap();
    for name in [
        "everything_echo",
        "remote_echo",
        "files_read_text_file",
        "memory_read_graph",
    ] {
        assert!(tools.iter().any(|tool| tool["name"] == name), "{listed}");
    }
    let call = ["--method", "tools/call", "--tool-name", "remote_get-sum"];
    let arguments = ["--tool-arg", "a=2", "--tool-arg", "b=3"];
    let sum = inspect(&rig, by, &[&call[..], &arguments[..]].concat()).await;
    let text = sum["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("is 5."), "{sum}");

    let listed = inspect(&rig, by, &["--method", "resources/list"]).await;
    let resources = listed["resources"].as_array().unwrap();
    let graph = resources
        .iter()
        .filter_map(|resource| resource["uri"].as_str())
        .find(|uri| uri.contains("knowledge-graph"))
        .unwrap_or_else(|| panic!("no graph in {listed}"));
    let read = inspect(&rig, by, &["--method", "resources/read", "--uri", graph]).await;
    assert_eq!(read["contents"][0]["uri"], graph, "{read}");

    let get = [
        "--method",
        "prompts/get",
        "--prompt-name",
        "everything_args-prompt",
    ];
    let prompt = inspect(
        &rig,
        by,
        &[&get[..], &["--prompt-args", "city=Recife"]].concat(),
    )
    .await;
    let text = prompt["messages"][0]["content"]["text"].as_str().unwrap();
    assert!(text.contains("Recife"), "{prompt}");
}

#[tokio::test]
async fn inspector_over_http() {
    inspector(By::Http).await;
}

#[tokio::test]
async fn inspector_through_the_bridge() {
    inspector(By::Bridge).await;
}
