use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
};

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::StatusCode;
use mcp_ultra_domain::{
    Attributes, Clock, ManualClock, PrincipalKind,
    ports::{GrantStore, MemoryGrantStore},
};
use mcp_ultra_edge::{
    credentials::{
        ClientAuth, ClientSettings, CredentialSettings, EndpointPlace, Grant as Kind, Subject,
    },
    outbound::{Outbound, OutboundConfig},
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::*;
use crate::connect::vault::Vault;

const START: Duration = Duration::from_hours(500_000);
const ELSEWHERE: &str = "https://elsewhere.example.com/mcp";
const URL: &str = "https://tickets.example.com/mcp";

/// How the authorization server answers a refresh.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Fine,
    Slow,
    Down,
    Says(&'static str),
}

/// An authorization server that gives `access-2` and `refresh-2` for anything, and so on.
struct Server {
    issuer: String,
    mood: Mutex<Mood>,
    refreshed: Mutex<Vec<String>>,
    revoked: Mutex<Vec<String>>,
}

impl Server {
    async fn start() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.unwrap();
        let server = Arc::new(Self {
            issuer: format!("http://{}", listener.local_addr().unwrap()),
            mood: Mutex::new(Mood::Fine),
            refreshed: Mutex::default(),
            revoked: Mutex::default(),
        });
        let router = Router::new()
            .route("/.well-known/oauth-authorization-server", get(metadata))
            .route("/token", post(token))
            .route("/revoke", post(revoke))
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    fn is(&self, mood: Mood) {
        *self.mood.lock() = mood;
    }

    /// The refresh tokens that it was shown.
    fn refreshed(&self) -> Vec<String> {
        self.refreshed.lock().clone()
    }
}

async fn metadata(State(server): State<Arc<Server>>) -> Json<Value> {
    let issuer = &server.issuer;
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "revocation_endpoint": format!("{issuer}/revoke"),
    }))
}

fn parameter(body: &str, name: &str) -> String {
    let mut pairs = url::form_urlencoded::parse(body.as_bytes());
    let found = pairs.find(|(key, _)| key == name);
    found
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

async fn token(State(server): State<Arc<Server>>, body: String) -> Response {
    let number = {
        let mut refreshed = server.refreshed.lock();
        refreshed.push(parameter(&body, "refresh_token"));
        refreshed.len() + 1
    };
    let mood = *server.mood.lock();
    match mood {
        Mood::Down => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Mood::Says(error) => {
            return (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response();
        }
        Mood::Slow => tokio::time::sleep(Duration::from_millis(300)).await,
        Mood::Fine => {}
    }
    Json(json!({
        "access_token": format!("access-{number}"),
        "refresh_token": format!("refresh-{number}"),
        "token_type": "Bearer",
        "expires_in": 100,
    }))
    .into_response()
}

async fn revoke(State(server): State<Arc<Server>>, body: String) -> StatusCode {
    server.revoked.lock().push(parameter(&body, "token"));
    StatusCode::OK
}

/// A store that fails when it is told to.
#[derive(Default)]
struct Store {
    inner: MemoryGrantStore,
    unreadable: AtomicBool,
    read_only: AtomicBool,
}

fn check(fails: &AtomicBool) -> Result<(), GrantStoreError> {
    let failed = || GrantStoreError::Failed("as the test wants it".into());
    let works = !fails.load(Ordering::SeqCst);
    works.then_some(()).ok_or_else(failed)
}

#[async_trait]
impl GrantStore for Store {
    async fn find(&self, principal: &str, server: &str) -> Result<Option<Grant>, GrantStoreError> {
        check(&self.unreadable)?;
        self.inner.find(principal, server).await
    }

    async fn put(&self, grant: &Grant) -> Result<(), GrantStoreError> {
        check(&self.read_only)?;
        self.inner.put(grant).await
    }

    async fn replace(&self, grant: &Grant, revision: u64) -> Result<(), GrantStoreError> {
        check(&self.read_only)?;
        self.inner.replace(grant, revision).await
    }

    async fn get(&self, tenant: &str, id: &str) -> Result<Option<Grant>, GrantStoreError> {
        self.inner.get(tenant, id).await
    }

    async fn list(
        &self,
        tenant: &str,
        subject: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Grant>, GrantStoreError> {
        self.inner.list(tenant, subject, after, limit).await
    }

    async fn remove(&self, tenant: &str, id: &str, revision: u64) -> Result<(), GrantStoreError> {
        check(&self.read_only)?;
        self.inner.remove(tenant, id, revision).await
    }
}

struct Rig {
    server: Arc<Server>,
    store: Arc<Store>,
    clock: Arc<ManualClock>,
    shared: Arc<Shared>,
}

fn person(name: &str) -> Principal {
    Attributes::new(PrincipalKind::User, "acme", "https://idp.example.com", name).into()
}

/// What was granted: for how long, and whether with a refresh token.
fn granted(expires_in: Option<u64>, refresh: bool) -> TokenAnswer {
    TokenAnswer {
        access_token: "access-1".into(),
        expires_in: expires_in.map(Duration::from_secs),
        refresh_token: refresh.then(|| "refresh-1".into()),
        issued_token_type: None,
        scope: None,
        id_token: None,
    }
}

impl Rig {
    async fn start() -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let store = Arc::<Store>::default();
        Self {
            server: Server::start().await,
            shared: shared(&store, &clock),
            store,
            clock,
        }
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// The tokens of a process that begins now.
    fn credentials(&self, change: impl FnOnce(&mut CredentialSettings)) -> Arc<Credentials> {
        let mut settings = CredentialSettings {
            client: ClientSettings {
                place: EndpointPlace::Issuer(self.server.issuer.clone()),
                id: "gateway".into(),
                secret: Some("a client's secret".into()),
                auth: ClientAuth::Basic,
                timeout: Duration::from_secs(5),
            },
            grant: Kind::AuthorizationCode {
                granted: Arc::new(self.grants()),
                own: false,
            },
            scopes: vec!["read".into(), "write".into()],
            resource: Some(URL.into()),
            url: URL.into(),
        };
        change(&mut settings);
        Arc::new(Credentials::new(
            "tickets".into(),
            settings,
            Outbound::new(&OutboundConfig::default()).unwrap(),
            self.clock.clone(),
            |_| {},
        ))
    }

    fn process(&self) -> Arc<Credentials> {
        self.credentials(|_| {})
    }

    fn grants(&self) -> Grants {
        Grants::new("tickets".into(), self.shared.clone())
    }

    async fn connect(&self, name: &str, credentials: &Credentials, answer: TokenAnswer) {
        let (grants, person) = (self.grants(), person(name));
        let keeping = grants.keep(&person, credentials, answer, self.clock.now());
        keeping.await.unwrap();
    }

    async fn kept(&self, name: &str) -> Option<Grant> {
        let kept = self.store.inner.find(person(name).id(), "tickets").await;
        kept.unwrap()
    }

    fn opened(&self, grant: &Grant) -> Tokens {
        let tokens = self.shared.vault.open(Of::grant(grant), &grant.tokens);
        tokens.unwrap()
    }
}

fn shared(store: &Arc<Store>, clock: &Arc<ManualClock>) -> Arc<Shared> {
    let vault = Vault::new([(1, &[7; 32][..])]).unwrap();
    Arc::new(Shared::new(store.clone(), vault, clock.clone()))
}

fn caller(name: &str) -> Subject {
    Subject::Caller {
        principal: person(name),
        token: None,
    }
}

async fn token_of(name: &str, credentials: &Credentials) -> Result<String, CredentialError> {
    let token = credentials.token(&caller(name)).await?.unwrap();
    let text = token.header().to_str().unwrap();
    Ok(text.strip_prefix("Bearer ").unwrap().to_owned())
}

/// What goes on in the background has its time.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

#[tokio::test]
async fn a_refresh_that_fails_is_not_tried_with_every_call() {
    let rig = Rig::start().await;
    let first = rig.process();
    rig.connect("ana", &first, granted(Some(100), true)).await;
    rig.server.is(Mood::Down);
    rig.pass(75);
    for _ in 0..30 {
        assert_eq!(token_of("ana", &first).await.unwrap(), "access-1");
        settle().await;
    }
    assert_eq!(rig.server.refreshed().len(), 1);
    // Also after a restart nobody waits for it.
    rig.server.is(Mood::Slow);
    let second = rig.process();
    assert_eq!(token_of("ana", &second).await.unwrap(), "access-1");
    assert_eq!(rig.server.refreshed().len(), 1);
    assert_eq!(token_of("ana", &second).await.unwrap(), "access-1");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(token_of("ana", &second).await.unwrap(), "access-3");
    assert_eq!(rig.server.refreshed(), ["refresh-1", "refresh-1"]);
}

#[tokio::test]
async fn what_can_not_be_refreshed_serves_until_its_end() {
    let rig = Rig::start().await;
    let credentials = rig.process();
    let month = 30 * 24 * 3600;
    rig.connect("ana", &credentials, granted(None, false)).await;
    let bounded = granted(Some(month), false);
    rig.connect("bea", &credentials, bounded).await;
    for _ in 0..3 {
        rig.pass(month / 3 - 10);
        for name in ["ana", "bea"] {
            assert_eq!(token_of(name, &credentials).await.unwrap(), "access-1");
        }
        settle().await;
    }
    rig.pass(40);
    let ended = token_of("bea", &credentials).await;
    assert_eq!(ended, Err(CredentialError::NotGranted));
    assert_eq!(rig.kept("bea").await, None);
    // Nobody knows when the other one ends, until the server says so.
    let token = credentials.token(&caller("ana")).await.unwrap().unwrap();
    assert!(credentials.rejected(&caller("ana"), &token));
    let ended = token_of("ana", &credentials).await;
    assert_eq!(ended, Err(CredentialError::NotGranted));
    assert_eq!(rig.kept("ana").await, None);
    assert!(rig.server.refreshed().is_empty());
}

#[tokio::test]
async fn what_fails_for_one_is_not_in_the_way_of_another() {
    let rig = Rig::start().await;
    let credentials = rig.process();
    let connect = async |name, lifetime| {
        let answer = granted(Some(lifetime), true);
        rig.connect(name, &credentials, answer).await;
    };
    connect("ana", 10).await;
    connect("bea", 3600).await;
    connect("eva", 10).await;
    rig.pass(60);
    // A store that can't be read says nothing of the authorization server.
    rig.store.unreadable.store(true, Ordering::SeqCst);
    let failed = token_of("ana", &credentials).await;
    assert_eq!(failed, Err(CredentialError::Unavailable));
    rig.store.unreadable.store(false, Ordering::SeqCst);
    assert_eq!(token_of("eva", &credentials).await.unwrap(), "access-2");
    // And who has a good token needs no authorization server.
    rig.server.is(Mood::Down);
    rig.pass(1);
    let failed = token_of("ana", &credentials).await;
    assert_eq!(failed, Err(CredentialError::Unavailable));
    assert_eq!(token_of("bea", &credentials).await.unwrap(), "access-1");
    assert_eq!(rig.server.refreshed().len(), 2);
}

#[tokio::test]
async fn what_was_withdrawn_elsewhere_ends_soon() {
    let rig = Rig::start().await;
    let credentials = rig.process();
    rig.connect("ana", &credentials, granted(None, false)).await;
    assert_eq!(token_of("ana", &credentials).await.unwrap(), "access-1");
    let grant = rig.kept("ana").await.unwrap();
    let store = &rig.store.inner;
    store.remove("acme", &grant.id, 1).await.unwrap();
    rig.pass(60);
    drop(token_of("ana", &credentials).await);
    settle().await;
    let ended = token_of("ana", &credentials).await;
    assert_eq!(ended, Err(CredentialError::NotGranted));
}

#[tokio::test]
async fn a_refreshed_grant_that_can_not_be_written_is_written_later() {
    let rig = Rig::start().await;
    let credentials = rig.process();
    rig.connect("ana", &credentials, granted(Some(10), true))
        .await;
    rig.pass(60);
    rig.store.read_only.store(true, Ordering::SeqCst);
    assert_eq!(token_of("ana", &credentials).await.unwrap(), "access-2");
    assert_eq!(rig.kept("ana").await.unwrap().revision, 1);
    // Without having kept it nobody goes on.
    rig.pass(100);
    let failed = token_of("ana", &credentials).await;
    assert_eq!(failed, Err(CredentialError::Unavailable));
    assert_eq!(rig.server.refreshed(), ["refresh-1"]);
    rig.store.read_only.store(false, Ordering::SeqCst);
    rig.pass(1);
    assert_eq!(token_of("ana", &credentials).await.unwrap(), "access-3");
    assert_eq!(rig.server.refreshed(), ["refresh-1", "refresh-2"]);
    assert_eq!(rig.kept("ana").await.unwrap().revision, 3);
}

#[tokio::test]
async fn the_end_of_the_process_waits_for_what_is_to_be_kept() {
    let rig = Rig::start().await;
    let credentials = rig.process();
    rig.connect("ana", &credentials, granted(Some(10), true))
        .await;
    rig.connect("bea", &credentials, granted(Some(10), true))
        .await;
    rig.pass(60);
    rig.store.read_only.store(true, Ordering::SeqCst);
    token_of("bea", &credentials).await.unwrap();
    rig.store.read_only.store(false, Ordering::SeqCst);
    rig.server.is(Mood::Slow);
    let calling = tokio::time::timeout(Duration::from_millis(50), token_of("ana", &credentials));
    assert!(calling.await.is_err(), "the caller has gone");
    rig.shared.finish().await;
    for (name, refresh) in [("ana", "refresh-3"), ("bea", "refresh-2")] {
        let tokens = rig.opened(&rig.kept(name).await.unwrap());
        assert_eq!(tokens.refresh.unwrap().expose_secret(), refresh);
    }
}

#[tokio::test]
async fn who_is_refused_looks_again_whether_another_process_was_faster() {
    let rig = Rig::start().await;
    let credentials = rig.process();
    rig.connect("ana", &credentials, granted(Some(10), true))
        .await;
    rig.pass(60);
    rig.server.is(Mood::Says("invalid_grant"));
    let grant = rig.kept("ana").await.unwrap();
    let other = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let tokens = Tokens {
            access: "access-of-the-other".into(),
            refresh: Some("refresh-of-the-other".into()),
            asked: rig.clock.now(),
            ..rig.opened(&grant)
        };
        let sealed = rig.shared.vault.seal(Of::grant(&grant), &tokens).unwrap();
        let renewed = grant.renewed(sealed, BTreeSet::new(), rig.clock.now());
        rig.store.replace(&renewed, 1).await.unwrap();
    };
    let (token, ()) = tokio::join!(token_of("ana", &credentials), other);
    assert_eq!(token.unwrap(), "access-of-the-other");
    // And where nobody was, it has ended.
    rig.pass(60);
    let ended = token_of("ana", &credentials).await;
    assert_eq!(ended, Err(CredentialError::NotGranted));
    assert_eq!(rig.kept("ana").await, None);
}

#[tokio::test]
async fn what_is_refreshed_while_it_is_withdrawn_is_revoked() {
    let rig = Rig::start().await;
    let credentials = rig.process();
    rig.connect("ana", &credentials, granted(Some(10), true))
        .await;
    rig.pass(60);
    rig.server.is(Mood::Slow);
    let grant = rig.kept("ana").await.unwrap();
    let withdrawing = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        rig.store.remove("acme", &grant.id, 1).await.unwrap();
    };
    let (token, ()) = tokio::join!(token_of("ana", &credentials), withdrawing);
    assert_eq!(token, Err(CredentialError::NotGranted));
    assert_eq!(*rig.server.revoked.lock(), ["refresh-2"]);
}

#[tokio::test]
async fn a_grant_is_of_use_for_what_it_was_given_for_only() {
    let rig = Rig::start().await;
    let given = rig.credentials(|settings| settings.resource = None);
    rig.connect("ana", &given, granted(Some(3600), true)).await;
    assert!(rig.grants().has(&person("ana"), &given).await);
    assert_eq!(token_of("ana", &given).await.unwrap(), "access-1");
    let changes: [fn(&mut CredentialSettings); 3] = [
        |settings| {
            settings.resource = None;
            ELSEWHERE.clone_into(&mut settings.url);
        },
        |settings| settings.resource = Some(ELSEWHERE.to_owned()),
        |settings| settings.client.id = "another".into(),
    ];
    for change in changes {
        let other = rig.credentials(change);
        assert!(!rig.grants().has(&person("ana"), &other).await);
        let refused = token_of("ana", &other).await;
        assert_eq!(refused, Err(CredentialError::NotGranted));
    }
    assert!(rig.server.refreshed().is_empty());
}

#[tokio::test]
async fn refusals_that_pass_are_told_apart_from_those_that_stay() {
    for (error, expected) in [
        ("temporarily_unavailable", CredentialError::Unavailable),
        ("slow_down", CredentialError::Unavailable),
        ("invalid_client", CredentialError::Refused),
    ] {
        let rig = Rig::start().await;
        let credentials = rig.process();
        rig.connect("ana", &credentials, granted(Some(10), true))
            .await;
        rig.pass(60);
        rig.server.is(Mood::Says(error));
        let failed = token_of("ana", &credentials).await;
        assert_eq!(failed, Err(expected), "{error}");
        assert!(rig.kept("ana").await.is_some());
    }
}

#[tokio::test]
async fn scopes_of_which_nothing_is_said_are_those_that_were_asked_for() {
    let rig = Rig::start().await;
    let credentials = rig.process();
    rig.connect("ana", &credentials, granted(Some(10), true))
        .await;
    let named = TokenAnswer {
        scope: Some("read".into()),
        ..granted(Some(10), true)
    };
    rig.connect("bea", &credentials, named).await;
    for (name, expected) in [("ana", &["read", "write"][..]), ("bea", &["read"])] {
        let scopes = rig.kept(name).await.unwrap().scopes;
        assert!(scopes.iter().eq(expected), "{scopes:?}");
    }
}
