//! Secrets of a mounted folder and of the environment: changed while the gateway runs, missing at
//! the start, and nowhere to be seen.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderValue, header};
use mcp_ultra_domain::{Clock as _, SystemClock};
use mcp_ultra_testkit::{gateway::Gateway, identity::hs256, scripted::Scripted};
use serde_json::{Value, json};

use super::cli::{command, finish};
use crate::gateway_rig::{SOON, children, marker, stdio_server, until};

const RESOURCE: &str = "https://mcp.example.com/mcp";

/// A folder as Kubernetes mounts a Secret: files are links into `..data`, which is one itself.
struct Mount {
    folder: tempfile::TempDir,
    version: AtomicUsize,
}

impl Mount {
    fn new(secrets: &[(&str, &str)]) -> Self {
        let mount = Self {
            folder: tempfile::tempdir().unwrap(),
            version: AtomicUsize::new(0),
        };
        for (name, _) in secrets {
            symlink(format!("..data/{name}"), mount.path().join(name)).unwrap();
        }
        mount.swap(secrets);
        mount
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes another set of files, then swaps the link.
    fn swap(&self, secrets: &[(&str, &str)]) {
        let version = self.version.fetch_add(1, Ordering::SeqCst);
        let data = format!("..{version}");
        fs::create_dir(self.path().join(&data)).unwrap();
        for (name, value) in secrets {
            fs::write(self.path().join(&data).join(name), value).unwrap();
        }
        symlink(&data, self.path().join("..new")).unwrap();
        fs::rename(self.path().join("..new"), self.path().join("..data")).unwrap();
    }
}

/// A token that is signed with `secret`, as `Authorization`.
pub(crate) fn signed(secret: &str) -> HeaderMap {
    let now = SystemClock.now().as_secs();
    let claims = json!({
        "iss": "mcp-ultra", "aud": RESOURCE, "sub": "ana", "iat": now, "exp": now + 300,
    });
    let token = hs256(secret.as_bytes(), &json!({ "alg": "HS256" }), &claims);
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}

/// A call of the tool `echo`; the status of the answer, and whether it is a result.
pub(crate) async fn call(gateway: &Gateway, headers: &HeaderMap) -> (u16, bool) {
    let mut caller = gateway.caller();
    caller.extra_headers = headers.clone();
    let params = json!({ "name": "echo", "arguments": {} });
    let answer = caller
        .send(caller.prepare("tools/call", params))
        .await
        .unwrap();
    let status = answer.status.as_u16();
    let body: Value = answer.json().await.unwrap_or_default();
    (status, body.get("result").is_some())
}

/// An upstream with one tool.
pub(crate) async fn upstream() -> Scripted {
    let tools = json!([{ "name": "echo", "inputSchema": { "type": "object" } }]);
    Scripted::start(tools, |_| None).await.unwrap()
}

/// What the last call to the upstream had as `x-key`.
pub(crate) fn last_key(upstream: &Scripted) -> Option<String> {
    let seen = upstream.seen("tools/call");
    seen.last()?.header("x-key").map(str::to_owned)
}

/// Calls without a pause until it is stopped; how many calls it made, and how many failed.
pub(crate) async fn load(
    gateway: Arc<Gateway>,
    headers: HeaderMap,
    stop: Arc<AtomicBool>,
) -> (usize, usize) {
    let (mut calls, mut failed) = (0, 0);
    while !stop.load(Ordering::SeqCst) {
        calls += 1;
        if call(&gateway, &headers).await != (200, true) {
            failed += 1;
        }
    }
    (calls, failed)
}

pub(crate) async fn start(yaml: &str, environment: &[(&str, &str)]) -> Gateway {
    let binary = Path::new(env!("CARGO_BIN_EXE_mcp-ultra"));
    Gateway::start_with(binary, yaml, environment)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mounted_secret_rotates_under_load_without_a_failed_call() {
    let one = "the-first-jwt-secret-of-this-test-1";
    let two = "the-second-jwt-secret-of-this-test2";
    let seal = "a-sealing-secret-of-this-test-0001";
    let mount = Mount::new(&[("jwt", one), ("key", "key-1"), ("seal", seal)]);
    let upstream = upstream().await;
    let yaml = format!(
        "secrets: {{ folder: \"{}\", grace: 6s }}\nauth: {{ resource: {RESOURCE}, jwt_secret: '${{secret:jwt}}' }}\nsession: {{ keys: [{{ id: a, secret: '${{secret:seal}}' }}] }}\nservers:\n  - {{ name: fix, url: \"{}\", prefix: none, headers: {{ X-Key: '${{secret:key}}' }} }}\n",
        mount.path().display(),
        upstream.url()
    );
    let gateway = Arc::new(start(&yaml, &[]).await);
    let (old, new) = (signed(one), signed(two));
    assert_eq!(call(&gateway, &old).await, (200, true));
    assert_eq!(last_key(&upstream).as_deref(), Some("key-1"));
    assert_eq!(call(&gateway, &new).await.0, 401);
    let session = mcp_ultra_testkit::raw::legacy::Session::open(
        gateway.client(),
        "2025-11-25",
        json!({}),
        old.clone(),
    )
    .await
    .unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let loading = tokio::spawn(load(gateway.clone(), old.clone(), stop.clone()));
    mount.swap(&[
        ("jwt", two),
        ("key", "key-2"),
        ("seal", "another-sealing-secret-of-this-tes"),
    ]);
    until("the new header", async || {
        last_key(&upstream).as_deref() == Some("key-2")
    })
    .await;
    // The one before is still good, and what was sealed before opens.
    assert_eq!(call(&gateway, &old).await, (200, true));
    session.call("tools/list", json!({})).await.unwrap();
    stop.store(true, Ordering::SeqCst);
    let (calls, failed) = loading.await.unwrap();
    assert_eq!(failed, 0, "of {calls}");
    assert!(calls > 0);
    until("the new secret", async || {
        call(&gateway, &new).await == (200, true)
    })
    .await;
    until("the end of the old secret", async || {
        call(&gateway, &old).await.0 == 401
    })
    .await;
    assert_eq!(call(&gateway, &new).await, (200, true));
    assert_eq!(gateway_lost(&gateway).await, 0);

    // What is gone keeps its last value, and metrics say so.
    fs::remove_file(mount.path().join("key")).unwrap();
    until("a failing secret", async || {
        gateway_lost(&gateway).await == 1
    })
    .await;
    assert_eq!(call(&gateway, &new).await, (200, true));
    assert_eq!(last_key(&upstream).as_deref(), Some("key-2"));
}

/// How many secrets can't be read.
pub(crate) async fn gateway_lost(gateway: &Gateway) -> usize {
    let metrics = gateway.get("/metrics").await.unwrap().text().await.unwrap();
    let failing = |line: &&str| line.starts_with("mcp_secret_failing{") && line.ends_with(" 1");
    metrics.lines().filter(failing).count()
}

#[tokio::test]
async fn a_secret_that_is_missing_at_the_start_is_named_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    let yaml = format!(
        "secrets: {{ folder: \"{}\" }}\nservers:\n  - name: fix\n    url: http://127.0.0.1:1/mcp\n    headers:\n      X-Key: ${{secret:absent}}\n",
        folder.path().display()
    );
    fs::write(&file, yaml).unwrap();
    let config = file.to_str().unwrap();
    let run = finish(command(&["serve", "--config", config])).await;
    assert_eq!(run.code, 2, "{run:?}");
    let all = ["absent", "a.yaml:6", "folder, environment"];
    assert!(all.iter().all(|part| run.err.contains(part)), "{}", run.err);
    let run = finish(command(&[
        "config",
        "validate",
        "--without-secrets",
        "--config",
        config,
    ]))
    .await;
    assert_eq!(run.code, 0, "{run:?}");
    let mut status = command(&["secrets", "status", "--json", "--config", config]);
    status.env("MCP_ULTRA_SECRET_ABSENT", "canary");
    let run = finish(status).await;
    let shown: Value = serde_json::from_str(&run.out).unwrap();
    let row = &shown["secrets"][0];
    assert_eq!(
        (&row["name"], &row["source"]),
        (&json!("absent"), &json!("environment"))
    );
    assert!(!run.out.contains("canary"));
}

/// Every place where a secret can be: each has a canary of its own.
fn canaries() -> Vec<(&'static str, String)> {
    [
        "folder",
        "environment",
        "jwt",
        "seal",
        "plain",
        "child",
        "query",
        "argument",
    ]
    .iter()
    .map(|place| (*place, format!("canary-{place}-0123456789-0123456789")))
    .collect()
}

fn lines_of(id: u32, file: &str) -> String {
    let bytes = fs::read(PathBuf::from(format!("/proc/{id}/{file}"))).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', "\n")
}

#[tokio::test]
async fn no_canary_is_seen_anywhere() {
    let canaries = canaries();
    let canary = |place: &str| {
        let found = canaries.iter().find(|(name, _)| *name == place);
        found.unwrap().1.as_str()
    };
    let mut mounted = [
        ("header", canary("folder")),
        ("jwt", canary("jwt")),
        ("seal", canary("seal")),
        ("child", canary("child")),
        ("query", canary("query")),
    ];
    let mount = Mount::new(&mounted);
    let upstream = upstream().await;
    let marker = marker("canary");
    let child = stdio_server(
        "kid",
        "modern",
        &marker,
        "], env: { KID_KEY: '${secret:child}' }",
    );
    let yaml = format!(
        "log: {{ level: trace }}\nsecrets: {{ folder: \"{}\" }}\nauth: {{ resource: {RESOURCE}, jwt_secret: '${{secret:jwt}}' }}\nsession: {{ keys: [{{ id: a, secret: '${{secret:seal}}' }}] }}\nservers:\n  - {{ name: fix, url: \"{}?key=${{secret:query}}\", prefix: none, headers: {{ X-Key: '${{secret:header}}', X-Env: '${{secret:env#key}}', X-Plain: {} }} }}\n  - {{ name: dead, url: \"http://127.0.0.1:1/?key=${{secret:query}}\", headers: {{ X-Key: '${{secret:header}}' }} }}\n{child}",
        mount.path().display(),
        upstream.url(),
        canary("plain"),
    );
    let environment = [("MCP_ULTRA_SECRET_ENV_KEY", canary("environment"))];
    let mut gateway = start(&yaml, &environment).await;
    let good = signed(canary("jwt"));
    assert_eq!(call(&gateway, &good).await, (200, true));
    assert_eq!(last_key(&upstream).as_deref(), Some(canary("folder")));
    let bearer = HeaderValue::try_from(format!("Bearer {}", canary("argument"))).unwrap();
    let bad = HeaderMap::from_iter([(header::AUTHORIZATION, bearer)]);
    assert_eq!(call(&gateway, &bad).await.0, 401);
    let mut caller = gateway.caller();
    caller.extra_headers = good.clone();
    let gone = caller
        .call("tools/call", json!({ "name": "dead_x", "arguments": {} }))
        .await;
    let mut seen = format!("{gone:?}\n");
    until("the child", async || !children(&marker).is_empty()).await;
    for id in children(&marker) {
        seen += &lines_of(id, "cmdline");
        let environment = lines_of(id, "environ");
        assert!(environment.contains(&format!("KID_KEY={}", canary("child"))));
        for (place, canary) in canaries.iter().filter(|(place, _)| *place != "child") {
            assert!(
                !environment.contains(canary),
                "{place} in the environment of a child"
            );
        }
    }
    seen += &lines_of(gateway.id(), "cmdline");
    seen += &gateway.get("/metrics").await.unwrap().text().await.unwrap();
    seen += &gateway.get("/readyz").await.unwrap().text().await.unwrap();

    let file = gateway.file().to_str().unwrap().to_owned();
    let commands: [&[&str]; 4] = [
        &["config", "explain", "--config", &file],
        &["config", "explain", "--json", "--config", &file],
        &["secrets", "status", "--config", &file],
        &["config", "validate", "--config", &file],
    ];
    for arguments in commands {
        let mut command = command(arguments);
        command.env("MCP_ULTRA_SECRET_ENV_KEY", canary("environment"));
        let run = finish(command).await;
        assert_eq!(run.code, 0, "{run:?}");
        seen += &run.out;
        seen += &run.err;
    }
    // A reload that changes a secret and one that is refused are told of without it.
    let broken = yaml.replace("name: dead", "name: dead, timeout: canary");
    mounted[0].1 = "canary-other-0123456789";
    mount.swap(&mounted);
    gateway.logged(&["another value"], SOON).await.unwrap();
    gateway.reconfigure(&broken).unwrap();
    gateway.logged(&["is refused"], SOON).await.unwrap();
    gateway.signal(nix::sys::signal::Signal::SIGTERM).unwrap();
    gateway.wait(Duration::from_secs(20)).await.unwrap();
    seen += &gateway.output();
    assert!(
        seen.contains("TRACE") || seen.contains("DEBUG"),
        "nothing was traced"
    );
    for (place, canary) in &canaries {
        assert!(
            !seen.contains(canary.as_str()),
            "{place}: {}",
            around(&seen, canary)
        );
    }
    assert!(!seen.contains("canary-other"));
}

fn around<'t>(text: &'t str, needle: &str) -> &'t str {
    text.lines()
        .find(|line| line.contains(needle))
        .unwrap_or_default()
}
