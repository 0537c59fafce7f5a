//! A server is connected at a real authorization server (npm `oidc-provider`), and its tokens are
//! refreshed there.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use mcp_ultra_testkit::{
    authorization::{AuthorizationServer, LOGIN, Registered},
    browser::{Browser, Page},
    fixture::{self, Era, Options},
    process::Process,
    raw::{Client, modern::Caller},
};
use serde_json::{Value, json};

use crate::{
    gateway_connect::{RESOURCE, asked, bearer, call, now, worked},
    gateway_rig::gateway,
    real_clients_installed::{command, node, script},
};

const CALLBACK: &str = "https://mcp.example.com/connect/callback";
/// How long the authorization server may take until it serves.
const READY: Duration = Duration::from_secs(30);

/// The claims of a token, which the tests believe as they are.
fn claims(token: &str) -> Option<Value> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// Registers the gateway as a client (RFC 7591): id and secret.
async fn register(issuer: &str) -> (String, String) {
    let body = json!({
        "redirect_uris": [CALLBACK], "response_types": ["code"],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "client_secret_basic",
    });
    let json = HeaderValue::from_static("application/json");
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, json)]);
    let client = Client::new(format!("{issuer}/reg"));
    let answer = client.request(Method::POST, headers, Bytes::from(body.to_string()));
    let registered = answer.await.unwrap().json().await.unwrap();
    let of = |name: &str| registered[name].as_str().unwrap().to_owned();
    (of("client_id"), of("client_secret"))
}

/// Says who one is and allows everything, on the pages of `authorization-server.mjs`.
async fn log_in(browser: &Browser, mut page: Page, person: &str) -> Page {
    while let Some(form) = page.text.split("data-prompt=\"").nth(1) {
        let action = form.split("action=\"").nth(1).unwrap();
        let action = page.url.join(action.split('"').next().unwrap()).unwrap();
        let mut fields: Vec<(&str, &str)> = form
            .split("name=\"scope\" value=\"")
            .skip(1)
            .map(|rest| ("scope", rest.split('"').next().unwrap()))
            .collect();
        if form.starts_with("login") {
            fields.push(("person", person));
        }
        page = browser.fill(action.as_str(), &fields).await.unwrap();
    }
    page
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_connected_and_refreshed_at_oidc_provider() {
    let seen: Arc<Mutex<Vec<Value>>> = Arc::default();
    let noted = seen.clone();
    // Lists are for everyone, and calls for whom a token of its own is shown.
    let guard = move |parts: &http::request::Parts| {
        let of = |name: &str| parts.headers.get(name)?.to_str().ok();
        let token = of("authorization").and_then(|value| claims(value.strip_prefix("Bearer ")?));
        let good = token.is_some() || of("mcp-method") != Some("tools/call");
        noted.lock().unwrap().extend(token);
        good.into()
    };
    let upstream = fixture::http::start_guarded(Options::new(Era::Modern), Arc::new(guard));
    let upstream = upstream.await.unwrap();
    let mut server = command(&node()).into_std();
    server
        .arg(script("authorization-server.mjs"))
        .arg(upstream.url());
    let mut authorization = Process::start_command(server).unwrap();
    let issuer_of = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        line["issuer"].as_str().map(ToOwned::to_owned)
    };
    let line = authorization.line("the issuer", READY, issuer_of).await;
    let provider = line.unwrap();
    let (id, secret) = register(&provider).await;
    let login = AuthorizationServer::start(now).await.unwrap();
    login.register(Registered {
        id: "gw-login".into(),
        secret: "s3cret".into(),
        redirect_uri: CALLBACK.into(),
    });
    let folder = tempfile::tempdir().unwrap();
    let gateway = gateway(&format!(
        r#"
server: {{ allowed_hosts: [127.0.0.1, mcp.example.com] }}
auth: {{ resource: {RESOURCE}, issuers: [{{ issuer: "{issuer}" }}] }}
storage:
  sqlite: "{database}"
  keys: [{{ id: first, secret: "first-key-of-the-store-0123456789" }}]
connect:
  logins: [{{ issuer: "{issuer}", client_id: gw-login, client_secret: s3cret }}]
servers:
  - name: tickets
    url: "{url}"
    prefix: none
    credentials:
      kind: authorization_code
      issuer: "{provider}"
      client_id: "{id}"
      client_secret: "{secret}"
      scopes: [mcp:use]
      catalog: none
"#,
        issuer = login.issuer(),
        database = folder.path().join("state.db").display(),
        url = upstream.url(),
    ))
    .await;
    // Dora's tokens last four seconds.
    let mut dora: Caller = gateway.caller();
    dora.capabilities = json!({ "elicitation": { "url": {} } });
    dora.extra_headers = bearer(&login.access_token(RESOURCE, "dora").unwrap());
    let (url, _) = asked(&call(&dora, None).await);
    let browser = Browser::default();
    browser.finds(
        "https://mcp.example.com",
        gateway.url("").trim_end_matches('/'),
    );
    browser.has(login.issuer(), LOGIN, "dora").unwrap();
    let start = browser.open(&url).await.unwrap();
    let page = browser.agree(&start).await.unwrap();
    let page = log_in(&browser, page, "dora").await;
    assert_eq!(
        page.status,
        StatusCode::OK,
        "{}\n{}",
        page.text,
        gateway.output()
    );
    assert!(page.text.contains("<h1>Connected</h1>"), "{}", page.text);
    for _ in 0..3 {
        let answer = call(&dora, None).await;
        assert!(worked(&answer), "{answer}\n{}", gateway.output());
        tokio::time::sleep(Duration::from_secs(4)).await;
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    for token in seen.iter() {
        assert_eq!(
            (&token["sub"], &token["aud"]),
            (&json!("dora"), &json!(upstream.url()))
        );
        assert_eq!(
            (&token["iss"], &token["scope"]),
            (&json!(provider), &json!("mcp:use"))
        );
    }
    assert!(seen[0]["jti"] != seen[1]["jti"] && seen[1]["jti"] != seen[2]["jti"]);
}
