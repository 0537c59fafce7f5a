//! `/token` and `/revoke`.

use std::{collections::HashMap, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::{Books, Conduct, Issued, OWN, Shared, answer, lock};

type Parameters = HashMap<String, String>;

pub(super) async fn token(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let asked = parameters(&body);
    let conduct = lock(&shared.conduct).clone();
    tokio::time::sleep(conduct.takes).await;
    if conduct.is_down {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let Some(client) = client(&shared, &headers, &asked) else {
        return refused(StatusCode::UNAUTHORIZED, "invalid_client");
    };
    let of = |name: &str| asked.get(name).map(String::as_str).unwrap_or_default();
    let result = match of("grant_type") {
        "authorization_code" => redeem(&shared, &conduct, &client, of),
        "refresh_token" => refresh(&shared, &conduct, &client, of),
        "client_credentials" => Some(own(&shared, &conduct, &client, of)),
        _ => None,
    };
    match result {
        Some(tokens) => answer(StatusCode::OK, &tokens),
        None => refused(StatusCode::BAD_REQUEST, "invalid_grant"),
    }
}

/// RFC 7009: what is not known is fine too.
pub(super) async fn revoke(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let asked = parameters(&body);
    if client(&shared, &headers, &asked).is_none() {
        return refused(StatusCode::UNAUTHORIZED, "invalid_client");
    }
    let token = asked.get("token").map(String::as_str).unwrap_or_default();
    let mut books = lock(&shared.books);
    let grant = books.refresh.get(token).or_else(|| books.access.get(token));
    if let Some(grant) = grant.map(|issued| issued.grant) {
        books.ended.insert(grant);
        books.asked.revoked += 1;
    }
    StatusCode::OK.into_response()
}

fn parameters(body: &str) -> Parameters {
    let pairs = url::form_urlencoded::parse(body.as_bytes());
    pairs.into_owned().collect()
}

fn refused(status: StatusCode, error: &str) -> Response {
    answer(status, &json!({ "error": error }))
}

/// The client that has authenticated, by either method of RFC 6749, 2.3.1.
fn client(shared: &Shared, headers: &HeaderMap, asked: &Parameters) -> Option<String> {
    let basic = headers.get(header::AUTHORIZATION).and_then(|value| {
        let encoded = value.to_str().ok()?.strip_prefix("Basic ")?;
        let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
        let (id, secret) = decoded.split_once(':')?;
        Some((unencoded(id)?, unencoded(secret)?))
    });
    let posted = || {
        Some((
            asked.get("client_id")?.clone(),
            asked.get("client_secret")?.clone(),
        ))
    };
    let (id, secret) = basic.or_else(posted)?;
    let clients = lock(&shared.clients);
    let known = clients.iter().find(|known| known.id == id);
    known.filter(|known| known.secret == secret)?;
    Some(id)
}

/// What was encoded as in a form (RFC 6749, appendix B).
fn unencoded(text: &str) -> Option<String> {
    let (text, _) = url::form_urlencoded::parse(text.as_bytes()).next()?;
    Some(text.into_owned())
}

fn redeem<'a>(
    shared: &Shared,
    conduct: &Conduct,
    client: &str,
    of: impl Fn(&str) -> &'a str,
) -> Option<Value> {
    let mut books = lock(&shared.books);
    // Gone with the first try.
    let code = books.codes.remove(of("code"))?;
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, of("code_verifier").as_bytes()));
    let fits = code.client == client
        && code.redirect_uri == of("redirect_uri")
        && code.challenge == challenge
        && (43..=128).contains(&of("code_verifier").len());
    if !fits {
        return None;
    }
    books.number += 1;
    let issued = Issued {
        grant: books.number,
        client: client.to_owned(),
        subject: code.subject.clone(),
        scope: conduct
            .grants
            .map_or_else(|| code.scope.clone(), str::to_owned),
        resource: code.resource.clone(),
    };
    books.asked.redeemed += 1;
    let mut tokens = issue(&mut books, conduct, &issued);
    if code.scope.split(' ').any(|scope| scope == "openid") {
        let now = (shared.now)();
        let nonce = conduct.nonce.map(str::to_owned).or(code.nonce);
        let claims = json!({
            "iss": shared.issuer, "sub": code.subject, "nonce": nonce,
            "aud": conduct.audience.unwrap_or(client), "iat": now, "exp": now + 60,
        });
        let header = json!({ "alg": "ES256", "typ": "JWT", "kid": "as" });
        tokens["id_token"] = json!(shared.key.token_with(&header, &claims).ok()?);
    }
    Some(tokens)
}

/// A token of the client's own.
fn own<'a>(
    shared: &Shared,
    conduct: &Conduct,
    client: &str,
    of: impl Fn(&str) -> &'a str,
) -> Value {
    let mut books = lock(&shared.books);
    books.number += 1;
    let issued = Issued {
        grant: books.number,
        client: client.to_owned(),
        subject: OWN.to_owned(),
        scope: of("scope").to_owned(),
        resource: Some(of("resource").to_owned()).filter(|resource| !resource.is_empty()),
    };
    let mut tokens = issue(&mut books, conduct, &issued);
    tokens["refresh_token"] = Value::Null;
    tokens
}

fn refresh<'a>(
    shared: &Shared,
    conduct: &Conduct,
    client: &str,
    of: impl Fn(&str) -> &'a str,
) -> Option<Value> {
    let token = of("refresh_token");
    let mut books = lock(&shared.books);
    if let Some(grant) = books.used.get(token).copied() {
        // Somebody has it who should not (OAuth 2.1, 4.3.1).
        books.ended.insert(grant);
    }
    let issued = books.refresh.remove(token);
    let good = issued.filter(|one| one.client == client && !books.ended.contains(&one.grant));
    let Some(issued) = good else {
        books.asked.refused += 1;
        return None;
    };
    books.used.insert(token.to_owned(), issued.grant);
    books.asked.refreshed += 1;
    Some(issue(&mut books, conduct, &issued))
}

fn issue(books: &mut Books, conduct: &Conduct, issued: &Issued) -> Value {
    let access = books.fresh("access");
    books.access.insert(access.clone(), issued.clone());
    let mut tokens = json!({
        "access_token": access, "token_type": "Bearer",
        "expires_in": conduct.lifetime.as_secs(), "scope": issued.scope,
    });
    if conduct.refreshes {
        let refresh = books.fresh("refresh");
        books.refresh.insert(refresh.clone(), issued.clone());
        tokens["refresh_token"] = json!(refresh);
    }
    tokens
}
