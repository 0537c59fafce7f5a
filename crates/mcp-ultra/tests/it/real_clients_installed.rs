//! What the tests with clients and servers of others stand on: the packages of `tests/clients`, and
//! a gateway as a process of its own.
//!
//! These tests are compiled with the feature `real-clients`, which `make test` switches on after it
//! has installed the packages. They never skip: a package that is missing fails them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use mcp_ultra_testkit::process::Process;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

/// How long a process may take until it serves.
const READY: Duration = Duration::from_secs(30);

/// The folder with the packages, and the scripts of ours that use them.
fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients")
}

/// A file below `tests/clients`, which must be there.
fn installed(path: &str) -> PathBuf {
    let file = clients().join(path);
    assert!(
        file.exists(),
        "{} is missing: run `make setup`, which installs what these tests need",
        file.display()
    );
    file
}

/// The Node of the npm package `node`, whatever the machine has.
pub(crate) fn node() -> PathBuf {
    installed("node_modules/node/bin/node")
}

/// The Python that has the packages of `requirements.txt`.
pub(crate) fn python() -> PathBuf {
    installed(".venv/bin/python")
}

/// A file of an npm package.
pub(crate) fn package(path: &str) -> PathBuf {
    installed(&format!("node_modules/{path}"))
}

/// A script of ours.
pub(crate) fn script(name: &str) -> PathBuf {
    installed(name)
}

/// A command with both outputs caught and without the settings of the one who runs the tests.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env("NO_COLOR", "1")
        .kill_on_drop(true);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("MCP_ULTRA_") {
            command.env_remove(name);
        }
    }
    command
}

/// What a run left behind.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    /// Stdout, then stderr.
    pub(crate) text: String,
}

/// Runs a command to its end; one that takes longer than `limit` is ended and fails the test.
pub(crate) async fn finish(mut command: Command, limit: Duration) -> Run {
    let shown = format!("{:?}", command.as_std());
    let Ok(output) = tokio::time::timeout(limit, command.output()).await else {
        panic!("not done within {limit:?}: {shown}");
    };
    let Output {
        status,
        stdout,
        stderr,
    } = output.unwrap_or_else(|error| panic!("{shown}: {error}"));
    let text = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
    Run {
        code: status.code(),
        text: text.into_owned(),
    }
}

/// A gateway on a free port of the loopback; it ends when this is dropped.
pub(crate) struct Gateway {
    url: String,
    process: Process,
    _folder: TempDir,
}

impl Gateway {
    /// Starts it with these entries of `servers`.
    pub(crate) async fn start(servers: &Value) -> Self {
        Self::configured(&json!({
            "server": { "host": "127.0.0.1", "port": 0 },
            "servers": servers,
        }))
        .await
    }

    /// Starts it with this configuration.
    pub(crate) async fn configured(configuration: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mcp-ultra.yaml");
        // JSON is YAML, and needs no care about quotes.
        fs::write(&file, configuration.to_string()).unwrap();
        let mut command = command(Path::new(env!("CARGO_BIN_EXE_mcp-ultra"))).into_std();
        command.args(["serve", "--config"]).arg(&file);
        let mut process = Process::start_command(command).unwrap();
        let url = process.line("the endpoint", READY, endpoint).await;
        Self {
            url: url.unwrap(),
            process,
            _folder: folder,
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What it has logged, for the message of a test that fails.
    pub(crate) fn log(&self) -> String {
        format!("{}{}", self.process.stdout(), self.process.stderr())
    }
}

/// The endpoint from the log line that says that the gateway listens.
fn endpoint(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    line["endpoint"].as_str().map(ToOwned::to_owned)
}
