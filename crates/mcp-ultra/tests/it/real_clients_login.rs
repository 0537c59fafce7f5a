//! A login as people meet it: the official TypeScript SDKs without a token, the gateway that refuses
//! them, a real authorization server (npm `oidc-provider`), and a browser without a window.
//!
//! What the SDKs check is in `tests/clients/logins.mjs`.

use std::{fs, time::Duration};

use mcp_ultra_testkit::process::Process;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    gateway_rig::free_address,
    real_clients_installed::{Gateway, command, finish, node, script},
};

/// How long the authorization server may take until it serves.
const READY: Duration = Duration::from_secs(30);
/// A client with all its checks takes about ten seconds, half of them for a token to end.
const LIMIT: Duration = Duration::from_mins(2);
/// Checks in `logins.mjs`.
const CHECKS: u32 = 6;
/// Another resource that the authorization server issues tokens for.
const OTHER: &str = "https://other.example.com/mcp";

const POLICIES: &str = r#"
@id("support-reads")
permit(principal in Role::"support", action in Action::"tools", resource in Server::"demo")
  when { resource is Tool && resource.readOnly && resource.dataClass != DataClass::"sensitive" };

@id("clerk-writes")
permit(principal in Role::"clerk", action == Action::"tools/call", resource == Tool::"demo_update_address");

@id("admin")
permit(principal in TenantRole::"acme/admin", action, resource);
"#;

/// The demo server behind a gateway that believes an authorization server.
struct Rig {
    gateway: Gateway,
    authorization: Process,
    _policies: TempDir,
}

impl Rig {
    async fn start() -> Self {
        // Tokens name the URL of the gateway, so it must be known before the gateway listens.
        let port = free_address().port();
        let resource = format!("http://127.0.0.1:{port}/mcp");
        let mut server = command(&node()).into_std();
        server
            .arg(script("authorization-server.mjs"))
            .args([&resource, OTHER]);
        let mut authorization = Process::start_command(server).unwrap();
        let issuer = authorization.line("the issuer", READY, issuer).await;
        let policies = tempfile::tempdir().unwrap();
        fs::write(policies.path().join("p.cedar"), POLICIES).unwrap();
        let gateway = Gateway::configured(&json!({
            "server": { "host": "127.0.0.1", "port": port },
            "auth": {
                "resource": resource,
                "issuers": [{ "issuer": issuer.unwrap() }],
                "claims": { "tenant": "tenant" },
                "clock_skew": "0s",
                "required_scopes": ["mcp:use", "mcp:call"],
            },
            "policy": { "files": [policies.path()] },
            "servers": [{
                "name": "demo",
                "command": env!("CARGO_BIN_EXE_mcp-ultra"),
                "args": ["demo-server"],
                "data_classes": [{ "names": ["export_*"], "class": "sensitive" }],
            }],
        }))
        .await;
        Self {
            gateway,
            authorization,
            _policies: policies,
        }
    }
}

/// The issuer from the first line of `authorization-server.mjs`.
fn issuer(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    line["issuer"].as_str().map(ToOwned::to_owned)
}

/// Runs a client, all of whose checks must pass.
async fn logs_in(name: &str, options: &[&str]) {
    let rig = Rig::start().await;
    let mut client = command(&node());
    client
        .arg(script(name))
        .args([rig.gateway.url(), OTHER])
        .args(options);
    let run = finish(client, LIMIT).await;
    let done = format!("done: {CHECKS} checks");
    assert!(
        run.code == Some(0) && run.text.lines().any(|line| line == done),
        "exit code {:?}, no line {done:?}\n{}\nthe authorization server:\n{}\nthe gateway's log:\n{}",
        run.code,
        run.text,
        rig.authorization.stderr(),
        rig.gateway.log()
    );
}

#[tokio::test]
async fn typescript_sdk_1_logs_in() {
    logs_in("login-v1.mjs", &[]).await;
}

#[tokio::test]
async fn typescript_sdk_2_legacy_logs_in() {
    logs_in("login-v2.mjs", &[]).await;
}

#[tokio::test]
async fn typescript_sdk_2_modern_logs_in() {
    logs_in("login-v2.mjs", &["--modern"]).await;
}
