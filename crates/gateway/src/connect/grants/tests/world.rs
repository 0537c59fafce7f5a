//! An authorization server, a store that fails, and processes that share both.

use std::sync::atomic::{AtomicBool, Ordering};

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
use serde_json::{Value, json};

use super::*;
use crate::connect::vault::Vault;

pub(super) const START: Duration = Duration::from_hours(500_000);
pub(super) const ELSEWHERE: &str = "https://elsewhere.example.com/mcp";
pub(super) const URL: &str = "https://tickets.example.com/mcp";

/// How the authorization server answers a refresh.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Mood {
    Fine,
    Slow,
    Down,
    Says(&'static str),
}

/// An authorization server that gives `access-2` and `refresh-2` for anything, and so on.
pub(super) struct Server {
    pub(super) issuer: String,
    pub(super) mood: Mutex<Mood>,
    pub(super) refreshed: Mutex<Vec<String>>,
    pub(super) revoked: Mutex<Vec<String>>,
}

impl Server {
    pub(super) async fn start() -> Arc<Self> {
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

    pub(super) fn is(&self, mood: Mood) {
        *self.mood.lock() = mood;
    }

    /// The refresh tokens that it was shown.
    pub(super) fn refreshed(&self) -> Vec<String> {
        self.refreshed.lock().clone()
    }
}

pub(super) async fn metadata(State(server): State<Arc<Server>>) -> Json<Value> {
    let issuer = &server.issuer;
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "revocation_endpoint": format!("{issuer}/revoke"),
    }))
}

pub(super) fn parameter(body: &str, name: &str) -> String {
    let mut pairs = url::form_urlencoded::parse(body.as_bytes());
    let found = pairs.find(|(key, _)| key == name);
    found
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

pub(super) async fn token(State(server): State<Arc<Server>>, body: String) -> Response {
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

pub(super) async fn revoke(State(server): State<Arc<Server>>, body: String) -> StatusCode {
    server.revoked.lock().push(parameter(&body, "token"));
    StatusCode::OK
}

/// A store that fails when it is told to.
#[derive(Default)]
pub(super) struct Store {
    pub(super) inner: MemoryGrantStore,
    pub(super) unreadable: AtomicBool,
    pub(super) read_only: AtomicBool,
    pub(super) unclaimable: AtomicBool,
}

pub(super) fn check(fails: &AtomicBool) -> Result<(), GrantStoreError> {
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

    async fn claim_refresh(
        &self,
        grant: &Grant,
        by: &str,
        now: Duration,
        until: Duration,
    ) -> Result<bool, GrantStoreError> {
        check(&self.unclaimable)?;
        self.inner.claim_refresh(grant, by, now, until).await
    }

    async fn unclaim_refresh(&self, grant: &Grant, by: &str) -> Result<(), GrantStoreError> {
        self.inner.unclaim_refresh(grant, by).await
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

    async fn oldest(
        &self,
        server: &str,
        after: Option<(Duration, &str)>,
        limit: u32,
    ) -> Result<Vec<Grant>, GrantStoreError> {
        check(&self.unreadable)?;
        self.inner.oldest(server, after, limit).await
    }

    async fn remove(&self, tenant: &str, id: &str, revision: u64) -> Result<(), GrantStoreError> {
        check(&self.read_only)?;
        self.inner.remove(tenant, id, revision).await
    }
}

pub(super) struct Rig {
    pub(super) server: Arc<Server>,
    pub(super) store: Arc<Store>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) shared: Arc<Shared>,
}

pub(super) fn person(name: &str) -> Principal {
    Attributes::new(PrincipalKind::User, "acme", "https://idp.example.com", name).into()
}

/// What was granted: for how long, and whether with a refresh token.
pub(super) fn granted(expires_in: Option<u64>, refresh: bool) -> TokenAnswer {
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
    pub(super) async fn start() -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let store = Arc::<Store>::default();
        Self {
            server: Server::start().await,
            shared: shared(&store, &clock),
            store,
            clock,
        }
    }

    pub(super) fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// The tokens of a process that begins now.
    pub(super) fn credentials(
        &self,
        change: impl FnOnce(&mut CredentialSettings),
    ) -> Arc<Credentials> {
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
                step_up: Vec::new(),
                own: false,
                lenders: None,
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

    pub(super) fn process(&self) -> Arc<Credentials> {
        self.credentials(|_| {})
    }

    pub(super) fn grants(&self) -> Grants {
        Grants::new("tickets".into(), self.shared.clone())
    }

    pub(super) async fn connect(&self, name: &str, credentials: &Credentials, answer: TokenAnswer) {
        let (grants, person) = (self.grants(), person(name));
        let (wanted, now) = (credentials.scopes(), self.clock.now());
        let keeping = grants.keep(&person, credentials, wanted, answer, now);
        keeping.await.unwrap();
    }

    pub(super) async fn kept(&self, name: &str) -> Option<Grant> {
        let kept = self.store.inner.find(person(name).id(), "tickets").await;
        kept.unwrap()
    }

    pub(super) fn opened(&self, grant: &Grant) -> Tokens {
        let tokens = self.shared.vault.open(Of::grant(grant), &grant.tokens);
        tokens.unwrap()
    }
}

pub(super) fn shared(store: &Arc<Store>, clock: &Arc<ManualClock>) -> Arc<Shared> {
    let vault = Vault::new([(1, &[7; 32][..])]).unwrap();
    Arc::new(Shared::new(store.clone(), vault, clock.clone()))
}

pub(super) fn caller(name: &str) -> Subject {
    Subject::Caller {
        principal: person(name),
        token: None,
    }
}

pub(super) async fn token_of(
    name: &str,
    credentials: &Credentials,
) -> Result<String, CredentialError> {
    let token = credentials.token(&caller(name)).await?.unwrap();
    let text = token.header().to_str().unwrap();
    Ok(text.strip_prefix("Bearer ").unwrap().to_owned())
}

/// What goes on in the background has its time.
pub(super) async fn settle() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}
