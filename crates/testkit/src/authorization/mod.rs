//! An authorization server of a test's own, on a free port of loopback: OAuth 2.1 with `OpenID`
//! Connect, as far as the authorization code flow needs it. It approves what it is asked at once,
//! for the person whose cookie the browser shows, and misbehaves where a test wants it to.
//!
//! - `authorize`: the authorization endpoint
//! - `token`: the token and the revocation endpoint
//!
//! Every token that it issues begins with [`CANARY`], so that a test can look where none may be.

mod authorize;
mod token;

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::identity::SigningKey;

/// What every token and code begins with.
pub const CANARY: &str = "canary-tok-";
/// The subject of the tokens that clients have of their own.
pub const OWN: &str = "client";
/// The cookie that says who is logged in.
pub const LOGIN: &str = "login";

/// A client of the server.
#[derive(Debug, Clone)]
pub struct Registered {
    /// `client_id`
    pub id: String,
    /// `client_secret`
    pub secret: String,
    /// The only place where codes are sent to.
    pub redirect_uri: String,
}

/// How the server behaves.
#[derive(Debug, Clone)]
pub struct Conduct {
    /// Answers the browser with this `error`.
    pub denies: Option<&'static str>,
    /// What it says in `iss`; nothing where it is empty.
    pub says_issuer: Option<String>,
    /// How long an access token is good.
    pub lifetime: Duration,
    /// How long the token endpoint takes.
    pub takes: Duration,
    /// Whether the token endpoint answers 503.
    pub is_down: bool,
    /// Whether grants come with refresh tokens.
    pub refreshes: bool,
    /// The scopes that a person grants, instead of those that are asked for.
    pub grants: Option<&'static str>,
    /// What it says of the methods of PKCE that it knows.
    pub pkce: Option<&'static str>,
    /// The nonce in identity tokens, instead of the one that was asked.
    pub nonce: Option<&'static str>,
    /// The audience of identity tokens, instead of the client.
    pub audience: Option<&'static str>,
}

impl Default for Conduct {
    fn default() -> Self {
        Self {
            denies: None,
            says_issuer: None,
            lifetime: Duration::from_hours(1),
            takes: Duration::ZERO,
            is_down: false,
            refreshes: true,
            grants: None,
            pkce: Some("S256"),
            nonce: None,
            audience: None,
        }
    }
}

/// What has been asked of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// Authorization requests that were approved.
    pub approved: usize,
    /// Codes that were redeemed.
    pub redeemed: usize,
    /// Refreshes that were answered with tokens.
    pub refreshed: usize,
    /// Refreshes that were refused.
    pub refused: usize,
    /// Tokens that were revoked.
    pub revoked: usize,
}

struct Shared {
    issuer: String,
    key: SigningKey,
    now: fn() -> u64,
    clients: Mutex<Vec<Registered>>,
    conduct: Mutex<Conduct>,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    number: u64,
    codes: HashMap<String, Code>,
    access: HashMap<String, Issued>,
    refresh: HashMap<String, Issued>,
    /// Refresh tokens that were used; whoever shows one again ends the whole grant.
    used: HashMap<String, u64>,
    ended: HashSet<u64>,
    asked: Asked,
    last_request: HashMap<String, String>,
}

#[derive(Clone)]
struct Code {
    client: String,
    redirect_uri: String,
    challenge: String,
    subject: String,
    scope: String,
    resource: Option<String>,
    nonce: Option<String>,
}

#[derive(Clone)]
struct Issued {
    grant: u64,
    client: String,
    subject: String,
    scope: String,
    resource: Option<String>,
}

impl Books {
    fn fresh(&mut self, kind: &str) -> String {
        self.number += 1;
        format!("{CANARY}{kind}-{:08}-{}", self.number, random())
    }
}

fn random() -> String {
    let mut bytes = [0; 8];
    // Without randomness the number alone tells tokens apart.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    format!("{:016x}", u64::from_le_bytes(bytes))
}

/// A running server; it ends when dropped.
pub struct AuthorizationServer {
    shared: Arc<Shared>,
    stop: CancellationToken,
}

impl AuthorizationServer {
    /// Starts one without clients; `now` is the time in seconds since the Unix epoch.
    pub async fn start(now: fn() -> u64) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            issuer: format!("http://{address}"),
            key: SigningKey::es256("as")?,
            now,
            clients: Mutex::default(),
            conduct: Mutex::default(),
            books: Mutex::default(),
        });
        let router = Router::new()
            .route("/.well-known/oauth-authorization-server", get(metadata))
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/keys", get(keys))
            .route("/authorize", get(authorize::authorize))
            .route("/token", post(token::token))
            .route("/revoke", post(token::revoke))
            .with_state(shared.clone());
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            axum::serve(listener, router)
                .with_graceful_shutdown(stopped)
                .await
        });
        Ok(Self { shared, stop })
    }

    /// Its identifier.
    pub fn issuer(&self) -> &str {
        &self.shared.issuer
    }

    /// Has this client, instead of one with the same id.
    pub fn register(&self, client: Registered) {
        let mut clients = lock(&self.shared.clients);
        clients.retain(|known| known.id != client.id);
        clients.push(client);
    }

    /// Behaves like this from now on.
    pub fn behave(&self, change: impl FnOnce(&mut Conduct)) {
        change(&mut lock(&self.shared.conduct));
    }

    /// What has been asked of it so far.
    pub fn asked(&self) -> Asked {
        lock(&self.shared.books).asked
    }

    /// The parameters of the last authorization request.
    pub fn last_request(&self) -> HashMap<String, String> {
        lock(&self.shared.books).last_request.clone()
    }

    /// Who a bearer token speaks for, if it is good for `resource`.
    pub fn subject_of(&self, token: &str, resource: &str) -> Option<String> {
        let books = lock(&self.shared.books);
        let issued = books.access.get(token)?;
        let good = !books.ended.contains(&issued.grant)
            && issued.resource.as_deref().is_none_or(|own| own == resource);
        good.then(|| issued.subject.clone())
    }

    /// Whether a token has this scope.
    pub fn has_scope(&self, token: &str, scope: &str) -> bool {
        let books = lock(&self.shared.books);
        let issued = books.access.get(token);
        issued.is_some_and(|issued| issued.scope.split(' ').any(|own| own == scope))
    }

    /// Ends all grants, as a person can there. Access tokens end with them.
    pub fn end_all(&self) {
        let mut books = lock(&self.shared.books);
        let grants: Vec<u64> = books.refresh.values().map(|one| one.grant).collect();
        books.ended.extend(grants);
        let grants: Vec<u64> = books.access.values().map(|one| one.grant).collect();
        books.ended.extend(grants);
    }

    /// Ends all access tokens; the grants go on.
    pub fn end_access(&self) {
        lock(&self.shared.books).access.clear();
    }

    /// A code that `subject` has got for this client in a browser of their own, as one who injects
    /// codes would have it.
    pub fn code_of(&self, client: &str, redirect_uri: &str, subject: &str) -> String {
        let mut books = lock(&self.shared.books);
        let code = books.fresh("code");
        let own = Code {
            client: client.to_owned(),
            redirect_uri: redirect_uri.to_owned(),
            challenge: "of-another-verifier".to_owned(),
            subject: subject.to_owned(),
            scope: "openid".to_owned(),
            resource: None,
            nonce: None,
        };
        books.codes.insert(code.clone(), own);
        code
    }

    /// An access token for `audience`, as a client of the gateway has it, good for five minutes.
    pub fn access_token(&self, audience: &str, subject: &str) -> io::Result<String> {
        let now = (self.shared.now)();
        let claims = json!({
            "iss": self.issuer(), "aud": audience, "sub": subject,
            "iat": now, "exp": now + 300,
        });
        self.shared.key.token(&claims)
    }
}

impl Drop for AuthorizationServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn metadata(State(shared): State<Arc<Shared>>) -> Response {
    let base = &shared.issuer;
    let conduct = lock(&shared.conduct).clone();
    let mut document = json!({
        "issuer": base,
        "authorization_endpoint": format!("{base}/authorize"),
        "token_endpoint": format!("{base}/token"),
        "revocation_endpoint": format!("{base}/revoke"),
        "jwks_uri": format!("{base}/keys"),
        "response_types_supported": ["code"],
        "authorization_response_iss_parameter_supported": true,
    });
    if let Some(method) = conduct.pkce {
        document["code_challenge_methods_supported"] = json!([method]);
    }
    answer(StatusCode::OK, &document)
}

async fn keys(State(shared): State<Arc<Shared>>) -> Response {
    answer(StatusCode::OK, &json!({ "keys": [shared.key.jwk()] }))
}

fn answer(status: StatusCode, value: &Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (status, kind, value.to_string()).into_response()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
