//! Two gateways on one PostgreSQL that tell each other of changes over NATS, and find them by polling while that
//! is away.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use jiff::{SignedDuration, Timestamp};
use mcp_ultra_testkit::{
    fixture::{Era, http::Running},
    gateway::Gateway,
    raw::Client,
    stores::{Nats, PASSWORD, Postgres},
};
use serde_json::{Value, json};

use crate::{
    cli::{Run, run},
    gateway_connect, gateway_connect_ended, gateway_grants, gateway_pinning_admin,
    gateway_rig::{SOON, fixture, gateway, modern, names, only, until},
};

/// What is announced is known elsewhere within.
const AT_ONCE: Duration = Duration::from_secs(1);
const KEYS: &str = "/api/v1/keys";

/// Of two gateways `here` has the admin API that changes are made by.
struct Site {
    here: Gateway,
    there: Gateway,
    admin: String,
    operator: String,
    config: String,
    nats: Nats,
    folder: tempfile::TempDir,
    _upstream: Running,
}

impl Site {
    /// Keys are read again every hour, so that nothing but an announcement is quick.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let nats = Nats::start().await.unwrap();
        let yaml = configuration(&folder, &nats).await;
        let file = folder.path().join("gateway.yaml");
        std::fs::write(&file, &yaml).unwrap();
        let operator = key(&folder, &["admin", "--role", "operator"]).await;
        let upstream = fixture(Era::Dual).await;
        let config = only(&upstream.url(), &yaml);
        let (mut here, there) = (gateway(&config).await, gateway(&config).await);
        let line = here.logged(&["the admin API listens"], SOON).await;
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let admin = line["fields"]["url"].as_str().or(line["url"].as_str());
        let site = Self {
            admin: admin.unwrap().to_owned(),
            here,
            there,
            operator,
            config,
            nats,
            folder,
            _upstream: upstream,
        };
        site.connected("1").await;
        site
    }

    /// Waits until both are connected, or neither is.
    async fn connected(&self, value: &str) {
        for gateway in [&self.here, &self.there] {
            connected(gateway, value).await;
        }
    }

    async fn ask(&self, method: Method, path: &str) -> Value {
        let mut headers = bearer(&self.operator);
        let any = HeaderValue::from_static("*");
        headers.insert(HeaderName::from_static("if-match"), any);
        let client = Client::new(format!("{}{path}", self.admin));
        let answer = client.request(method, headers, Bytes::new()).await.unwrap();
        assert_eq!(answer.status, 200, "{path}");
        answer.json().await.unwrap()
    }

    async fn revoke(&self, name: &str) {
        let list = self.ask(Method::GET, KEYS).await;
        let keys = list["items"].as_array().unwrap();
        let key = keys.iter().find(|key| key["name"] == name).unwrap();
        let path = format!("{KEYS}/{}", key["id"].as_str().unwrap());
        self.ask(Method::DELETE, &path).await;
    }

    /// On the machine of the store, beside the gateways.
    async fn revoke_in_store(&self, name: &str) -> Run {
        let file = self.folder.path().join("gateway.yaml");
        let said = run(&["key", "revoke", name, "--config", &file.to_string_lossy()]).await;
        assert_eq!(said.code, 0, "{}", said.err);
        said
    }

    /// Blocks who has that key, for an hour; the path of the block.
    async fn block(&self, name: &str) -> String {
        let list = self.ask(Method::GET, KEYS).await;
        let keys = list["items"].as_array().unwrap();
        let key = keys.iter().find(|key| key["name"] == name).unwrap();
        let subject = key["id"].as_str().unwrap();
        let end = Timestamp::now() + SignedDuration::from_hours(1);
        let path = format!("/api/v1/sessions?subject={subject}&issuer=api-key&block_until={end}");
        let said = self.ask(Method::DELETE, &path).await;
        format!("/api/v1/blocks/{}", said["block"]["id"].as_str().unwrap())
    }
}

async fn configuration(folder: &tempfile::TempDir, nats: &Nats) -> String {
    let server = Postgres::shared().await.unwrap();
    let admin = server.database().await.unwrap();
    let (database, port) = (&admin.database, admin.address.port());
    let roles = format!(
        "create role owner_of_{database} login password '{PASSWORD}'; \
         alter database {database} owner to owner_of_{database}"
    );
    admin.sql(&roles).await.unwrap();
    let postgres = format!(
        "storage:\n  postgres:\n    host: 127.0.0.1\n    port: {port}\n    database: {database}\n    user: guest\n    password: {PASSWORD}\n    tls: {{ ca_file: \"{}\" }}\n",
        admin.authority.display()
    );
    let owner = folder.path().join("owner.yaml");
    std::fs::write(
        &owner,
        format!("{postgres}    migrate: {{ user: owner_of_{database}, password: {PASSWORD} }}\n"),
    )
    .unwrap();
    let migrated = run(&["migrate", "--config", &owner.to_string_lossy()]).await;
    assert_eq!(migrated.code, 0, "{}", migrated.err);
    let messaging = messaging(nats);
    format!(
        "auth:\n  resource: https://mcp.example.com/mcp\n  api_keys: {{ enabled: true, recheck: 1h, max_age: 2h }}\nadmin: {{ port: 0 }}\n{postgres}{messaging}"
    )
}

/// The section that names it.
pub(crate) fn messaging(nats: &Nats) -> String {
    let login = nats.login();
    format!(
        "messaging:\n  nats:\n    servers: ['{}']\n    user: {}\n    password: {}\n    tls: {{ ca_file: \"{}\" }}\n",
        login.address,
        login.user,
        login.password,
        login.authority.display()
    )
}

async fn key(folder: &tempfile::TempDir, arguments: &[&str]) -> String {
    let file = folder.path().join("gateway.yaml");
    let file = file.to_string_lossy();
    let made = run(&[&["key", "create"], arguments, &["--config", &file]].concat()).await;
    assert_eq!(made.code, 0, "{}", made.err);
    made.out.trim_end().to_owned()
}

fn bearer(token: &str) -> HeaderMap {
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}

async fn status(gateway: &Gateway, token: &str) -> u16 {
    let mut caller = gateway.caller();
    caller.extra_headers = bearer(token);
    let answer = caller.send(caller.prepare("tools/list", json!({}))).await;
    answer.unwrap().status.as_u16()
}

/// The value of a metric, by its name and labels as they are written.
pub(crate) async fn metric(gateway: &Gateway, name: &str) -> String {
    let text = gateway.get("/metrics").await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name}"))
        .trim()
        .to_owned()
}

pub(crate) async fn connected(gateway: &Gateway, value: &str) {
    until("a connection to NATS, or its loss", async || {
        metric(gateway, "mcp_announcements_connected").await == value
    })
    .await;
}

/// How often a gateway has heard of such a change.
async fn heard(gateway: &Gateway, kind: &str) -> String {
    let name = format!("mcp_announcements_total{{kind=\"{kind}\",outcome=\"heard\"}}");
    metric(gateway, &name).await
}

/// How long it takes until a gateway refuses a key.
async fn refused(gateway: &Gateway, token: &str) -> Duration {
    let begun = Instant::now();
    until("a refusal", async || status(gateway, token).await == 401).await;
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_known_elsewhere_at_once() {
    let site = Site::new().await;
    let (ana, bea) = (
        key(&site.folder, &["ana"]).await,
        key(&site.folder, &["bea"]).await,
    );
    for token in [&ana, &bea] {
        assert_eq!(status(&site.there, token).await, 200);
    }
    site.revoke("ana").await;
    let took = refused(&site.there, &ana).await;
    println!("a revoked key is refused elsewhere after {took:?}");
    assert!(took < AT_ONCE, "{took:?}");
    let block = site.block("bea").await;
    let took = refused(&site.there, &bea).await;
    println!("a blocked caller is refused elsewhere after {took:?}");
    assert!(took < AT_ONCE, "{took:?}");
    site.ask(Method::DELETE, &block).await;
    let begun = Instant::now();
    until("to be let in", async || {
        status(&site.there, &bea).await == 200
    })
    .await;
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    for (gateway, outcome, kind, count) in [
        (&site.here, "sent", "key_changed", "1"),
        (&site.here, "sent", "blocks_changed", "2"),
        (&site.here, "heard", "key_changed", "0"),
        (&site.there, "heard", "key_changed", "1"),
        (&site.there, "heard", "blocks_changed", "2"),
        (&site.there, "sent", "blocks_changed", "0"),
    ] {
        let name = format!("mcp_announcements_total{{kind=\"{kind}\",outcome=\"{outcome}\"}}");
        assert_eq!(metric(gateway, &name).await, count, "{name}");
    }
    for gateway in [&site.here, &site.there] {
        let output = gateway.output();
        assert!(!output.contains(PASSWORD) && !output.contains(&ana));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_in_the_store_is_known_everywhere_at_once() {
    let site = Site::new().await;
    let ana = key(&site.folder, &["ana"]).await;
    for gateway in [&site.here, &site.there] {
        assert_eq!(status(gateway, &ana).await, 200);
    }
    let said = site.revoke_in_store("ana").await;
    assert!(
        said.out.contains("from now on") && said.err.is_empty(),
        "{said:?}"
    );
    for gateway in [&site.here, &site.there] {
        let took = refused(gateway, &ana).await;
        assert!(took < AT_ONCE, "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_changed_while_nats_was_away_is_missed() {
    let mut site = Site::new().await;
    let (ana, bea, cy, dee) = (
        key(&site.folder, &["ana"]).await,
        key(&site.folder, &["bea"]).await,
        key(&site.folder, &["cy"]).await,
        key(&site.folder, &["dee"]).await,
    );
    for token in [&ana, &bea, &cy, &dee] {
        assert_eq!(status(&site.there, token).await, 200);
    }
    site.nats.server_mut().kill().await.unwrap();
    site.connected("0").await;
    // Calls go on, what polls is found, and the admin API waits for nobody.
    site.block("bea").await;
    refused(&site.there, &bea).await;
    let begun = Instant::now();
    site.revoke("ana").await;
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    assert_eq!(status(&site.here, &ana).await, 401);
    for _ in 0..20 {
        assert_eq!(status(&site.there, &cy).await, 200);
    }
    assert_eq!(status(&site.there, &ana).await, 200, "nobody has told it");
    // What nobody is told of at all: who did it in the store has ended when NATS is back.
    let begun = Instant::now();
    let said = site.revoke_in_store("dee").await;
    assert!(begun.elapsed() < SOON && said.out.contains("auth.api_keys.recheck"));
    assert!(said.err.contains("messaging.nats"), "{}", said.err);
    assert_eq!(status(&site.there, &dee).await, 200);
    // One that starts meanwhile serves, too.
    let late = gateway(&site.config).await;
    assert_eq!(status(&late, &cy).await, 200);
    site.nats.restart().await.unwrap();
    let took = refused(&site.there, &ana).await;
    println!("what was revoked meanwhile is refused {took:?} after NATS is back");
    refused(&site.there, &dee).await;
    site.connected("1").await;
    connected(&late, "1").await;
    site.revoke("cy").await;
    for gateway in [&site.there, &late] {
        let took = refused(gateway, &cy).await;
        assert!(took < AT_ONCE, "{took:?}");
    }
}

/// Withdraws a grant while a call that uses it goes on at another gateway, by the admin API or on the machine of the
/// store; it ends at once. Without being told it is looked every ten seconds whether a grant is still there.
async fn a_grant_that_is_withdrawn_elsewhere(in_store: bool) {
    let nats = Nats::start().await.unwrap();
    let rig = gateway_connect::Rig::start(Era::Modern).await;
    let yaml = format!("{}{}", messaging(&nats), rig.yaml(&[gateway_connect::KEY]));
    let (there, mut here) = (gateway(&yaml).await, gateway(&yaml).await);
    let admin = gateway_grants::admin(&mut here).await;
    for gateway in [&there, &here] {
        connected(gateway, "1").await;
    }
    rig.connect(&there, "ana").await;
    let ana = rig.caller(&there, "ana");
    let withdrawing = async {
        rig.forget();
        until("the call", async || {
            rig.subjects().iter().any(|one| one == "ana")
        })
        .await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let begun = Instant::now();
        if in_store {
            withdraw_in_store(&nats, &rig, &admin).await;
        } else {
            gateway_connect_ended::withdraw(&admin, "ana").await;
        }
        begun
    };
    let calling = gateway_connect_ended::wait_upstream(&ana, 60_000);
    let calls = async { tokio::join!(calling, withdrawing) };
    let (answer, begun) = tokio::time::timeout(SOON, calls).await.unwrap();
    let took = begun.elapsed();
    println!("a call with a grant ended {took:?} after its withdrawal was asked for");
    assert!(gateway_connect_ended::was_withdrawn(&answer), "{answer}");
    assert_eq!(heard(&there, "grant_withdrawn").await, "1");
    assert!(took < AT_ONCE * 2, "{took:?}");
}

/// By a command that is given the sections of storage and messaging alone.
async fn withdraw_in_store(nats: &Nats, rig: &gateway_connect::Rig, admin: &str) {
    let grant = gateway_grants::grants(admin, "").await.remove(0);
    let file = rig.database().with_file_name("store.yaml");
    let store = format!("storage: {{ sqlite: \"{}\" }}\n", rig.database().display());
    std::fs::write(&file, format!("{store}{}", messaging(nats))).unwrap();
    let id = grant["id"].as_str().unwrap();
    let said = run(&["grant", "revoke", id, "--config", &file.to_string_lossy()]).await;
    assert!(
        said.out.contains("Gateways that run use it no more"),
        "{said:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_with_a_grant_ends_at_once_when_it_is_withdrawn_elsewhere() {
    a_grant_that_is_withdrawn_elsewhere(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_with_a_grant_ends_at_once_when_it_is_withdrawn_in_the_store() {
    a_grant_that_is_withdrawn_elsewhere(true).await;
}

/// Approves by the admin API of another gateway, or on the machine of the store.
async fn a_tool_that_is_approved_elsewhere(in_store: bool) {
    let nats = Nats::start().await.unwrap();
    let rig = gateway_pinning_admin::rig_with(&messaging(&nats)).await;
    let there = gateway(&std::fs::read_to_string(&rig.config).unwrap()).await;
    for gateway in [&there, &rig.gateway] {
        connected(gateway, "1").await;
    }
    let mut caller = there.caller();
    caller.extra_headers = bearer(&rig.operator);
    let listed = async || names(&modern(&caller, "tools/list", json!({})).await, "tools");
    until("the tool that nobody has changed", async || {
        listed().await == ["crm_new"]
    })
    .await;
    let approved = if in_store {
        rig.tools(&["approve", "--all"]).await
    } else {
        rig.remote(&["approve", "--all"]).await
    };
    assert_eq!(approved.code, 0, "{}", approved.err);
    let begun = Instant::now();
    until("the other one", async || {
        listed().await == ["crm_find", "crm_new"]
    })
    .await;
    let took = begun.elapsed();
    println!("an approved tool is listed elsewhere after {took:?}");
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!(heard(&there, "pins_changed").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_tool_is_listed_elsewhere_at_once() {
    a_tool_that_is_approved_elsewhere(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_is_approved_in_the_store_is_listed_everywhere_at_once() {
    a_tool_that_is_approved_elsewhere(true).await;
}
