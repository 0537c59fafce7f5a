//! A real OpenBao over TLS: it issues the gateway's certificate, which is replaced together with a
//! secret while calls are made; and it is not believed where its own certificate is not trusted.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use http::HeaderMap;
use mcp_ultra_testkit::{
    gateway::Gateway,
    raw::{Client, modern::Caller},
    tls::{Authority, Trust},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use super::cli::{command, finish};
use crate::{
    gateway_openbao::{Bao, ONE, TWO},
    gateway_rig::until,
    gateway_secrets::{last_key, signed, upstream},
    gateway_tls::Mount,
};

/// How often the certificate is replaced.
const ROUNDS: u32 = 3;

/// A certificate that OpenBao has issued for the gateway, as PEM.
struct Issued {
    certificate: String,
    key: String,
}

/// An authority inside of OpenBao; its certificate as PEM.
async fn authority(bao: &Bao) -> String {
    bao.set("sys/mounts/pki", json!({ "type": "pki" })).await;
    let root = json!({ "common_name": "servers", "ttl": "700h", "key_type": "ec" });
    let root = bao.set("pki/root/generate/internal", root).await;
    let role = json!({
        "allow_any_name": true, "enforce_hostnames": false, "key_type": "ec", "max_ttl": "600h",
    });
    bao.set("pki/roles/gateway", role).await;
    text(&root["data"]["certificate"])
}

async fn issue(bao: &Bao, hours: u32) -> Issued {
    let wanted = json!({
        "common_name": "localhost", "ip_sans": "127.0.0.1", "ttl": format!("{hours}h"),
    });
    let issued = bao.set("pki/issue/gateway", wanted).await;
    Issued {
        certificate: text(&issued["data"]["certificate"]),
        key: text(&issued["data"]["private_key"]),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// A connection to the gateway that shows whose certificate it was opened with.
struct Connection {
    stream: TlsStream<TcpStream>,
}

impl Connection {
    async fn open(address: &str, authority: &str) -> Self {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(authority.as_bytes()).unwrap();
        roots.add(root).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let address: SocketAddr = address.parse().unwrap();
        let socket = TcpStream::connect(address).await.unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let name = ServerName::from(address.ip());
        let stream = connector.connect(name, socket).await.unwrap();
        Self { stream }
    }

    fn shows(&self, certificate: &str) -> bool {
        let (_, session) = self.stream.get_ref();
        let wanted = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        session.peer_certificates().unwrap().first() == Some(&wanted)
    }

    /// Sends a request over it, and reads the status of the answer.
    async fn get(&mut self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 4096];
        let read = self.stream.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]);
        answer.lines().next().unwrap_or_default().to_owned()
    }
}

/// Calls without a pause, each over a new connection and over one that is kept.
struct Load {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(url: &str, authority: &str, headers: &HeaderMap) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let calls = Arc::new(AtomicUsize::new(0));
        let task = |number: usize| {
            let (stop, calls) = (stop.clone(), calls.clone());
            let (url, headers) = (url.to_owned(), headers.clone());
            let trust = Trust::new(authority, None, number < 3, number.is_multiple_of(2)).unwrap();
            let kept = Client::trusting(&*url, &trust);
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    for client in [&kept, &Client::trusting(&*url, &trust)] {
                        assert_eq!(call(client, &headers).await, (200, true));
                        calls.fetch_add(1, Ordering::SeqCst);
                    }
                }
            })
        };
        let tasks = (0..4).map(task).collect();
        Self { stop, calls, tasks }
    }

    async fn goes_on(&self) {
        let before = self.calls.load(Ordering::SeqCst);
        until("calls go on", async || {
            self.calls.load(Ordering::SeqCst) > before + 20
        })
        .await;
    }

    /// The number of calls, none of which has failed.
    async fn end(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.calls.load(Ordering::SeqCst)
    }
}

async fn call(client: &Client, headers: &HeaderMap) -> (u16, bool) {
    let mut caller = Caller::new(client.clone());
    caller.extra_headers = headers.clone();
    let params = json!({ "name": "echo", "arguments": {} });
    let request = caller.prepare("tools/call", params);
    let answer = caller.send(request).await.unwrap();
    let status = answer.status.as_u16();
    let body: Value = answer.json().await.unwrap_or_default();
    (status, body.get("result").is_some())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_its_own_authority_and_a_secret_rotate_under_load() {
    let bao = Bao::start_with_tls().await;
    bao.allow_reading().await;
    bao.write("crm", json!({ "key": "key-0" })).await;
    bao.write("jwt", json!({ "value": ONE })).await;
    let (role, secret) = bao.app_role().await;
    let authority = authority(&bao).await;
    let first = issue(&bao, 100).await;
    let mut mount = Mount::of(&first.certificate, &first.key);
    let upstream = upstream().await;
    let folder = mount.path().display();
    let yaml = format!(
        "secrets: {{ refresh: 250ms, grace: 1m, vault: {{ address: \"{}\", ca_file: \"{}\", app_role: {{ role_id: \"{role}\", secret_id: \"{secret}\" }} }} }}\nserver: {{ tls: {{ certificate: \"{folder}/tls.crt\", key: \"{folder}/tls.key\" }} }}\nauth: {{ resource: \"https://mcp.example.com/mcp\", jwt_secret: '${{secret:jwt}}' }}\nservers:\n  - {{ name: fix, url: \"{}\", prefix: none, headers: {{ X-Key: '${{secret:crm#key}}' }} }}\n",
        bao.url(),
        bao.authority().display(),
        upstream.url()
    );
    let binary = Path::new(env!("CARGO_BIN_EXE_mcp-ultra"));
    let gateway = Gateway::launch(binary, &yaml, &[]).await.unwrap();
    let url = gateway.url("/mcp");
    let address = gateway.authority().trim_start_matches("https://");
    let trust = Trust::new(&authority, None, true, false).unwrap();
    let client = Client::trusting(&*url, &trust);
    let (old, new) = (signed(ONE), signed(TWO));
    until("the first answer", async || {
        call(&client, &old).await == (200, true)
    })
    .await;
    assert_eq!(call(&client, &new).await.0, 401);

    let mut kept = Connection::open(address, &authority).await;
    assert!(kept.shows(&first.certificate));
    let load = Load::start(&url, &authority, &old);
    load.goes_on().await;
    for round in 1..=ROUNDS {
        let next = issue(&bao, 100 + round).await;
        mount.put(&next.certificate, &next.key);
        let key = format!("key-{round}");
        bao.write("crm", json!({ "key": key })).await;
        until("new connections have the new certificate", async || {
            let connection = Connection::open(address, &authority).await;
            connection.shows(&next.certificate)
        })
        .await;
        until("the server gets the new key", async || {
            last_key(&upstream).as_ref() == Some(&key)
        })
        .await;
        load.goes_on().await;
        assert_eq!(kept.get("/livez").await, "HTTP/1.1 200 OK");
    }
    bao.write("jwt", json!({ "value": TWO })).await;
    until("tokens of the new secret", async || {
        call(&client, &new).await == (200, true)
    })
    .await;
    load.goes_on().await;
    assert!(load.end().await > 100);
    // The connection of the beginning lives on with what it was opened with.
    assert_eq!(kept.get("/livez").await, "HTTP/1.1 200 OK");
    assert!(kept.shows(&first.certificate));
}

#[tokio::test]
async fn an_openbao_that_no_authority_vouches_for_gets_no_login() {
    let bao = Bao::start_with_tls().await;
    bao.allow_reading().await;
    bao.write("crm", json!({ "key": "key-1" })).await;
    let (role, secret) = bao.app_role().await;
    let folder = tempfile::tempdir().unwrap();
    let stranger = folder.path().join("stranger.pem");
    fs::write(&stranger, Authority::new("stranger").unwrap().pem()).unwrap();
    let absent = folder.path().join("absent.pem");
    let file = folder.path().join("c.yaml");
    let status = async |address: &str, authority: Option<&Path>| {
        let ca_file = authority.map_or_else(String::new, |path| {
            format!("ca_file: \"{}\", ", path.display())
        });
        let yaml = format!(
            "secrets: {{ vault: {{ address: \"{address}\", {ca_file}app_role: {{ role_id: \"{role}\", secret_id: \"{secret}\" }}, timeout: 5s }} }}\nservers:\n  - {{ name: fix, url: \"http://127.0.0.1:1/mcp\", headers: {{ X-Key: '${{secret:crm#key}}' }} }}\n",
        );
        fs::write(&file, yaml).unwrap();
        let file = file.to_str().unwrap();
        let run = finish(command(&["secrets", "status", "--config", file])).await;
        let shown = run.out + &run.err;
        assert!(
            !shown.contains(&secret) && !shown.contains("key-1"),
            "{shown}"
        );
        (run.code, shown)
    };
    let (code, shown) = status(&bao.url(), Some(&bao.authority())).await;
    assert_eq!(code, 0, "{shown}");
    // Nobody vouches for it, and another authority does not either.
    for authority in [None, Some(&*stranger)] {
        let (code, shown) = status(&bao.url(), authority).await;
        assert_ne!(code, 0, "{shown}");
        assert!(shown.contains("its certificate is not trusted"), "{shown}");
        assert!(shown.contains("secrets.vault.ca_file"), "{shown}");
    }
    let (code, shown) = status(&bao.url(), Some(&absent)).await;
    assert_ne!(code, 0, "{shown}");
    assert!(shown.contains("absent.pem"), "{shown}");
}
