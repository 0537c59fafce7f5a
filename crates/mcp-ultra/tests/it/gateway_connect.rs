//! People connect a server to their accounts there, through the running gateway: an issuer where
//! they log in, an authorization server where they grant access, a server that believes its tokens,
//! and a browser.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use mcp_ultra_domain::{Clock as _, SystemClock};
use mcp_ultra_testkit::{
    authorization::{AuthorizationServer, CANARY, LOGIN, Registered},
    browser::{Browser, Page},
    fixture::{self, Era, Options, http::Running},
    gateway::Gateway,
    identity::hs256,
    raw::{legacy::Session, modern::Caller},
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

use crate::gateway_rig::{SOON, gateway, until};

const ORIGIN: &str = "https://mcp.example.com";
pub(crate) const RESOURCE: &str = "https://mcp.example.com/mcp";
const CALLBACK: &str = "https://mcp.example.com/connect/callback";
const KEY: &str = "first-key-of-the-store-0123456789";
/// Signs the tokens of callers who have no login.
pub(crate) const JWT_SECRET: &str = "a-secret-for-callers-without-a-login";
const URL_MODE: &str = "elicitation";

/// Everything around the gateway.
pub(crate) struct Rig {
    /// Where callers log in.
    issuer: Arc<AuthorizationServer>,
    /// Where access to the server is granted.
    pub(crate) server: Arc<AuthorizationServer>,
    upstream: Running,
    /// For whom the upstream was called.
    subjects: Arc<Mutex<Vec<String>>>,
    folder: TempDir,
}

fn client(id: &str) -> Registered {
    Registered {
        id: id.to_owned(),
        secret: format!("{id}: s3cret"),
        redirect_uri: CALLBACK.to_owned(),
    }
}

impl Rig {
    /// Two authorization servers.
    pub(crate) async fn start(era: Era) -> Self {
        let issuer = Arc::new(AuthorizationServer::start(now).await.unwrap());
        let server = Arc::new(AuthorizationServer::start(now).await.unwrap());
        Self::with(era, issuer, server).await
    }

    /// One that is both.
    async fn alone(era: Era) -> Self {
        let both = Arc::new(AuthorizationServer::start(now).await.unwrap());
        Self::with(era, both.clone(), both).await
    }

    async fn with(
        era: Era,
        issuer: Arc<AuthorizationServer>,
        server: Arc<AuthorizationServer>,
    ) -> Self {
        issuer.register(client("gw-login"));
        server.register(client("gw-tickets"));
        let subjects: Arc<Mutex<Vec<String>>> = Arc::default();
        let (believed, noted) = (server.clone(), subjects.clone());
        let guard = move |parts: &http::request::Parts| {
            let host = parts
                .headers
                .get("host")
                .and_then(|host| host.to_str().ok());
            let resource = format!("http://{}/mcp", host.unwrap_or_default());
            let token = parts.headers.get("authorization");
            let subject = token
                .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
                .and_then(|token| believed.subject_of(token, &resource));
            let good = subject.is_some();
            let subject = subject.unwrap_or_else(|| "nobody".to_owned());
            noted.lock().unwrap().push(subject);
            good
        };
        let upstream = fixture::http::start_guarded(Options::new(era), Arc::new(guard)).await;
        Self {
            issuer,
            server,
            upstream: upstream.unwrap(),
            subjects,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("state.db")
    }

    fn yaml(&self, keys: &[&str]) -> String {
        let keys: Vec<String> = keys
            .iter()
            .map(|secret| {
                let id = secret.split('-').next().unwrap();
                format!("{{ id: {id}, secret: \"{secret}\" }}")
            })
            .collect();
        format!(
            r#"
log: {{ level: trace }}
server: {{ allowed_hosts: [127.0.0.1, mcp.example.com] }}
admin: {{ port: 0 }}
auth:
  resource: {RESOURCE}
  issuers: [{{ issuer: "{issuer}" }}]
  jwt_secret: "{JWT_SECRET}"
storage:
  sqlite: "{database}"
  keys: [{keys}]
session:
  keys: [{{ id: s, secret: "what-seals-links-and-cookies-0123" }}]
connect:
  logins: [{{ issuer: "{issuer}", client_id: gw-login, client_secret: "gw-login: s3cret" }}]
servers:
  - name: tickets
    url: "{url}"
    prefix: none
    credentials:
      kind: authorization_code
      issuer: "{server}"
      client_id: gw-tickets
      client_secret: "gw-tickets: s3cret"
      scopes: [tickets:read]
"#,
            issuer = self.issuer.issuer(),
            server = self.server.issuer(),
            url = self.upstream.url(),
            database = self.database().display(),
            keys = keys.join(", "),
        )
    }

    pub(crate) async fn gateway(&self) -> Gateway {
        gateway(&self.yaml(&[KEY])).await
    }

    pub(crate) fn token(&self, subject: &str) -> String {
        self.issuer.access_token(RESOURCE, subject).unwrap()
    }

    pub(crate) fn caller(&self, gateway: &Gateway, subject: &str) -> Caller {
        let mut caller = gateway.caller();
        caller.capabilities = json!({ URL_MODE: { "url": {} } });
        caller.extra_headers = bearer(&self.token(subject));
        caller
    }

    async fn session(&self, gateway: &Gateway, subject: &str, version: &str) -> Session {
        let capabilities = json!({ URL_MODE: { "url": {} } });
        let headers = bearer(&self.token(subject));
        Session::open(gateway.client(), version, capabilities, headers)
            .await
            .unwrap()
    }

    /// The browser of somebody who is logged in at both as `subject`.
    fn browser(&self, gateway: &Gateway, subject: &str) -> Browser {
        let browser = Browser::default();
        self.seat(&browser, gateway, subject);
        browser
    }

    fn seat(&self, browser: &Browser, gateway: &Gateway, subject: &str) {
        browser.finds(ORIGIN, gateway.url("").trim_end_matches('/'));
        for at in [&self.issuer, &self.server] {
            browser.has(at.issuer(), LOGIN, subject).unwrap();
        }
    }

    /// Connects the server for `subject`.
    pub(crate) async fn connect(&self, gateway: &Gateway, subject: &str) {
        let (url, _) = asked(&call(&self.caller(gateway, subject), None).await);
        let page = connect(&self.browser(gateway, subject), &url).await;
        assert_eq!(title(&page), "Connected", "{}", page.text);
    }

    fn forget(&self) {
        self.subjects.lock().unwrap().clear();
    }

    /// For whom the upstream was called since it was last asked to forget.
    fn subjects(&self) -> Vec<String> {
        self.subjects.lock().unwrap().clone()
    }

    /// Whether anything of a token is in the files of the store.
    fn leaks(&self) -> bool {
        fs::read_dir(self.folder.path()).unwrap().any(|entry| {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            let canary = CANARY.as_bytes();
            bytes.windows(canary.len()).any(|window| window == canary)
        })
    }
}

pub(crate) fn now() -> u64 {
    SystemClock.now().as_secs()
}

pub(crate) fn bearer(token: &str) -> HeaderMap {
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}

fn params(state: Option<&Value>) -> Value {
    let mut params = json!({ "name": "test_simple_text", "arguments": {} });
    if let Some(state) = state {
        params["requestState"] = state.clone();
        params["inputResponses"] = json!({ "connect": { "action": "accept" } });
    }
    params
}

pub(crate) async fn call(caller: &Caller, state: Option<&Value>) -> Value {
    let reply = caller.call("tools/call", params(state)).await.unwrap();
    reply.message
}

pub(crate) fn worked(message: &Value) -> bool {
    message["result"]["content"].is_array() && message["result"]["isError"] != json!(true)
}

/// The link and the state of an answer that asks for the server to be connected.
pub(crate) fn asked(message: &Value) -> (String, Value) {
    let result = &message["result"];
    assert_eq!(result["resultType"], "input_required", "{message}");
    let request = &result["inputRequests"]["connect"];
    assert_eq!(request["method"], "elicitation/create");
    assert_eq!(request["params"]["mode"], "url");
    assert!(request["params"].get("elicitationId").is_none());
    let url = request["params"]["url"].as_str().unwrap();
    assert!(url.starts_with("https://mcp.example.com/connect/"), "{url}");
    (url.to_owned(), result["requestState"].clone())
}

/// Follows a link to its end.
async fn connect(browser: &Browser, url: &str) -> Page {
    let start = browser.open(url).await.unwrap();
    assert_eq!(title(&start), "Connect your account", "{}", start.text);
    browser.agree(&start).await.unwrap()
}

fn title(page: &Page) -> String {
    let rest = page.text.split_once("<h1>").unwrap_or(("", &page.text)).1;
    rest.split_once("</h1>").unwrap_or((rest, "")).0.to_owned()
}

/// Follows a link until the browser is about to come back for the last time, with an answer.
async fn almost(browser: &Browser, url: &str) -> Url {
    let start = browser.open(url).await.unwrap();
    let mut page = browser.send(&start).await.unwrap();
    let mut answers = Vec::new();
    while let Some(next) = page.leads_to() {
        if next.as_str().starts_with(CALLBACK) {
            answers.push(next.clone());
            if answers.len() == 2 {
                break;
            }
        }
        page = browser.look(next.as_str()).await.unwrap();
    }
    assert_eq!(answers.len(), 2, "{}", page.text);
    answers.pop().unwrap()
}

fn with(url: &Url, name: &str, value: Option<&str>) -> String {
    let mut changed = url.clone();
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    {
        let mut query = changed.query_pairs_mut();
        query.clear();
        for (key, old) in pairs {
            match value {
                _ if key != name => query.append_pair(&key, &old),
                Some(value) => query.append_pair(&key, value),
                None => &mut query,
            };
        }
    }
    changed.into()
}

async fn stop(mut gateway: Gateway) {
    gateway.signal(Signal::SIGTERM).unwrap();
    gateway.wait(SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_modern_client_has_its_person_connect_the_server() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    let ana = rig.caller(&gateway, "ana");
    let listed = ana.call("tools/list", json!({})).await.unwrap();
    assert!(listed.result()["tools"].as_array().unwrap().len() > 1);
    let (url, state) = asked(&call(&ana, None).await);
    assert!(!url.contains("ana"));

    // The retry comes while the person is still at it.
    rig.forget();
    let waiting = call(&ana, Some(&state));
    let browsing = async {
        let browser = rig.browser(&gateway, "ana");
        let page = connect(&browser, &url).await;
        assert_eq!(
            (page.status, title(&page)),
            (StatusCode::OK, "Connected".into())
        );
        let kept = browser.cookies(ORIGIN).unwrap();
        assert!(
            kept.iter().all(|(name, _)| !name.contains("flow")),
            "{kept:?}"
        );
    };
    let (answer, ()) = tokio::join!(waiting, browsing);
    assert!(worked(&answer), "{answer}");
    assert!(worked(&call(&ana, None).await), "and is not asked again");
    assert_eq!(rig.subjects(), ["ana", "ana"]);

    let request = rig.server.last_request();
    let of = |name: &str| request.get(name).map(String::as_str);
    assert_eq!(of("resource"), Some(&*rig.upstream.url()));
    assert_eq!(of("scope"), Some("tickets:read"));
    assert_eq!(of("code_challenge_method"), Some("S256"));
    assert_eq!(rig.issuer.last_request()["scope"], "openid");

    let bea = rig.caller(&gateway, "bea");
    asked(&call(&bea, None).await);
    assert!(!rig.leaks(), "a token is in the file");
    assert!(!gateway.output().contains(CANARY), "a token is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legacy_client_is_told_when_its_person_is_done() {
    for era in [Era::Modern, Era::Legacy] {
        let rig = Rig::start(era).await;
        let gateway = rig.gateway().await;
        let session = rig.session(&gateway, "ana", "2025-11-25").await;
        let mut stream = session.stream(None).await.unwrap().events();
        let refused = session.call("tools/call", params(None)).await.unwrap();
        assert_eq!(refused.error_code(), Some(-32042), "{}", refused.message);
        let elicitations = &refused.message["error"]["data"]["elicitations"];
        assert_eq!(elicitations.as_array().unwrap().len(), 1);
        assert_eq!(elicitations[0]["mode"], "url");
        let url = elicitations[0]["url"].as_str().unwrap();
        let page = connect(&rig.browser(&gateway, "ana"), url).await;
        assert_eq!(title(&page), "Connected");
        let told = loop {
            let event = tokio::time::timeout(SOON, stream.message()).await.unwrap();
            let message = event.unwrap().unwrap();
            if message["method"] == "notifications/elicitation/complete" {
                break message;
            }
        };
        assert_eq!(
            told["params"]["elicitationId"],
            elicitations[0]["elicitationId"]
        );
        rig.forget();
        let answer = session.call("tools/call", params(None)).await.unwrap();
        assert!(worked(&answer.message), "{}", answer.message);
        assert!(rig.subjects().iter().all(|subject| subject == "ana"));
        session.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_can_not_ask_gets_the_link_in_an_error() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    let mut modern = rig.caller(&gateway, "ana");
    modern.capabilities = json!({ "elicitation": { "form": {} } });
    let session = rig.session(&gateway, "ana", "2025-06-18").await;
    let legacy = session.call("tools/call", params(None)).await.unwrap();
    for (message, code) in [
        (call(&modern, None).await, -32021),
        (legacy.message, -32602),
    ] {
        let error = &message["error"];
        assert_eq!(error["code"], code, "{message}");
        let url = error["data"]["url"].as_str().unwrap();
        assert!(error["message"].as_str().unwrap().contains(url));
        let page = rig.browser(&gateway, "ana").open(url).await.unwrap();
        assert_eq!(title(&page), "Connect your account");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_follows_the_link_of_somebody_else_connects_nothing() {
    for alone in [false, true] {
        let rig = if alone {
            Rig::alone(Era::Modern).await
        } else {
            Rig::start(Era::Modern).await
        };
        let gateway = rig.gateway().await;
        let ana = rig.caller(&gateway, "ana");
        let (url, _) = asked(&call(&ana, None).await);
        let page = connect(&rig.browser(&gateway, "bea"), &url).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN);
        assert_eq!(title(&page), "This link is somebody else's");
        let (url, _) = asked(&call(&ana, None).await);
        asked(&call(&rig.caller(&gateway, "bea"), None).await);
        if !alone {
            assert_eq!(rig.server.asked().approved, 0, "bea was never sent there");
        }
        assert!(gateway.output().contains("the link of somebody else"));
        // And the one who has called can.
        let page = connect(&rig.browser(&gateway, "ana"), &url).await;
        assert_eq!(title(&page), "Connected", "{}", page.text);
        rig.forget();
        assert!(worked(&call(&ana, None).await));
        assert_eq!(rig.subjects(), ["ana"]);
        asked(&call(&rig.caller(&gateway, "bea"), None).await);
    }
}

/// The last leg is as dangerous as the first: its link could be passed on too.
#[tokio::test(flavor = "multi_thread")]
async fn the_way_is_of_one_browser_from_its_beginning_to_its_end() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    let ana = rig.caller(&gateway, "ana");
    let (url, _) = asked(&call(&ana, None).await);
    let (hers, other) = (rig.browser(&gateway, "ana"), rig.browser(&gateway, "bea"));
    let answer = almost(&hers, &url).await;
    let page = other.open(answer.as_str()).await.unwrap();
    assert_eq!(title(&page), "Not the browser that began");
    // With cookies of their own begun flow, too.
    let (url, _) = asked(&call(&rig.caller(&gateway, "bea"), None).await);
    let own = almost(&other, &url).await;
    let page = other.open(answer.as_str()).await.unwrap();
    assert_eq!(title(&page), "Not the browser that began");
    assert_eq!(rig.server.asked().redeemed, 0);
    // Cookies that somebody has made up.
    let forger = rig.browser(&gateway, "ana");
    for (name, value) in hers.cookies(ORIGIN).unwrap() {
        let forged = if name.contains("flow") {
            own.query().unwrap()
        } else {
            &value
        };
        forger.has(ORIGIN, &name, &forged[..20]).unwrap();
    }
    let page = forger.open(answer.as_str()).await.unwrap();
    assert_eq!(title(&page), "Not the browser that began");
    asked(&call(&ana, None).await);
    // Nothing of it was used up.
    let page = hers.open(answer.as_str()).await.unwrap();
    assert_eq!(title(&page), "Connected", "{}", page.text);
    assert!(worked(&call(&ana, None).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn links_and_answers_are_good_once_and_as_they_are() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    let ana = rig.caller(&gateway, "ana");
    let (url, _) = asked(&call(&ana, None).await);
    let browser = rig.browser(&gateway, "ana");
    for bad in [
        format!("{ORIGIN}/connect/nonsense"),
        url[..url.len() - 2].to_owned(),
        url.replace("/connect/", "/connect/A"),
        format!("{CALLBACK}?code=c"),
    ] {
        let page = browser.open(&bad).await.unwrap();
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    // A consent of another browser, and one to another link.
    let start = browser.open(&url).await.unwrap();
    let stranger = rig.browser(&gateway, "ana");
    let page = stranger.send(&start).await.unwrap();
    assert_eq!(title(&page), "Not the browser that began");
    let (other, _) = asked(&call(&ana, None).await);
    let mut swapped = browser.open(&other).await.unwrap();
    swapped.url = start.url.clone();
    let page = browser.send(&swapped).await.unwrap();
    assert_eq!(title(&page), "Not the browser that began");

    let answer = almost(&browser, &url).await;
    let state = answer
        .query_pairs()
        .find(|(name, _)| name == "state")
        .unwrap()
        .1;
    let mut changed = state.to_string();
    let middle = changed.len() / 2;
    let with_other = if &changed[middle..=middle] == "A" {
        "B"
    } else {
        "A"
    };
    changed.replace_range(middle..=middle, with_other);
    for bad in [
        with(&answer, "state", Some(&changed)),
        with(&answer, "state", None),
        with(&answer, "state", Some("")),
        format!("{answer}&state={state}"),
        format!("{answer}&code=another"),
    ] {
        let page = browser.open(&bad).await.unwrap();
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    let page = browser.open(answer.as_str()).await.unwrap();
    assert_eq!(title(&page), "Connected", "{}", page.text);
    let page = browser.open(answer.as_str()).await.unwrap();
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "a second time");
    let start = browser.open(&url).await.unwrap();
    let page = browser.send(&start).await.unwrap();
    assert_eq!(title(&page), "This link is not valid", "a second time");
    assert_eq!(rig.server.asked().redeemed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_another_authorization_server_is_thrown_away() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    let ana = rig.caller(&gateway, "ana");
    for says in ["https://attacker.example", ""] {
        rig.server
            .behave(|conduct| conduct.says_issuer = Some(says.to_owned()));
        let (url, _) = asked(&call(&ana, None).await);
        let page = connect(&rig.browser(&gateway, "ana"), &url).await;
        assert_eq!(title(&page), "That answer was not expected", "{says}");
    }
    assert_eq!(
        rig.server.asked().redeemed,
        0,
        "no code was shown to anyone"
    );
    assert!(gateway.output().contains("RFC 9207"));
    rig.server.behave(|conduct| conduct.says_issuer = None);
    rig.issuer
        .behave(|conduct| conduct.says_issuer = Some("https://attacker.example".into()));
    let (url, _) = asked(&call(&ana, None).await);
    let page = connect(&rig.browser(&gateway, "ana"), &url).await;
    assert_eq!(title(&page), "That answer was not expected");
    asked(&call(&ana, None).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_was_put_in_is_of_no_use() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    let ana = rig.caller(&gateway, "ana");
    let (url, _) = asked(&call(&ana, None).await);
    let browser = rig.browser(&gateway, "ana");
    let answer = almost(&browser, &url).await;
    let code = rig.server.code_of("gw-tickets", CALLBACK, "mallory");
    let page = browser
        .open(&with(&answer, "code", Some(&code)))
        .await
        .unwrap();
    assert_eq!(title(&page), "That did not work");
    asked(&call(&ana, None).await);
    assert_eq!(rig.server.asked().redeemed, 0);
    assert!(
        !gateway.output().contains(&code),
        "not even a code is logged"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_token_must_be_for_this_client_and_this_request() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    let ana = rig.caller(&gateway, "ana");
    let page = async || {
        let (url, _) = asked(&call(&ana, None).await);
        connect(&rig.browser(&gateway, "ana"), &url).await
    };
    rig.issuer
        .behave(|conduct| conduct.nonce = Some("of-another-request"));
    assert_eq!(title(&page().await), "That answer was not expected");
    rig.issuer.behave(|conduct| {
        conduct.nonce = None;
        conduct.audience = Some("another-client");
    });
    assert_eq!(title(&page().await), "That answer was not expected");
    assert_eq!(rig.server.asked().approved, 0);
    rig.issuer.behave(|conduct| conduct.audience = None);
    assert_eq!(title(&page().await), "Connected");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_no_is_told_so_and_asked_again() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    let ana = rig.caller(&gateway, "ana");
    rig.server
        .behave(|conduct| conduct.denies = Some("access_denied"));
    let (url, _) = asked(&call(&ana, None).await);
    let browser = Browser::of("pt-BR,pt;q=0.9,en;q=0.5");
    rig.seat(&browser, &gateway, "ana");
    let start = browser.open(&url).await.unwrap();
    assert_eq!(title(&start), "Conectar sua conta");
    for (name, value) in [
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("content-language", "pt-BR"),
        ("x-frame-options", "DENY"),
    ] {
        assert_eq!(start.header(name), value);
    }
    let policy = start.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; form-action 'self'"),
        "{policy}"
    );
    let cookie = start.header("set-cookie");
    assert!(cookie.starts_with("__Host-") && cookie.ends_with("Secure; HttpOnly; SameSite=Lax"));
    let page = browser.agree(&start).await.unwrap();
    assert_eq!(title(&page), "Não conectado");
    let (url, state) = asked(&call(&ana, None).await);

    rig.server
        .behave(|conduct| conduct.denies = Some("server_error"));
    let page = connect(&rig.browser(&gateway, "ana"), &url).await;
    assert_eq!(
        (page.status, title(&page)),
        (StatusCode::BAD_GATEWAY, "That did not work".into())
    );

    // Who does not even follow the link.
    let mut declined = params(Some(&state));
    declined["inputResponses"]["connect"]["action"] = json!("decline");
    let answer = ana.call("tools/call", declined).await.unwrap().message;
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("declined"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorization_server_that_is_no_good_connects_nothing() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    let ana = rig.caller(&gateway, "ana");
    rig.server.behave(|conduct| conduct.pkce = None);
    let (url, _) = asked(&call(&ana, None).await);
    let page = connect(&rig.browser(&gateway, "ana"), &url).await;
    assert_eq!(title(&page), "That did not work");
    assert!(
        gateway
            .output()
            .contains("code_challenge_methods_supported")
    );
    rig.server.behave(|conduct| conduct.pkce = Some("S256"));
    let (url, _) = asked(&call(&ana, None).await);
    let browser = rig.browser(&gateway, "ana");
    let answer = almost(&browser, &url).await;
    rig.server.behave(|conduct| conduct.is_down = true);
    let page = browser.open(answer.as_str()).await.unwrap();
    assert_eq!(title(&page), "That did not work");
    rig.server.behave(|conduct| conduct.is_down = false);
    rig.connect(&gateway, "ana").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_refreshed_once_for_all_who_call() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    rig.server
        .behave(|conduct| conduct.lifetime = Duration::from_secs(1));
    rig.connect(&gateway, "ana").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    rig.server.behave(|conduct| {
        conduct.lifetime = Duration::from_hours(1);
        conduct.takes = Duration::from_millis(100);
    });
    let ana = rig.caller(&gateway, "ana");
    let answers = join_all((0..20).map(|_| call(&ana, None))).await;
    assert!(answers.iter().all(worked), "{answers:?}");
    let asked = rig.server.asked();
    assert_eq!((asked.refreshed, asked.refused), (1, 0));
    assert!(!rig.leaks());
    assert!(!gateway.output().contains(CANARY));
}

/// The authorization server may have ended the refresh token before when its answer comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_under_way_is_kept_when_the_gateway_stops() {
    let rig = Rig::start(Era::Modern).await;
    let first = rig.gateway().await;
    rig.server
        .behave(|conduct| conduct.lifetime = Duration::from_secs(1));
    rig.connect(&first, "ana").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    rig.server.behave(|conduct| {
        conduct.lifetime = Duration::from_hours(1);
        conduct.takes = Duration::from_secs(4);
    });
    let ana = rig.caller(&first, "ana");
    let calling = tokio::time::timeout(Duration::from_millis(500), call(&ana, None));
    assert!(calling.await.is_err(), "the caller has gone");
    stop(first).await;
    assert_eq!(rig.server.asked().refreshed, 1);
    let second = rig.gateway().await;
    assert!(worked(&call(&rig.caller(&second, "ana"), None).await));
    let asked = rig.server.asked();
    assert_eq!((asked.refreshed, asked.refused), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_has_ended_is_asked_for_anew() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    rig.connect(&gateway, "ana").await;
    let ana = rig.caller(&gateway, "ana");
    assert!(worked(&call(&ana, None).await));
    // The access token alone is gone: nobody notices.
    tokio::time::sleep(Duration::from_millis(2100)).await;
    rig.server.end_access();
    assert!(worked(&call(&ana, None).await));
    assert_eq!(rig.server.asked().refreshed, 1);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    rig.server.end_all();
    let (url, _) = asked(&call(&ana, None).await);
    assert!(
        gateway
            .output()
            .contains("the authorization server says that it has ended")
    );
    let page = connect(&rig.browser(&gateway, "ana"), &url).await;
    assert_eq!(title(&page), "Connected");
    assert!(worked(&call(&ana, None).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_outlive_the_gateway_and_end_with_their_key() {
    let rig = Rig::start(Era::Modern).await;
    let first = rig.gateway().await;
    rig.connect(&first, "ana").await;
    stop(first).await;
    let ana = async |gateway: &Gateway| call(&rig.caller(gateway, "ana"), None).await;

    let second = rig.gateway().await;
    assert!(worked(&ana(&second).await));
    stop(second).await;
    // A new key in front of the one before.
    let rotated = gateway(&rig.yaml(&["second-key-of-the-store-01234567890", KEY])).await;
    assert!(worked(&ana(&rotated).await));
    stop(rotated).await;
    // Another one in its place.
    let mut lost = gateway(&rig.yaml(&["third-key-of-the-store-012345678901"])).await;
    let (url, _) = asked(&ana(&lost).await);
    let line = "can't be decrypted by any of storage.keys";
    lost.logged(&[line], SOON).await.unwrap();
    let page = connect(&rig.browser(&lost, "ana"), &url).await;
    assert_eq!(title(&page), "Connected");
    assert!(worked(&ana(&lost).await));
    assert!(!rig.leaks());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_client_secret_is_used_without_a_restart() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    let ana = rig.caller(&gateway, "ana");
    let end = async || {
        let (url, _) = asked(&call(&ana, None).await);
        title(&connect(&rig.browser(&gateway, "ana"), &url).await)
    };
    rig.issuer.register(Registered {
        secret: "another: s3cret".to_owned(),
        ..client("gw-login")
    });
    assert_eq!(end().await, "That did not work");
    let yaml = rig.yaml(&[KEY]);
    let yaml = yaml.replace("gw-login: s3cret", "another: s3cret");
    gateway.reconfigure(&yaml).unwrap();
    until("a login with the other secret", async || {
        end().await == "Connected"
    })
    .await;
    assert!(worked(&call(&ana, None).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_can_not_log_in_is_told_who_can() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    let claims = json!({ "iss": "mcp-ultra", "aud": RESOURCE, "sub": "robot", "exp": now() + 60 });
    let header = json!({ "alg": "HS256", "typ": "JWT" });
    let token = hs256(JWT_SECRET.as_bytes(), &header, &claims);
    let mut robot = rig.caller(&gateway, "ana");
    robot.extra_headers = bearer(&token);
    let answer = call(&robot, None).await;
    let message = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("log in in a browser"), "{answer}");
    assert!(message.contains(rig.issuer.issuer()), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_there_only_where_a_server_needs_them() {
    let upstream = crate::gateway_rig::fixture(Era::Modern).await;
    let gateway = gateway(&crate::gateway_rig::only(&upstream.url(), "")).await;
    for path in ["/connect/callback", "/connect/x", "/connect/"] {
        let answer = gateway.get(path).await.unwrap();
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    until("the page", async || {
        gateway.get("/connect/x").await.unwrap().status == StatusCode::BAD_REQUEST
    })
    .await;
    assert_eq!(
        gateway.get("/connect/").await.unwrap().status,
        StatusCode::NOT_FOUND
    );
    let rebound = Browser::default();
    rebound.finds(
        "http://attacker.example",
        gateway.url("").trim_end_matches('/'),
    );
    let page = rebound
        .open("http://attacker.example/connect/x")
        .await
        .unwrap();
    assert_eq!(page.status, StatusCode::FORBIDDEN);
}
