//! An identity provider of a test's own: its metadata, keys and token endpoint over HTTP on a free
//! port of loopback, the tokens that it issues, and ways to misbehave.
//!
//! Keys are made when a test runs; none is in the repository.

mod keys;
mod tokens;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{StatusCode, Uri, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use keys::{SigningKey, hs256, proof_claims, unsigned};
pub use tokens::{Issued, TokenMood};

/// How the provider answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Fine,
    /// 503 to everything.
    Down,
    /// After this time.
    Slow(Duration),
    /// With the metadata of another issuer.
    OtherIssuer,
    /// With metadata whose keys and token endpoint are at another host, `localhost`, which is this
    /// machine too.
    OtherHost,
    /// With a key set of 2 MiB.
    Huge,
    /// With a page for people.
    Garbage,
    /// With a redirect to itself.
    Redirect,
}

/// Which of the forms of discovery it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discovery {
    /// RFC 8414.
    OAuth,
    /// `OpenID` Connect.
    OpenId,
}

struct Shared {
    issuer: String,
    discovery: Discovery,
    mood: Mutex<Mood>,
    keys: Mutex<Vec<Value>>,
    metadata_requests: AtomicUsize,
    jwks_requests: AtomicUsize,
    tokens: tokens::Tokens,
}

/// A running identity provider; it ends when dropped.
pub struct IdentityProvider {
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: CancellationToken,
}

impl IdentityProvider {
    /// Starts one whose issuer has a path, with these keys.
    pub async fn start(discovery: Discovery, keys: &[&SigningKey]) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            issuer: format!("http://{address}/tenant"),
            discovery,
            mood: Mutex::new(Mood::Fine),
            keys: Mutex::default(),
            metadata_requests: AtomicUsize::new(0),
            jwks_requests: AtomicUsize::new(0),
            tokens: tokens::Tokens::default(),
        });
        let router = Router::new()
            .route("/keys", get(jwks))
            .route("/token", post(tokens::token))
            .fallback(metadata)
            .with_state(shared.clone());
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            axum::serve(listener, router)
                .with_graceful_shutdown(stopped)
                .await
        });
        let provider = Self {
            shared,
            address,
            stop,
        };
        provider.publish(keys);
        Ok(provider)
    }

    /// Its identifier.
    pub fn issuer(&self) -> &str {
        &self.shared.issuer
    }

    /// Where its keys are.
    pub fn jwks_uri(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    /// Has these keys from now on, and no others.
    pub fn publish(&self, keys: &[&SigningKey]) {
        *lock(&self.shared.keys) = keys.iter().map(|key| key.jwk()).collect();
    }

    /// Answers like this from now on.
    pub fn behave(&self, mood: Mood) {
        *lock(&self.shared.mood) = mood;
    }

    /// How often its keys were asked for.
    pub fn jwks_requests(&self) -> usize {
        self.shared.jwks_requests.load(Ordering::SeqCst)
    }

    /// How often its metadata was asked for, in any of the places where it might be.
    pub fn metadata_requests(&self) -> usize {
        self.shared.metadata_requests.load(Ordering::SeqCst)
    }

    /// The claims of a token for `audience`, which is good for five minutes at `now` (seconds since
    /// the Unix epoch).
    pub fn claims(&self, audience: &str, subject: &str, now: u64) -> Value {
        json!({
            "iss": self.issuer(), "aud": audience, "sub": subject,
            "iat": now, "nbf": now, "exp": now + 300,
        })
    }
}

impl Drop for IdentityProvider {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn jwks(State(shared): State<Arc<Shared>>) -> Response {
    shared.jwks_requests.fetch_add(1, Ordering::SeqCst);
    let mood = *lock(&shared.mood);
    if let Some(answer) = misbehave(mood, "/keys").await {
        return answer;
    }
    if mood == Mood::Huge {
        return format!("{{\"padding\":\"{}\"}}", "x".repeat(2 * 1024 * 1024)).into_response();
    }
    let keys = lock(&shared.keys).clone();
    document(&json!({ "keys": keys }))
}

async fn metadata(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    shared.metadata_requests.fetch_add(1, Ordering::SeqCst);
    let place = match shared.discovery {
        Discovery::OAuth => "/.well-known/oauth-authorization-server/tenant",
        Discovery::OpenId => "/tenant/.well-known/openid-configuration",
    };
    let mood = *lock(&shared.mood);
    if let Some(answer) = misbehave(mood, uri.path()).await {
        return answer;
    }
    if uri.path() != place {
        return StatusCode::NOT_FOUND.into_response();
    }
    let base = shared.issuer.trim_end_matches("/tenant");
    let issuer = match mood {
        Mood::OtherIssuer => "https://attacker.example",
        _ => &shared.issuer,
    };
    let keys = match mood {
        Mood::OtherHost => base.replace("127.0.0.1", "localhost"),
        _ => base.to_owned(),
    };
    document(&json!({
        "issuer": issuer,
        "jwks_uri": format!("{keys}/keys"),
        "authorization_endpoint": format!("{base}/authorize"),
        "token_endpoint": format!("{keys}/token"),
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
    }))
}

async fn misbehave(mood: Mood, path: &str) -> Option<Response> {
    match mood {
        Mood::Down => Some(StatusCode::SERVICE_UNAVAILABLE.into_response()),
        Mood::Slow(time) => {
            tokio::time::sleep(time).await;
            None
        }
        Mood::Garbage => Some("<html>Welcome</html>".into_response()),
        Mood::Redirect => {
            let target = [(header::LOCATION, path.to_owned())];
            Some((StatusCode::FOUND, target).into_response())
        }
        Mood::Fine | Mood::OtherIssuer | Mood::OtherHost | Mood::Huge => None,
    }
}

fn document(value: &Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, value.to_string()).into_response()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
