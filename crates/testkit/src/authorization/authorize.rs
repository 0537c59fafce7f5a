//! `/authorize`: approves at once for whoever is logged in.

use std::{collections::HashMap, sync::Arc};

use axum::{
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};
use url::Url;

use super::{Code, LOGIN, Shared, lock};

pub(super) async fn authorize(
    State(shared): State<Arc<Shared>>,
    Query(asked): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let of = |name: &str| asked.get(name).cloned().unwrap_or_default();
    let conduct = lock(&shared.conduct).clone();
    lock(&shared.books).last_request.clone_from(&asked);
    let client = {
        let clients = lock(&shared.clients);
        let known = clients.iter().find(|client| client.id == of("client_id"));
        known.cloned()
    };
    // What may not be redirected is shown (OAuth 2.1, 4.1.2.1).
    let Some(client) = client.filter(|client| client.redirect_uri == of("redirect_uri")) else {
        return (StatusCode::BAD_REQUEST, "unknown client or redirect_uri").into_response();
    };
    let Ok(mut back) = Url::parse(&client.redirect_uri) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let issuer = conduct.says_issuer.as_ref().unwrap_or(&shared.issuer);
    let error = conduct.denies.or_else(|| {
        let fine = of("response_type") == "code"
            && of("code_challenge_method") == "S256"
            && of("code_challenge").len() == 43;
        (!fine).then_some("invalid_request")
    });
    let result = match (error, subject(&headers)) {
        (Some(error), _) => ("error", error.to_owned()),
        (None, None) => return (StatusCode::UNAUTHORIZED, "log in first").into_response(),
        (None, Some(subject)) => {
            let code = Code {
                client: client.id,
                redirect_uri: client.redirect_uri,
                challenge: of("code_challenge"),
                subject,
                scope: of("scope"),
                resource: asked.get("resource").cloned(),
                nonce: asked.get("nonce").cloned(),
            };
            let mut books = lock(&shared.books);
            let name = books.fresh("code");
            books.codes.insert(name.clone(), code);
            books.asked.approved += 1;
            ("code", name)
        }
    };
    {
        let mut pairs = back.query_pairs_mut();
        pairs.append_pair(result.0, &result.1);
        if let Some(state) = asked.get("state") {
            pairs.append_pair("state", state);
        }
        if !issuer.is_empty() {
            pairs.append_pair("iss", issuer);
        }
    }
    (StatusCode::FOUND, [(header::LOCATION, back.to_string())]).into_response()
}

/// Whom the browser is logged in as.
fn subject(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
    let mut pairs = cookies.split("; ").filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(name, _)| *name == LOGIN)
        .map(|(_, value)| value.to_owned())
}
