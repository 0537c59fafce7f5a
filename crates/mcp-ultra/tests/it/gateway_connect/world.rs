//! Everything around the gateway, and what clients and browsers do.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use http::{HeaderMap, HeaderValue, header};
use mcp_ultra_domain::{Clock as _, SystemClock};
use mcp_ultra_testkit::{
    authorization::{AuthorizationServer, CANARY, LOGIN, OWN, Registered},
    browser::{Browser, Page},
    fixture::{
        self, Era, Options,
        http::{Access, Running},
    },
    gateway::Gateway,
    raw::{legacy::Session, modern::Caller},
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

use crate::gateway_rig::{SOON, gateway};

pub(super) const ORIGIN: &str = "https://mcp.example.com";
pub(crate) const RESOURCE: &str = "https://mcp.example.com/mcp";
pub(super) const CALLBACK: &str = "https://mcp.example.com/connect/callback";
pub(crate) const KEY: &str = "first-key-of-the-store-0123456789";
/// Signs the tokens of callers who have no login.
pub(crate) const JWT_SECRET: &str = "a-secret-for-callers-without-a-login";
const URL_MODE: &str = "elicitation";

/// Everything around the gateway.
pub(crate) struct Rig {
    /// Where callers log in.
    pub(super) issuer: Arc<AuthorizationServer>,
    /// Where access to the server is granted.
    pub(crate) server: Arc<AuthorizationServer>,
    pub(super) upstream: Running,
    /// For whom the upstream was called.
    subjects: Arc<Mutex<Vec<String>>>,
    /// The scope that the upstream asks of every token.
    pub(crate) lacks: Arc<Mutex<Option<&'static str>>>,
    /// The subject that the upstream shows nothing to.
    pub(super) shuns: Arc<Mutex<Option<&'static str>>>,
    /// Whether it asks it of the gateway's own too.
    pub(crate) lacks_own: Arc<AtomicBool>,
    folder: TempDir,
}

pub(super) fn client(id: &str) -> Registered {
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
    pub(super) async fn alone(era: Era) -> Self {
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
        let lacks: Arc<Mutex<Option<&'static str>>> = Arc::default();
        let lacks_own: Arc<AtomicBool> = Arc::default();
        let shuns: Arc<Mutex<Option<&'static str>>> = Arc::default();
        let shunned = shuns.clone();
        let (believed, noted, lacking) = (server.clone(), subjects.clone(), lacks.clone());
        let of_own = lacks_own.clone();
        let guard = move |parts: &http::request::Parts| {
            let host = parts
                .headers
                .get("host")
                .and_then(|host| host.to_str().ok());
            let resource = format!("http://{}/mcp", host.unwrap_or_default());
            let token = parts.headers.get("authorization");
            let token = token.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
            let subject = token.and_then(|token| believed.subject_of(token, &resource));
            let good = subject.is_some();
            let subject = subject.unwrap_or_else(|| "nobody".to_owned());
            let is_asked = subject != OWN || of_own.load(Ordering::SeqCst);
            let is_shunned = *shunned.lock().unwrap() == Some(&*subject);
            noted.lock().unwrap().push(subject);
            if is_shunned {
                return Access::Lacks("tickets:more");
            }
            match *lacking.lock().unwrap() {
                Some(scope)
                    if good
                        && is_asked
                        && !token.is_some_and(|token| believed.has_scope(token, scope)) =>
                {
                    Access::Lacks(scope)
                }
                _ => good.into(),
            }
        };
        let upstream = fixture::http::start_guarded(Options::new(era), Arc::new(guard)).await;
        Self {
            issuer,
            server,
            upstream: upstream.unwrap(),
            subjects,
            lacks,
            shuns,
            lacks_own,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("state.db")
    }

    pub(crate) fn yaml(&self, keys: &[&str]) -> String {
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

    pub(crate) async fn session(&self, gateway: &Gateway, subject: &str, version: &str) -> Session {
        let capabilities = json!({ URL_MODE: { "url": {} } });
        let headers = bearer(&self.token(subject));
        Session::open(gateway.client(), version, capabilities, headers)
            .await
            .unwrap()
    }

    /// The browser of somebody who is logged in at both as `subject`.
    pub(crate) fn browser(&self, gateway: &Gateway, subject: &str) -> Browser {
        let browser = Browser::default();
        self.seat(&browser, gateway, subject);
        browser
    }

    pub(super) fn seat(&self, browser: &Browser, gateway: &Gateway, subject: &str) {
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

    pub(crate) fn forget(&self) {
        self.subjects.lock().unwrap().clear();
    }

    /// For whom the upstream was called since it was last asked to forget.
    pub(crate) fn subjects(&self) -> Vec<String> {
        self.subjects.lock().unwrap().clone()
    }

    /// The same, without what the gateway reads on nobody's behalf, which comes when it will.
    pub(super) fn callers(&self) -> Vec<String> {
        let mut subjects = self.subjects();
        subjects.retain(|subject| subject != OWN);
        subjects
    }

    /// Whether anything of a token is in the files of the store.
    pub(super) fn leaks(&self) -> bool {
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

pub(crate) fn params(state: Option<&Value>) -> Value {
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
pub(crate) async fn connect(browser: &Browser, url: &str) -> Page {
    let start = browser.open(url).await.unwrap();
    assert_eq!(title(&start), "Connect your account", "{}", start.text);
    browser.agree(&start).await.unwrap()
}

pub(crate) fn title(page: &Page) -> String {
    let rest = page.text.split_once("<h1>").unwrap_or(("", &page.text)).1;
    rest.split_once("</h1>").unwrap_or((rest, "")).0.to_owned()
}

/// Follows a link until the browser is about to come back for the last time, with an answer.
pub(super) async fn almost(browser: &Browser, url: &str) -> Url {
    let start = browser.open(url).await.unwrap();
    let mut page = browser.send(&start).await.unwrap();
    assert!(renews_browser(&start) && renews_browser(&page));
    let mut answers = Vec::new();
    while let Some(next) = page.leads_to() {
        if next.as_str().starts_with(CALLBACK) {
            answers.push(next.clone());
            if answers.len() == 2 {
                break;
            }
        }
        page = browser.look(next.as_str()).await.unwrap();
        // Each step may take as long as the one before.
        let own = page.url.as_str().starts_with(ORIGIN);
        assert!(!own || renews_browser(&page), "{}", page.text);
    }
    assert_eq!(answers.len(), 2, "{}", page.text);
    answers.pop().unwrap()
}

pub(super) fn with(url: &Url, name: &str, value: Option<&str>) -> String {
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

/// Whether an answer sets the cookie that names the browser, for ten minutes more.
pub(super) fn renews_browser(page: &Page) -> bool {
    let set = page.headers.get_all(header::SET_COOKIE).iter();
    set.filter_map(|value| value.to_str().ok())
        .any(|text| text.starts_with("__Host-mcp-ultra-browser=") && text.contains("Max-Age=600;"))
}

pub(super) async fn stop(mut gateway: Gateway) {
    gateway.signal(Signal::SIGTERM).unwrap();
    gateway.wait(SOON).await.unwrap();
}
