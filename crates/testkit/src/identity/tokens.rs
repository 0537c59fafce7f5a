//! The token endpoint: client credentials (RFC 6749, 4.4) and token exchange (RFC 8693), with the
//! checks of a real one, and ways to misbehave.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::{Shared, document, lock};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// How the token endpoint answers.
#[derive(Debug, Clone, PartialEq)]
pub enum TokenMood {
    /// As it should.
    Fine,
    /// 503 to everything.
    Down,
    /// As it should, after this time.
    Slow(Duration),
    /// With this status and text, whatever is asked.
    Says(u16, String),
    /// With this member of a good answer instead of its own; null removes it.
    Member(&'static str, Value),
    /// With a redirect to itself.
    Redirect,
}

/// A token that was issued.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The client that it was issued to.
    pub client: String,
    /// Whom it speaks for: the `sub` of the token that it was exchanged for; `None` for the client.
    pub subject: Option<String>,
    /// What it is good for.
    pub resource: Option<String>,
    /// For whom it is good.
    pub audience: Option<String>,
    /// Its scopes.
    pub scope: Option<String>,
    ends: Instant,
}

/// What the endpoint knows and was asked.
pub(super) struct Tokens {
    mood: Mutex<TokenMood>,
    clients: Mutex<HashMap<String, String>>,
    lifetime: Mutex<Duration>,
    issued: Mutex<HashMap<String, Issued>>,
    forms: Mutex<Vec<BTreeMap<String, String>>>,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            mood: Mutex::new(TokenMood::Fine),
            clients: Mutex::default(),
            lifetime: Mutex::new(Duration::from_mins(5)),
            issued: Mutex::default(),
            forms: Mutex::default(),
        }
    }
}

impl super::IdentityProvider {
    /// Where it issues tokens.
    pub fn token_endpoint(&self) -> String {
        format!("http://{}/token", self.address)
    }

    /// Knows this client from now on, by this secret alone.
    pub fn register(&self, client: &str, secret: &str) {
        lock(&self.shared.tokens.clients).insert(client.to_owned(), secret.to_owned());
    }

    /// Issues tokens like this from now on.
    pub fn issue(&self, mood: TokenMood) {
        *lock(&self.shared.tokens.mood) = mood;
    }

    /// Issues tokens that are good for this long from now on.
    pub fn issue_for(&self, lifetime: Duration) {
        *lock(&self.shared.tokens.lifetime) = lifetime;
    }

    /// What a token that has not ended says.
    pub fn issued(&self, token: &str) -> Option<Issued> {
        let issued = lock(&self.shared.tokens.issued).get(token).cloned()?;
        (Instant::now() < issued.ends).then_some(issued)
    }

    /// All tokens that were ever issued.
    pub fn issued_tokens(&self) -> Vec<String> {
        lock(&self.shared.tokens.issued).keys().cloned().collect()
    }

    /// Ends all tokens.
    pub fn revoke(&self) {
        for issued in lock(&self.shared.tokens.issued).values_mut() {
            issued.ends = Instant::now();
        }
    }

    /// The requests for tokens so far, with what the client has authenticated with as
    /// `client_id`, `client_secret` and `auth` (`basic` or `post`).
    pub fn token_requests(&self) -> Vec<BTreeMap<String, String>> {
        lock(&self.shared.tokens.forms).clone()
    }
}

pub(super) async fn token(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let form = form(&headers, &body);
    lock(&shared.tokens.forms).push(form.clone());
    let mood = lock(&shared.tokens.mood).clone();
    match &mood {
        TokenMood::Down => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        TokenMood::Slow(time) => tokio::time::sleep(*time).await,
        TokenMood::Says(status, text) => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::OK);
            let kind = [(header::CONTENT_TYPE, "application/json")];
            return (status, kind, text.clone()).into_response();
        }
        TokenMood::Redirect => {
            let target = [(header::LOCATION, "/token".to_owned())];
            return (StatusCode::TEMPORARY_REDIRECT, target).into_response();
        }
        TokenMood::Fine | TokenMood::Member(..) => {}
    }
    match answer(&shared, &headers, &form) {
        Ok(mut good) => {
            if let TokenMood::Member(name, value) = mood {
                good[name] = value;
                if let Some(members) = good.as_object_mut() {
                    members.retain(|_, value| !value.is_null());
                }
            }
            document(&good)
        }
        Err((status, error)) => {
            let kind = [(header::CONTENT_TYPE, "application/json")];
            let text = json!({ "error": error, "error_description": "as the test expects" });
            (status, kind, text.to_string()).into_response()
        }
    }
}

type Refusal = (StatusCode, &'static str);

fn answer(
    shared: &Shared,
    headers: &HeaderMap,
    form: &BTreeMap<String, String>,
) -> Result<Value, Refusal> {
    let of = |name: &str| form.get(name).cloned();
    let bad = |error| (StatusCode::BAD_REQUEST, error);
    let kind = headers.get(header::CONTENT_TYPE);
    if kind.is_none_or(|kind| kind != "application/x-www-form-urlencoded") {
        return Err(bad("invalid_request"));
    }
    let client = of("client_id").unwrap_or_default();
    let secret = lock(&shared.tokens.clients).get(&client).cloned();
    if secret.is_none() || secret != of("client_secret") {
        return Err((StatusCode::UNAUTHORIZED, "invalid_client"));
    }
    let subject = match of("grant_type").as_deref() {
        Some("client_credentials") => None,
        Some(EXCHANGE) => {
            if of("subject_token_type").as_deref() != Some(ACCESS_TOKEN) {
                return Err(bad("invalid_request"));
            }
            let token = of("subject_token").unwrap_or_default();
            let subject = subject(shared, &token).ok_or_else(|| bad("invalid_request"))?;
            Some(subject)
        }
        _ => return Err(bad("unsupported_grant_type")),
    };
    let resource = of("resource");
    if resource.as_deref() == Some("urn:unknown") || of("audience").as_deref() == Some("unknown") {
        return Err(bad("invalid_target"));
    }
    let lifetime = *lock(&shared.tokens.lifetime);
    let token = fresh(subject.as_deref()).map_err(|_| bad("server_error"))?;
    let exchanged = subject.is_some();
    let issued = Issued {
        client,
        subject,
        resource,
        audience: of("audience"),
        scope: of("scope"),
        ends: Instant::now() + lifetime,
    };
    lock(&shared.tokens.issued).insert(token.clone(), issued);
    let mut good = json!({
        "access_token": token, "token_type": "Bearer", "expires_in": lifetime.as_secs(),
    });
    if exchanged {
        good["issued_token_type"] = json!(ACCESS_TOKEN);
    }
    Ok(good)
}

/// A token that nobody guesses and that is found again in whatever a program writes.
fn fresh(subject: Option<&str>) -> io::Result<String> {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(io::Error::other)?;
    let subject = subject.unwrap_or("client");
    Ok(format!(
        "issued-for-{subject}.{}",
        URL_SAFE_NO_PAD.encode(random)
    ))
}

/// The `sub` of a token that this provider has signed (ES256).
fn subject(shared: &Shared, token: &str) -> Option<String> {
    let (message, signature) = token.rsplit_once('.')?;
    let (_, claims) = message.split_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    let keys = lock(&shared.keys).clone();
    let signed = keys.iter().any(|key| {
        let part = |name: &str| URL_SAFE_NO_PAD.decode(key.get(name)?.as_str()?).ok();
        let (Some(x), Some(y)) = (part("x"), part("y")) else {
            return false;
        };
        let point = [&[4], &x[..], &y[..]].concat();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(message.as_bytes(), &signature)
            .is_ok()
    });
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    let ours = claims.get("iss")?.as_str()? == shared.issuer;
    (signed && ours).then(|| claims["sub"].as_str().map(str::to_owned))?
}

/// The parameters of a request, with those of the client wherever they are.
fn form(headers: &HeaderMap, body: &[u8]) -> BTreeMap<String, String> {
    let mut form: BTreeMap<String, String> = String::from_utf8_lossy(body)
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect();
    let basic = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Basic "))
        .and_then(|text| String::from_utf8(STANDARD.decode(text).ok()?).ok());
    let auth = if basic.is_some() { "basic" } else { "post" };
    form.insert("auth".to_owned(), auth.to_owned());
    if let Some((id, secret)) = basic.as_deref().and_then(|both| both.split_once(':')) {
        form.insert("client_id".to_owned(), decoded(id));
        form.insert("client_secret".to_owned(), decoded(secret));
    }
    form
}

/// `application/x-www-form-urlencoded`, decoded.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
                let digits = String::from_utf8_lossy(&digits).into_owned();
                bytes.push(u8::from_str_radix(&digits, 16).unwrap_or(b'?'));
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
