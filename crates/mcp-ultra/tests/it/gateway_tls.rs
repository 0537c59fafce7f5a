//! Transport, through the running gateway: TLS of both versions, certificates that are replaced
//! while calls are made, clients that are known by certificates, pages in browsers, and where the
//! gateway itself may connect to.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use mcp_ultra_domain::{Clock as _, SystemClock};
use mcp_ultra_testkit::{
    fixture::{Era, http::Running},
    gateway::Gateway,
    identity::hs256,
    raw::{Answer, Client, modern::Caller, wire},
    tls::{Authority, Pair, Trust},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;

use super::cli::run;
use crate::gateway_rig::{SOON, fixture, gateway, only, until};

const DAY: Duration = Duration::from_hours(24);
const SECRET: &str = "a-secret-of-at-least-thirty-two-bytes";

fn in_future(time: Duration) -> Duration {
    SystemClock.now() + time
}

/// Files as Kubernetes mounts them: links through `..data`, which is swapped.
pub(crate) struct Mount {
    folder: TempDir,
    turn: usize,
}

impl Mount {
    fn new(pair: &Pair) -> Self {
        Self::of(&pair.certificate, &pair.key)
    }

    /// A certificate as `tls.crt` and its key as `tls.key`.
    pub(crate) fn of(certificate: &str, key: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Self { folder, turn: 0 };
        mount.put(certificate, key);
        for name in ["tls.crt", "tls.key"] {
            symlink(format!("..data/{name}"), mount.folder.path().join(name)).unwrap();
        }
        mount
    }

    /// Another certificate and key.
    pub(crate) fn put(&mut self, certificate: &str, key: &str) {
        self.turn += 1;
        let base = self.folder.path();
        let version = format!("..version{}", self.turn);
        fs::create_dir(base.join(&version)).unwrap();
        fs::write(base.join(&version).join("tls.crt"), certificate).unwrap();
        fs::write(base.join(&version).join("tls.key"), key).unwrap();
        symlink(&version, base.join("..data_tmp")).unwrap();
        fs::rename(base.join("..data_tmp"), base.join("..data")).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

struct Rig {
    authority: Authority,
    mount: Mount,
    gateway: Gateway,
    _upstream: Running,
}

/// A gateway with TLS; `tls` is what else that section says, `rest` what the configuration does.
async fn rig(tls: &str, rest: &str) -> Rig {
    let authority = Authority::new("servers").unwrap();
    let mount = Mount::new(&authority.server(in_future(90 * DAY)).unwrap());
    rig_of(authority, mount, tls, rest).await
}

async fn rig_of(authority: Authority, mount: Mount, tls: &str, rest: &str) -> Rig {
    let upstream = fixture(Era::Dual).await;
    let folder = mount.path().display();
    let section = format!(
        "log: {{ level: debug }}\nserver:\n  tls:\n    certificate: {folder}/tls.crt\n    key: {folder}/tls.key\n{tls}{rest}"
    );
    let binary = Path::new(env!("CARGO_BIN_EXE_mcp-ultra"));
    let gateway = Gateway::launch(binary, &only(&upstream.url(), &section), &[])
        .await
        .unwrap();
    Rig {
        authority,
        mount,
        gateway,
        _upstream: upstream,
    }
}

impl Rig {
    fn client(&self, own: Option<&Pair>, tls13: bool, http2: bool) -> Client {
        let trust = Trust::new(&self.authority.pem(), own, tls13, http2).unwrap();
        Client::trusting(self.gateway.url("/mcp"), &trust)
    }

    fn usual(&self, own: Option<&Pair>) -> Client {
        self.client(own, true, false)
    }

    async fn metric(&self, line: &str) -> u64 {
        let trust = Trust::new(&self.authority.pem(), None, true, false).unwrap();
        let client = Client::trusting(self.gateway.url("/metrics"), &trust);
        let answer = client.get(HeaderMap::new()).await.unwrap();
        let text = answer.text().await.unwrap();
        let found = text
            .lines()
            .find_map(|l| l.strip_prefix(line)?.strip_prefix(' '));
        found
            .unwrap_or_else(|| panic!("no {line} in {text}"))
            .parse()
            .unwrap()
    }
}

async fn list(
    client: &Client,
    headers: HeaderMap,
) -> Result<Answer, mcp_ultra_testkit::raw::RawError> {
    let mut caller = Caller::new(client.clone());
    caller.extra_headers = headers;
    caller.send(caller.prepare("tools/list", json!({}))).await
}

async fn status(client: &Client) -> u16 {
    list(client, HeaderMap::new())
        .await
        .unwrap()
        .status
        .as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_are_spoken_over_both_protocols() {
    let rig = rig("", "").await;
    assert!(rig.gateway.url("/mcp").starts_with("https://"));
    for (tls13, http2) in [(false, false), (false, true), (true, false), (true, true)] {
        let client = rig.client(None, tls13, http2);
        for _ in 0..3 {
            let answer = list(&client, HeaderMap::new()).await.unwrap();
            assert_eq!(answer.status, 200, "{tls13} {http2}");
            for (name, value) in [
                (
                    "strict-transport-security",
                    "max-age=31536000; includeSubDomains",
                ),
                ("x-content-type-options", "nosniff"),
                ("cache-control", "no-store"),
                ("referrer-policy", "no-referrer"),
                (
                    "content-security-policy",
                    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
                ),
            ] {
                assert_eq!(answer.header(name), Some(value));
            }
            answer.json().await.unwrap();
        }
    }
    let ends = rig.metric("tls_certificate_not_after_seconds").await;
    assert!(ends > in_future(89 * DAY).as_secs() && ends < in_future(91 * DAY).as_secs());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_version_and_plain_http_are_turned_away() {
    let rig = rig("    min_version: \"1.3\"\n    hsts: 0s\n", "").await;
    assert!(
        list(&rig.client(None, false, false), HeaderMap::new())
            .await
            .is_err()
    );
    let answer = list(&rig.usual(None), HeaderMap::new()).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("strict-transport-security"), None);

    let plain = rig.gateway.url("/mcp").replace("https:", "http:");
    let told = wire::exchange(
        &plain,
        b"GET /mcp HTTP/1.1\r\nhost: localhost\r\n\r\n",
        SOON,
    )
    .await
    .unwrap();
    let told = String::from_utf8(told).unwrap();
    assert!(told.starts_with("HTTP/1.1 400 "), "{told}");
    assert!(told.ends_with("use https instead of http"), "{told}");
    let odd = wire::exchange(&plain, b"\x00\x01\x02", SOON).await;
    assert!(odd.is_err() || odd.unwrap().is_empty());
    let refused = |reason: &str| format!("http_connections_refused_total{{reason=\"{reason}\"}}");
    assert_eq!(rig.metric(&refused("plain_http")).await, 1);
    assert_eq!(rig.metric(&refused("tls_handshake")).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_below_may_be_left_out_of_hsts() {
    let rig = rig("    hsts: 1h\n    hsts_include_subdomains: false\n", "").await;
    let answer = list(&rig.usual(None), HeaderMap::new()).await.unwrap();
    let told = answer.header("strict-transport-security");
    assert_eq!(told, Some("max-age=3600"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_ends_soon_is_warned_of() {
    let authority = Authority::new("servers").unwrap();
    let mount = Mount::new(&authority.server(in_future(13 * DAY)).unwrap());
    let mut rig = rig_of(authority, mount, "", "").await;
    let warning = "the certificate of server.tls ends soon";
    let line = rig.gateway.logged(&[warning], SOON).await.unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["level"], "WARN");
    let left = line["left_s"].as_u64().unwrap();
    let most = (13 * DAY).as_secs();
    assert!((most - 60..=most).contains(&left), "{left}");

    // One that lasts is not warned of; one that ends is again, when it comes.
    for (days, warnings) in [(90, 1), (12, 2)] {
        let next = rig.authority.server(in_future(days * DAY)).unwrap();
        rig.mount.put(&next.certificate, &next.key);
        let ends = format!(
            "\"not_after_s\":{}",
            in_future(days * DAY).as_secs() / 10_000
        );
        let parts = ["the new certificate is in force", &*ends];
        rig.gateway.logged(&parts, SOON).await.unwrap();
        until("as many warnings", async || {
            rig.gateway.output().matches(warning).count() == warnings
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_have_a_time_and_a_number() {
    let limits = "limits: { handshake_timeout: 300ms, handshakes: 1 }\n";
    let rig = rig("", limits).await;
    let plain = rig.gateway.url("/mcp").replace("https:", "http:");
    // One says nothing, the other begins and stops there, and takes the only place with it.
    let mut silent = wire::connect(&plain).await.unwrap();
    let mut begun = wire::connect(&plain).await.unwrap();
    begun.write_all(&[22, 3, 1]).await.unwrap();
    until("the place is free again", async || {
        let answer = list(&rig.usual(None), HeaderMap::new()).await;
        answer.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    for stream in [&mut silent, &mut begun] {
        let read = wire::read_until_quiet(stream, SOON).await;
        assert!(read.is_err() || read.unwrap().is_empty());
    }
    let reason = "http_connections_refused_total{reason=\"tls_handshake_timeout\"}";
    assert!(rig.metric(reason).await >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_replaced_under_load_and_a_bad_one_refused() {
    let mut rig = rig("", "").await;
    let stop = Arc::new(AtomicBool::new(false));
    let calls = Arc::new(AtomicUsize::new(0));
    let mut load = Vec::new();
    for number in 0..6 {
        let (stop, calls) = (stop.clone(), calls.clone());
        let kept = rig.client(None, true, number % 2 == 0);
        let trust = Trust::new(&rig.authority.pem(), None, number % 3 == 0, false).unwrap();
        let url = rig.gateway.url("/mcp");
        load.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                // A connection that lasts, and a new one with every call.
                for client in [&kept, &Client::trusting(&url, &trust)] {
                    assert_eq!(status(client).await, 200);
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            }
        }));
    }
    let more = async |than: usize| {
        until("calls go on", async || {
            calls.load(Ordering::Relaxed) > than + 30
        })
        .await;
    };
    more(0).await;
    let first = rig.metric("tls_certificate_not_after_seconds").await;
    for round in 1..=3_u32 {
        let next = rig
            .authority
            .server(in_future((100 + round) * DAY))
            .unwrap();
        rig.mount.put(&next.certificate, &next.key);
        until("the new certificate is in force", async || {
            rig.metric("tls_certificate_reloads_total{outcome=\"applied\"}")
                .await
                == u64::from(round)
        })
        .await;
        more(calls.load(Ordering::Relaxed)).await;
    }
    let good = rig.metric("tls_certificate_not_after_seconds").await;
    assert!(good > first);

    let bad = rig.authority.server(in_future(200 * DAY)).unwrap();
    let other = rig.authority.server(in_future(DAY)).unwrap();
    let ended = rig
        .authority
        .server(Duration::from_hours(24 * 20_000))
        .unwrap();
    for (certificate, key, said) in [
        (&bad.certificate, &other.key, "can't be used together"),
        (&"nonsense".to_owned(), &bad.key, "holds no certificate"),
        (&bad.certificate, &String::new(), "holds no private key"),
        (&ended.certificate, &ended.key, "has ended"),
    ] {
        rig.mount.put(certificate, key);
        let parts = ["is refused, the old one stays", said];
        let line = rig.gateway.logged(&parts, SOON);
        let line = line.await.unwrap();
        assert!(!line.contains("PRIVATE KEY"), "{line}");
    }
    more(calls.load(Ordering::Relaxed)).await;
    assert_eq!(rig.metric("tls_certificate_not_after_seconds").await, good);
    assert!(
        rig.metric("tls_certificate_reloads_total{outcome=\"refused\"}")
            .await
            >= 4
    );
    stop.store(true, Ordering::Relaxed);
    for task in load {
        task.await.unwrap();
    }
}

/// The rules of the tests below.
fn rules(auth: &str) -> String {
    format!(
        "auth:\n  resource: https://mcp.example.com/mcp\n  required_scopes: [mcp:use]\n{auth}  certificates:\n    - {{ san: \"uri:spiffe://example.org/agents/*\", tenant: acme, scopes: [mcp:use] }}\n    - {{ san: \"dns:*.workers.example.com\", scopes: [mcp:use], kind: agent }}\n    - {{ san: \"email:*@example.com\", kind: user }}\n"
    )
}

async fn rig_with_clients(clients: &Authority, mode: &str, crl: Option<&str>, auth: &str) -> Rig {
    let authority = Authority::new("servers").unwrap();
    let mount = Mount::new(&authority.server(in_future(90 * DAY)).unwrap());
    let file = mount.file("clients.pem", &clients.pem());
    let mut tls = format!("    client_auth: {mode}\n    client_ca: {file}\n");
    if let Some(crl) = crl {
        let file = mount.file("clients.crl", crl);
        tls = format!(
            "{tls}    client_crl: {file}
"
        );
    }
    rig_of(authority, mount, &tls, &rules(auth)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_known_by_the_names_of_their_certificates() {
    let clients = Authority::new("clients").unwrap();
    let (agent, revoked) = (
        clients
            .client("spiffe://example.org/agents/a", in_future(DAY))
            .unwrap(),
        clients
            .client("spiffe://example.org/agents/b", in_future(DAY))
            .unwrap(),
    );
    let crl = clients.revoked(&[&revoked]).unwrap();
    let rig = rig_with_clients(&clients, "required", Some(&crl), "").await;
    let of = |name: &str| clients.client(name, in_future(DAY)).unwrap();
    for (pair, expected) in [
        (agent, 200),
        (of("w1.workers.example.com"), 200),
        (of("ana@example.com"), 403),
        (of("spiffe://example.org/people/ana"), 401),
        (of("spiffe://evil.example/agents/a"), 401),
        (of("workers.example.com"), 401),
    ] {
        for http2 in [false, true] {
            for tls13 in [false, true] {
                let client = rig.client(Some(&pair), tls13, http2);
                assert_eq!(status(&client).await, expected);
            }
        }
    }
    let stranger = Authority::new("clients").unwrap();
    let ended = clients
        .client(
            "spiffe://example.org/agents/a",
            SystemClock.now().saturating_sub(DAY),
        )
        .unwrap();
    for pair in [
        Some(
            stranger
                .client("spiffe://example.org/agents/a", in_future(DAY))
                .unwrap(),
        ),
        Some(revoked),
        Some(ended),
        None,
    ] {
        for tls13 in [false, true] {
            let client = rig.client(pair.as_ref(), tls13, false);
            assert!(list(&client, HeaderMap::new()).await.is_err());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_decides_where_a_certificate_comes_with_it() {
    let clients = Authority::new("clients").unwrap();
    let auth = format!("  jwt_secret: {SECRET}\n");
    let rig = rig_with_clients(&clients, "optional", None, &auth).await;
    let agent = clients
        .client("spiffe://example.org/agents/a", in_future(DAY))
        .unwrap();
    let token = |scope: &str| {
        let claims = json!({
            "iss": "mcp-ultra", "sub": "ana", "aud": "https://mcp.example.com/mcp",
            "scope": scope, "exp": in_future(DAY).as_secs(),
        });
        let value = format!(
            "Bearer {}",
            hs256(SECRET.as_bytes(), &json!({ "alg": "HS256" }), &claims)
        );
        HeaderMap::from_iter([(
            http::header::AUTHORIZATION,
            HeaderValue::try_from(value).unwrap(),
        )])
    };
    let bad = HeaderMap::from_iter([(
        http::header::AUTHORIZATION,
        HeaderValue::from_static("Bearer nonsense"),
    )]);
    for (own, headers, expected) in [
        (None, HeaderMap::new(), 401),
        (None, token("mcp:use"), 200),
        (Some(&agent), HeaderMap::new(), 200),
        (Some(&agent), token("mcp:use"), 200),
        (Some(&agent), token("other"), 403),
        (Some(&agent), bad, 401),
    ] {
        let answer = list(&rig.usual(own), headers).await.unwrap();
        assert_eq!(answer.status, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_connections_end_with_the_certificate() {
    let clients = Authority::new("clients").unwrap();
    let rig = rig_with_clients(&clients, "required", None, "").await;
    let short = clients
        .client("w.workers.example.com", in_future(Duration::from_secs(4)))
        .unwrap();
    let client = rig.client(Some(&short), true, true);
    let caller = Caller::new(client.clone());
    let mut events = caller
        .listen(json!({ "toolsListChanged": true }))
        .await
        .unwrap();
    assert!(events.message().await.unwrap().is_some());
    assert_eq!(status(&client).await, 200);
    let ended = tokio::time::timeout(SOON, async {
        while events.next().await.unwrap().is_some() {}
    });
    ended.await.unwrap();
    // On the same connection, which has been verified when it was opened.
    assert_eq!(status(&client).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_may_call_that_are_named_and_no_others() {
    let upstream = fixture(Era::Dual).await;
    let cors = "server: { cors: { origins: [\"https://app.example.com\"] } }\n";
    let gateway = gateway(&only(&upstream.url(), cors)).await;
    let ask =
        async |origin: &'static str, method: Method, extra: &[(&'static str, &'static str)]| {
            let mut headers =
                HeaderMap::from_iter([(http::header::ORIGIN, HeaderValue::from_static(origin))]);
            for (name, value) in extra {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            gateway
                .client()
                .request(method, headers, Bytes::new())
                .await
                .unwrap()
        };
    let wanted = [
        ("access-control-request-method", "POST"),
        (
            "access-control-request-headers",
            "authorization,content-type,cookie,mcp-method,mcp-param-city",
        ),
    ];
    let answer = ask("https://app.example.com", Method::OPTIONS, &wanted).await;
    assert_eq!(answer.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", "https://app.example.com"),
        ("access-control-allow-methods", "GET, POST, DELETE"),
        (
            "access-control-allow-headers",
            "authorization, content-type, mcp-method, mcp-param-city",
        ),
        ("vary", "Origin"),
    ] {
        assert_eq!(answer.header(name), Some(value));
    }
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    for origin in [
        "https://evil.example",
        "http://app.example.com",
        "https://app.example.com.evil.example",
        "https://app.example.com:8443",
        "null",
    ] {
        let answer = ask(origin, Method::OPTIONS, &wanted).await;
        assert_eq!(answer.status, 403, "{origin}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    let local = ask("http://localhost:3000", Method::OPTIONS, &wanted).await;
    assert_eq!(local.status, 405, "may call, but no page of it may read");
    assert_eq!(local.header("access-control-allow-origin"), None);

    let mut caller = gateway.caller();
    for (origin, allowed) in [
        ("https://app.example.com", true),
        ("http://localhost:1", false),
    ] {
        caller.extra_headers =
            HeaderMap::from_iter([(http::header::ORIGIN, HeaderValue::from_static(origin))]);
        let answer = caller
            .send(caller.prepare("tools/list", json!({})))
            .await
            .unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("vary"), Some("Origin"));
        assert_eq!(
            answer.header("access-control-allow-origin").is_some(),
            allowed
        );
        let exposed = answer
            .header("access-control-expose-headers")
            .unwrap_or_default();
        assert_eq!(exposed.contains("Mcp-Session-Id"), allowed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn production_needs_tls_or_someone_who_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yaml");
    let base = "environment: production\nauth: { resource: \"https://a.example/mcp\", jwt_secret: a-secret-of-at-least-thirty-two-bytes }\n";
    fs::write(&file, base).unwrap();
    let name = file.display().to_string();
    let refused = run(&["serve", "--port", "0", "--config", &name]).await;
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(
        refused.err.contains("needs TLS, which is missing"),
        "{}",
        refused.err
    );
    assert!(!refused.err.contains(SECRET));
    fs::write(
        &file,
        format!("{base}server: {{ tls_terminated_by: mesh }}\n"),
    )
    .unwrap();
    let said = run(&["config", "validate", "--config", &name]).await;
    assert!(!said.err.contains("TLS"), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_files_are_named_at_start_without_what_is_in_them() {
    let authority = Authority::new("servers").unwrap();
    let (one, two) = (
        authority.server(in_future(DAY)).unwrap(),
        authority.server(in_future(DAY)).unwrap(),
    );
    let mut mount = Mount::new(&one);
    mount.put(&one.certificate, &two.key);
    let folder = mount.path().display().to_string();
    let set = |key: &str, name: &str| format!("server.tls.{key}={folder}/{name}");
    let (certificate, key) = (set("certificate", "tls.crt"), set("key", "tls.key"));
    let run = run(&["serve", "--port", "0", "--set", &certificate, "--set", &key]).await;
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(run.err.contains("can't be used"), "{}", run.err);
    assert!(!run.err.contains("BEGIN") && !run.out.contains("BEGIN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_at_a_metadata_service_is_not_connected_to() {
    let text = only("http://169.254.169.254/mcp", "log: { level: debug }");
    let binary = Path::new(env!("CARGO_BIN_EXE_mcp-ultra"));
    let mut gateway = Gateway::launch(binary, &text, &[]).await.unwrap();
    let line = gateway
        .logged(&["nowhere that the gateway may connect to"], SOON)
        .await;
    assert!(line.unwrap().contains("metadata"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_shows_a_server_its_certificate() {
    let clients = Authority::new("clients").unwrap();
    let server = rig_with_clients(&clients, "required", None, "").await;
    let own = clients.client("gw.workers.example.com", in_future(DAY));
    let mount = Mount::new(&own.unwrap());
    let ca = mount.file("servers.pem", &server.authority.pem());
    let folder = mount.path().display().to_string();
    let url = server.gateway.url("/mcp");
    let shown = format!("certificate: {folder}/tls.crt, key: {folder}/tls.key, ca_file: {ca}");
    let section = |tls: &str| {
        format!("servers:\n  - {{ name: up, url: \"{url}\", prefix: none, tls: {{ {tls} }} }}\n")
    };
    let mut front = gateway(&section(&shown)).await;
    let caller = front.caller();
    until("its tools are listed", async || {
        let reply = caller.call("tools/list", json!({})).await.unwrap();
        reply.result()["tools"]
            .as_array()
            .is_some_and(|tools| !tools.is_empty())
    })
    .await;
    let call = async || {
        let params = json!({ "name": "test_simple_text", "arguments": {} });
        caller
            .call("tools/call", params)
            .await
            .unwrap()
            .error_code()
    };
    assert_eq!(call().await, None);

    // Without it there is no way in.
    front
        .reconfigure(&section(&format!("ca_file: {ca}")))
        .unwrap();
    front
        .logged(&["the new configuration is in force"], SOON)
        .await
        .unwrap();
    until("it is refused", async || call().await.is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_that_a_server_is_shown_is_replaced() {
    let clients = Authority::new("clients").unwrap();
    let authority = Authority::new("servers").unwrap();
    let files = Mount::new(&authority.server(in_future(90 * DAY)).unwrap());
    let file = files.file("clients.pem", &clients.pem());
    let tls = format!("    client_auth: required\n    client_ca: {file}\n");
    // Connections are closed soon, so that the gateway in front makes new ones.
    let rest = format!("{}limits: {{ idle_timeout: 200ms }}\n", rules(""));
    let server = rig_of(authority, files, &tls, &rest).await;

    let of = |authority: &Authority, name: &str| authority.client(name, in_future(DAY)).unwrap();
    let mut mount = Mount::new(&of(&clients, "gw1.workers.example.com"));
    let ca = mount.file("servers.pem", &server.authority.pem());
    let folder = mount.path().display().to_string();
    let url = server.gateway.url("/mcp");
    let mut front = gateway(&format!(
        "servers:\n  - {{ name: up, url: \"{url}\", prefix: none, tls: {{ certificate: {folder}/tls.crt, key: {folder}/tls.key, ca_file: {ca} }} }}\n"
    ))
    .await;
    let caller = front.caller();
    let works = async || {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let params = json!({ "name": "test_simple_text", "arguments": {} });
        let reply = caller.call("tools/call", params).await.unwrap();
        reply.error_code().is_none()
    };
    until("the first certificate lets it in", works).await;

    // Of nobody who is known there, so a server that sees it says no: the new one is what is shown.
    let other = of(&clients, "gw.elsewhere.example.com");
    mount.put(&other.certificate, &other.key);
    until("the other certificate is shown", async || !works().await).await;
    let line = "the new client certificate is in force for new connections";
    front.logged(&[line], SOON).await.unwrap();

    // One that can't be used is refused, and the one before is still shown.
    mount.put("nonsense", &other.key);
    assert!(!works().await);
    let line = "the new client certificate is refused, the old one stays";
    until("it is refused", async || {
        let _ = works().await;
        front.output().contains(line)
    })
    .await;

    let good = of(&clients, "gw2.workers.example.com");
    mount.put(&good.certificate, &good.key);
    until("a good one lets it in again", works).await;
    assert!(!front.output().contains("PRIVATE KEY"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_authority_is_not_spoken_to() {
    let server = rig("", "").await;
    let stranger = Authority::new("servers").unwrap();
    let url = server.gateway.url("/mcp");
    let ours = server.mount.file("ours.pem", &server.authority.pem());
    let other = server.mount.file("other.pem", &stranger.pem());
    let section = |tls: &str| {
        format!(
            "outbound: {{ ca_file: {ours} }}\nservers:\n  - {{ name: up, url: \"{url}\", prefix: none{tls} }}\n"
        )
    };
    // An authority of its own stands instead of those that all servers may be of.
    let text = section(&format!(", tls: {{ ca_file: {other} }}"));
    let binary = Path::new(env!("CARGO_BIN_EXE_mcp-ultra"));
    let mut front = Gateway::launch(binary, &text, &[]).await.unwrap();
    let said = front.logged(&["failed the TLS handshake"], SOON).await;
    assert!(said.unwrap().contains("check its certificate"));
    let caller = front.caller();
    let call = async || {
        let params = json!({ "name": "test_simple_text", "arguments": {} });
        let request = caller.prepare("tools/call", params);
        caller.send(request).await.unwrap().text().await.unwrap()
    };
    let refused = call().await;
    for secret in ["127.0.0.1", "certificate", "TLS"] {
        assert!(!refused.contains(secret), "{refused}");
    }
    assert!(refused.contains("\"error\""), "{refused}");
    front.reconfigure(&section("")).unwrap();
    until("the authority of all servers is enough", async || {
        call().await.contains("This is a simple text")
    })
    .await;
}
