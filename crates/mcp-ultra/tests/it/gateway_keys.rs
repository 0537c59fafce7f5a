//! API keys, from the command line to the running gateway and back.

use std::path::PathBuf;

use http::{HeaderMap, HeaderValue, header};
use mcp_ultra_testkit::{
    fixture::{Era, http::Running},
    gateway::Gateway,
    raw::modern::Caller,
};
use serde_json::{Value, json};

use super::cli::{Run, run};
use crate::gateway_rig::{SOON, fixture, gateway, only, until};

struct Rig {
    gateway: Gateway,
    config: PathBuf,
    _folder: tempfile::TempDir,
    _upstream: Running,
}

/// A gateway that accepts API keys, and the configuration that the commands use beside it.
async fn rig(auth: &str) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("keys.yaml");
    let store = folder.path().join("state/mcp-ultra.db");
    let yaml = format!(
        "log: {{ level: trace }}\nstorage: {{ sqlite: \"{}\" }}\nauth:\n  resource: https://mcp.example.com/mcp\n  api_keys: {{ enabled: true, recheck: 100ms, max_age: 1m }}\n{auth}",
        store.display()
    );
    std::fs::write(&config, &yaml).unwrap();
    let upstream = fixture(Era::Dual).await;
    let gateway = gateway(&only(&upstream.url(), &yaml)).await;
    Rig {
        gateway,
        config,
        _folder: folder,
        _upstream: upstream,
    }
}

impl Rig {
    async fn key(&self, arguments: &[&str]) -> Run {
        let config = self.config.to_string_lossy();
        run(&[&["key"], arguments, &["--config", &config]].concat()).await
    }

    async fn create(&self, arguments: &[&str]) -> String {
        let made = self.key(&[&["create"], arguments].concat()).await;
        assert_eq!(made.code, 0, "{}", made.err);
        made.out.trim_end().to_owned()
    }

    async fn listed(&self) -> Vec<Value> {
        let listed = self.key(&["list", "--json"]).await;
        serde_json::from_str(&listed.out).unwrap()
    }

    fn caller(&self, token: &str) -> Caller {
        let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
        let mut caller = self.gateway.caller();
        caller.extra_headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
        caller
    }

    async fn status(&self, token: &str) -> u16 {
        let caller = self.caller(token);
        let answer = caller.send(caller.prepare("tools/list", json!({}))).await;
        answer.unwrap().status.as_u16()
    }

    async fn refused(&self, reason: &str) -> bool {
        let metrics = self.gateway.get("/metrics").await.unwrap();
        let metrics = metrics.text().await.unwrap();
        let none = format!("mcp_auth_refused_total{{reason=\"{reason}\"}} 0");
        metrics.contains("mcp_auth_refused_total{") && !metrics.contains(&none)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_shown_once_and_opens_the_gateway() {
    let mut rig = rig("  required_scopes: [mcp:use]\n").await;
    let token = rig.create(&["reports", "--scope", "mcp:use"]).await;
    assert!(token.starts_with("mcpu_") && token.len() == 94, "{token}");
    assert_eq!(rig.status(&token).await, 200);
    let unscoped = rig.create(&["narrow"]).await;
    assert_eq!(rig.status(&unscoped).await, 403);
    // One digit off, one that nobody has, and what is no key.
    let mut wrong = token.clone();
    wrong.replace_range(40..41, if &token[40..41] == "0" { "1" } else { "0" });
    for other in [&*wrong, &token[..93], "mcpu_", "mcpu_x"] {
        assert_eq!(rig.status(other).await, 401, "{other}");
    }
    assert!(rig.refused("malformed").await);
    let table = rig.key(&["list"]).await;
    assert!(table.out.contains("reports") && table.out.contains("valid"));
    // Only a digest is kept, and nothing is logged.
    let secret = &token[22..86];
    let state = rig.config.parent().unwrap().join("state");
    for file in std::fs::read_dir(state).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let kept = bytes
            .windows(secret.len())
            .any(|part| part == secret.as_bytes());
        assert!(!kept);
    }
    assert!(!table.out.contains(secret));
    rig.gateway
        .signal(nix::sys::signal::Signal::SIGTERM)
        .unwrap();
    rig.gateway.wait(SOON).await.unwrap();
    assert!(!rig.gateway.output().contains(secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_secrets_are_valid_while_a_key_is_rotated() {
    let rig = rig("").await;
    let first = rig.create(&["reports"]).await;
    assert_eq!(rig.status(&first).await, 200);
    let rotated = rig.key(&["rotate", "reports", "--overlap", "1h"]).await;
    let second = rotated.out.trim_end().to_owned();
    assert_eq!(rig.status(&first).await, 200);
    assert_eq!(rig.status(&second).await, 200);
    let rotated = rig.key(&["rotate", "reports", "--overlap", "1h"]).await;
    let third = rotated.out.trim_end().to_owned();
    assert_eq!(rig.status(&third).await, 200);
    until("the first ends", async || rig.status(&first).await == 401).await;
    assert_eq!(rig.status(&second).await, 200);
    // When they were used is noted.
    until("the uses are noted", async || {
        let listed = rig.listed().await;
        let secrets = listed[0]["secrets"].as_array().unwrap();
        secrets.len() == 2 && secrets.iter().all(|one| one["last_used"].is_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_and_its_streams_end() {
    let rig = rig("").await;
    let token = rig.create(&["reports"]).await;
    let other = rig.create(&["other"]).await;
    let mut listening = rig
        .caller(&token)
        .listen(json!({ "toolsListChanged": true }))
        .await
        .unwrap();
    assert!(listening.message().await.unwrap().is_some(), "acknowledged");
    let revoked = rig.key(&["revoke", "reports"]).await;
    assert_eq!(revoked.code, 0, "{}", revoked.err);
    until("it is refused", async || rig.status(&token).await == 401).await;
    assert!(rig.refused("revoked").await);
    let ended = tokio::time::timeout(SOON, listening.message()).await;
    assert!(ended.expect("the stream ends").unwrap().is_none());
    assert_eq!(rig.status(&other).await, 200);
    for arguments in [&["rotate", "reports"][..], &["create", "other"]] {
        let late = rig.key(arguments).await;
        assert_eq!(late.code, 1, "{} {}", late.out, late.err);
    }
    let again = rig.key(&["revoke", "reports"]).await;
    assert_eq!(again.code, 0, "{}", again.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_end_by_themselves_and_are_of_one_tenant() {
    let rig = rig("").await;
    let short = rig.create(&["short", "--expires", "3s"]).await;
    let tenant = ["--tenant", "acme"];
    let acme = rig.create(&[&["short"][..], &tenant].concat()).await;
    assert_eq!(rig.status(&short).await, 200);
    assert_eq!(rig.status(&acme).await, 200);
    until("it ends", async || rig.status(&short).await == 401).await;
    let listed = rig.listed().await;
    assert_eq!(listed.len(), 1, "{listed:?}");
    let unknown = rig.key(&["revoke", "nobody", "--tenant", "acme"]).await;
    assert_eq!(unknown.code, 1);
    assert!(
        unknown.err.contains("`mcp-ultra key list --tenant acme`"),
        "{}",
        unknown.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_say_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yaml");
    std::fs::write(&file, "log: { level: info }\n").unwrap();
    let file = file.to_string_lossy();
    let none = run(&["key", "list", "--config", &file]).await;
    assert_eq!(none.code, 2);
    assert!(none.err.contains("storage.sqlite"), "{}", none.err);
    let rig = rig("").await;
    for (arguments, said) in [
        (&["create", " "][..], "name: it is empty"),
        (
            &["create", "a", "--role", "a b"],
            "roles: each must be one word",
        ),
        (
            &["create", "a", "--expires", "soon"],
            "a time with its unit",
        ),
    ] {
        let wrong = rig.key(arguments).await;
        assert_eq!(wrong.code, 2, "{arguments:?} {} {}", wrong.out, wrong.err);
        assert!(wrong.err.contains(said), "{arguments:?} {}", wrong.err);
    }
}
