//! Who may call, through the running gateway: an identity provider on loopback, and tokens that
//! are good or bad in every way that is known.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Method, header};
use mcp_ultra_domain::{Clock as _, SystemClock};
use mcp_ultra_testkit::{
    fixture::{Era, http::Running},
    gateway::Gateway,
    identity::{Discovery, IdentityProvider, Mood, SigningKey, hs256, unsigned},
    raw::{Answer, Client, legacy::Session, modern::Caller},
    scripted::Scripted,
};
use serde_json::{Value, json};

use super::cli::{command, finish, run};
use crate::gateway_rig::{SOON, fixture, gateway, modern_tool, only, text, until};

const RESOURCE: &str = "https://mcp.example.com/mcp";
const METADATA: &str =
    r#"resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp""#;

struct Rig {
    provider: IdentityProvider,
    gateway: Gateway,
    _upstream: Running,
}

/// A gateway behind an identity provider with these keys; `auth` is what else the section says.
async fn rig(keys: &[&SigningKey], auth: &str) -> Rig {
    let provider = IdentityProvider::start(Discovery::OAuth, keys)
        .await
        .unwrap();
    let upstream = fixture(Era::Dual).await;
    let section = section(&provider, auth);
    let gateway = gateway(&only(&upstream.url(), &section)).await;
    Rig {
        provider,
        gateway,
        _upstream: upstream,
    }
}

fn section(provider: &IdentityProvider, auth: &str) -> String {
    format!(
        "log: {{ level: trace }}\nauth:\n  resource: {RESOURCE}\n  issuers: [{{ issuer: \"{}\" }}]\n{auth}",
        provider.issuer()
    )
}

fn now() -> u64 {
    SystemClock.now().as_secs()
}

fn bearer(token: &str) -> HeaderMap {
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}

impl Rig {
    fn claims(&self, subject: &str) -> Value {
        self.provider.claims(RESOURCE, subject, now())
    }

    fn token(&self, key: &SigningKey, subject: &str) -> String {
        key.token(&self.claims(subject)).unwrap()
    }

    fn caller(&self, token: &str) -> Caller {
        let mut caller = self.gateway.caller();
        caller.extra_headers = bearer(token);
        caller
    }

    async fn session(&self, token: &str) -> Session {
        let (client, headers) = (self.gateway.client(), bearer(token));
        Session::open(client, "2025-11-25", json!({}), headers)
            .await
            .unwrap()
    }

    /// Sends a call with these `Authorization` headers.
    async fn send(&self, credentials: &[&str]) -> Answer {
        let caller = self.gateway.caller();
        let mut request = caller.prepare("tools/list", json!({}));
        for credential in credentials {
            let value = HeaderValue::try_from(*credential).unwrap();
            request.headers.append(header::AUTHORIZATION, value);
        }
        caller.send(request).await.unwrap()
    }

    async fn status(&self, token: &str) -> u16 {
        let answer = self.send(&[&format!("Bearer {token}")]).await;
        answer.status.as_u16()
    }

    async fn refused(&self, reason: &str) -> u64 {
        let metrics = self.gateway.get("/metrics").await.unwrap();
        let metrics = metrics.text().await.unwrap();
        let sample = format!("mcp_auth_refused_total{{reason=\"{reason}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&sample));
        line.unwrap().parse().unwrap()
    }
}

/// Status, challenge and body.
async fn told(answer: Answer) -> (u16, Option<String>, String) {
    let challenge = answer.header("www-authenticate").map(str::to_owned);
    (
        answer.status.as_u16(),
        challenge,
        answer.text().await.unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_token_is_told_where_to_get_one() {
    let key = SigningKey::es256("k").unwrap();
    let auth = "  required_scopes: [mcp:use]\n  scopes_supported: [mcp:use, mcp:admin]\n";
    let rig = rig(&[&key], auth).await;
    let challenge = format!(r#"Bearer {METADATA}, scope="mcp:use""#);
    let client = rig.gateway.client();
    for credentials in [&[][..], &["Basic YTpi"]] {
        let (status, told, body) = told(rig.send(credentials).await).await;
        assert_eq!(
            (status, told.as_deref()),
            (401, Some(&*challenge)),
            "{body}"
        );
    }
    for method in [Method::GET, Method::DELETE] {
        let answer = client.request(method, HeaderMap::new(), bytes::Bytes::new());
        let (status, told, _) = told(answer.await.unwrap()).await;
        assert_eq!((status, told.as_deref()), (401, Some(&*challenge)));
    }
    assert_eq!(rig.refused("missing").await, 4);
    for path in ["/livez", "/readyz", "/healthz", "/metrics"] {
        assert_eq!(rig.gateway.get(path).await.unwrap().status, 200, "{path}");
    }
    for path in ["", "/mcp"] {
        let path = format!("/.well-known/oauth-protected-resource{path}");
        let answer = rig.gateway.get(&path).await.unwrap();
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let metadata = answer.json().await.unwrap();
        assert_eq!(metadata["resource"], RESOURCE);
        let issuer = rig.provider.issuer();
        assert_eq!(metadata["authorization_servers"], json!([issuer]));
        assert_eq!(metadata["bearer_methods_supported"], json!(["header"]));
        assert_eq!(
            metadata["scopes_supported"],
            json!(["mcp:use", "mcp:admin"])
        );
        let client = Client::new(rig.gateway.url(&path));
        for (method, status) in [
            (Method::HEAD, 200),
            (Method::OPTIONS, 204),
            (Method::POST, 405),
        ] {
            let answer = client.request(method, HeaderMap::new(), bytes::Bytes::new());
            assert_eq!(answer.await.unwrap().status, status);
        }
    }
    let unknown = "/.well-known/oauth-protected-resource/other";
    assert_eq!(rig.gateway.get(unknown).await.unwrap().status, 404);
    // Enough of a token, but not of scopes.
    let token = rig.token(&key, "ana");
    let answer = rig.send(&[&format!("Bearer {token}")]).await;
    let insufficient = format!(r#"Bearer error="insufficient_scope", {METADATA}, scope="mcp:use""#);
    let (status, challenge, _) = told(answer).await;
    assert_eq!((status, challenge), (403, Some(insufficient)));
    let mut claims = rig.claims("ana");
    claims["scope"] = json!("other mcp:use");
    assert_eq!(rig.status(&key.token(&claims).unwrap()).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_token_gets_the_same_answer() {
    let (key, rsa) = (
        SigningKey::es256("k").unwrap(),
        SigningKey::rs256("r").unwrap(),
    );
    let stranger = SigningKey::es256("stranger").unwrap();
    let thief = SigningKey::es256("k").unwrap();
    let rig = rig(&[&key, &rsa], "").await;
    assert_eq!(rig.status(&rig.token(&key, "ana")).await, 200);
    assert_eq!(rig.status(&rig.token(&rsa, "ana")).await, 200);
    let claims = rig.claims("ana");
    let but = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        key.token(&claims).unwrap()
    };
    let confused = json!({ "alg": "HS256", "kid": "r" });
    let bad = [
        ("expired", but("exp", json!(now() - 120))),
        ("not_yet_valid", but("nbf", json!(now() + 600))),
        ("audience", but("aud", json!("https://other.example/mcp"))),
        ("issuer", but("iss", json!("https://attacker.example"))),
        ("claim", but("sub", json!(""))),
        ("bound", but("cnf", json!({ "jkt": "x" }))),
        ("unknown_key", stranger.token(&claims).unwrap()),
        ("signature", thief.token(&claims).unwrap()),
        ("algorithm", unsigned(&json!({ "alg": "none" }), &claims)),
        ("algorithm", hs256(&rsa.public_bytes(), &confused, &claims)),
        ("algorithm", hs256(&key.public_bytes(), &confused, &claims)),
        ("too_large", format!("{}.b.c", "a".repeat(17 * 1024))),
        ("malformed", "not-a-token".to_owned()),
        ("malformed", "a b".to_owned()),
    ];
    let expected = (
        401,
        Some(format!(r#"Bearer error="invalid_token", {METADATA}"#)),
    );
    let mut bodies = BTreeSet::new();
    for (reason, token) in bad {
        let before = rig.refused(reason).await;
        // The second time it is known.
        for _ in 0..2 {
            let answer = rig.send(&[&format!("Bearer {token}")]).await;
            let (status, challenge, body) = told(answer).await;
            assert_eq!((status, challenge), expected, "{reason}");
            bodies.insert(body);
        }
        assert_eq!(rig.refused(reason).await, before + 2, "{reason}");
    }
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let good = format!("Bearer {}", rig.token(&key, "ana"));
    let (status, challenge, _) = told(rig.send(&[&good, &good]).await).await;
    let several = format!(r#"Bearer error="invalid_request", {METADATA}"#);
    assert_eq!((status, challenge), (400, Some(several)));
    assert_eq!(rig.status(&rig.token(&key, "ana")).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_its_principals_alone() {
    let key = SigningKey::es256("k").unwrap();
    let rig = rig(&[&key], "").await;
    let (ana, bea) = (rig.token(&key, "ana"), rig.token(&key, "bea"));
    let session = rig.session(&ana).await;
    assert_eq!(
        session.call("tools/list", json!({})).await.unwrap().status,
        200
    );
    let client = rig.gateway.client();
    let list = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/list" }).to_string();
    let ask = async |id: &str, token: &str| {
        let mut headers = session.headers();
        headers.insert("mcp-session-id", HeaderValue::try_from(id).unwrap());
        headers.extend(bearer(token));
        told(client.post(headers, list.clone()).await.unwrap()).await
    };
    let id = session.id().unwrap().to_owned();
    let foreign = ask(&id, &bea).await;
    assert_eq!(foreign.0, 404);
    assert_eq!(
        foreign,
        ask("no-such-session", &bea).await,
        "as an unknown one"
    );
    for method in [Method::GET, Method::DELETE] {
        let mut headers = session.headers();
        headers.extend(bearer(&bea));
        headers.insert(
            header::ACCEPT,
            HeaderValue::from_static("text/event-stream"),
        );
        let answer = client.request(method, headers, bytes::Bytes::new());
        assert_eq!(answer.await.unwrap().status, 404);
    }
    let mut headers = session.headers();
    headers.remove(header::AUTHORIZATION);
    let answer = client.post(headers, list.clone()).await.unwrap();
    assert_eq!(answer.status, 401);
    // A new token of the same principal goes on with it.
    let mut claims = rig.claims("ana");
    claims["jti"] = json!("renewed");
    let renewed = key.token(&claims).unwrap();
    assert_eq!(ask(&id, &renewed).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_roll_over_in_mid_traffic() {
    let (old, new) = (
        SigningKey::es256("old").unwrap(),
        SigningKey::rs256("new").unwrap(),
    );
    let rig = rig(&[&old], "  jwks: { refresh: 100ms, retry: 50ms }\n").await;
    let (mut calls, mut stage) = (0, 0);
    let begun = Instant::now();
    let known = rig.token(&new, "bea");
    while begun.elapsed() < Duration::from_millis(2500) {
        let wanted = begun.elapsed().as_millis() / 600;
        if wanted > stage {
            stage = wanted;
            match stage {
                // Published before it is used, and withdrawn once nothing uses it.
                1 => rig.provider.publish(&[&old, &new]),
                3 => rig.provider.publish(&[&new]),
                _ => {}
            }
        }
        let key = if stage < 2 { &old } else { &new };
        let token = rig.token(key, &format!("user-{calls}"));
        assert_eq!(rig.status(&token).await, 200, "call {calls}, stage {stage}");
        if stage >= 2 {
            assert_eq!(rig.status(&known).await, 200, "call {calls}");
        }
        calls += 1;
    }
    assert!(calls > 20, "{calls}");
    until("the old key is gone", async || {
        rig.status(&rig.token(&old, "ana")).await == 401
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn known_keys_serve_while_the_provider_is_down_slow_or_lies() {
    let key = SigningKey::es256("k").unwrap();
    let stranger = SigningKey::es256("stranger").unwrap();
    let auth = "  jwks: { refresh: 100ms, retry: 50ms, timeout: 300ms }\n";
    let rig = rig(&[&key], auth).await;
    let known = rig.token(&key, "ana");
    assert_eq!(rig.status(&known).await, 200);
    for mood in [
        Mood::Down,
        Mood::Slow(Duration::from_mins(1)),
        Mood::Garbage,
        Mood::Huge,
        Mood::OtherIssuer,
    ] {
        rig.provider.behave(mood);
        for number in 0..5 {
            let fresh = rig.token(&key, &format!("{mood:?}-{number}"));
            let begun = Instant::now();
            assert_eq!(rig.status(&known).await, 200, "{mood:?}");
            assert_eq!(rig.status(&fresh).await, 200, "{mood:?}");
            assert!(begun.elapsed() < Duration::from_secs(5), "{mood:?}");
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        let unknown = stranger.token(&rig.claims("ana")).unwrap();
        assert_eq!(rig.status(&unknown).await, 401, "{mood:?}");
    }
    // One that was never there: nothing to judge by is not the token's fault.
    let auth = "  jwks: { timeout: 300ms }\n";
    let provider = IdentityProvider::start(Discovery::OAuth, &[&key])
        .await
        .unwrap();
    provider.behave(Mood::Down);
    let upstream = fixture(Era::Dual).await;
    let gateway = gateway(&only(&upstream.url(), &section(&provider, auth))).await;
    let mut caller = gateway.caller();
    caller.extra_headers = bearer(&key.token(&provider.claims(RESOURCE, "ana", now())).unwrap());
    let answer = caller.send(caller.prepare("tools/list", json!({}))).await;
    let answer = answer.unwrap();
    assert_eq!(answer.header("retry-after"), Some("1"));
    let (status, challenge, body) = told(answer).await;
    assert_eq!((status, challenge), (503, None), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_unknown_keys_does_not_become_one_of_requests() {
    let key = SigningKey::es256("k").unwrap();
    let rig = rig(&[&key], "  jwks: { retry: 1s }\n").await;
    let known = rig.token(&key, "ana");
    assert_eq!(rig.status(&known).await, 200);
    let begun = Instant::now();
    for number in 0..300 {
        let header = json!({ "alg": "ES256", "kid": format!("kid-{number}") });
        let token = key.token_with(&header, &rig.claims("ana")).unwrap();
        assert_eq!(rig.status(&token).await, 401);
    }
    let most = usize::try_from(begun.elapsed().as_secs()).unwrap() + 2;
    let asked = rig.provider.jwks_requests();
    assert!(asked <= most, "{asked} requests, not {most}");
    assert_eq!(rig.status(&known).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_with_the_token() {
    let key = SigningKey::es256("k").unwrap();
    let rig = rig(&[&key], "  clock_skew: 0s\n").await;
    let mut claims = rig.claims("ana");
    let expires = now() + 4;
    claims["exp"] = json!(expires);
    let token = key.token(&claims).unwrap();
    let caller = rig.caller(&token);
    let mut listening = caller
        .listen(json!({ "toolsListChanged": true }))
        .await
        .unwrap();
    assert!(listening.message().await.unwrap().is_some(), "acknowledged");
    let session = rig.session(&token).await;
    let stream = session.stream(None).await.unwrap();
    assert_eq!(stream.status, 200);
    let params = json!({
        "name": "test_wait", "arguments": { "milliseconds": 60000 },
        "_meta": { "progressToken": 1 },
    });
    let call = caller.prepare("tools/call", params);
    // Not a stream until it has taken ten seconds, and ended as soon as it is one.
    let calling = async {
        let client = rig.gateway.client().with_patience(SOON * 2);
        let answer = client.post(call.headers, call.message.to_string());
        let mut events = answer.await.unwrap().events();
        while let Some(message) = events.message().await.unwrap() {
            assert!(message.get("id").is_none(), "no answer: {message}");
        }
    };
    let pushing = async {
        let mut events = stream.events();
        assert!(events.message().await.unwrap().is_none());
    };
    let listening = async { assert!(listening.message().await.unwrap().is_none()) };
    let ended = async { tokio::join!(calling, pushing, listening) };
    tokio::time::timeout(SOON * 2, ended)
        .await
        .expect("they end");
    assert!(now() >= expires, "not before the token");
    assert_eq!(rig.status(&token).await, 401);
    // The session itself goes on with another token.
    let mut headers = session.headers();
    headers.extend(bearer(&rig.token(&key, "ana")));
    let list = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/list" });
    let answer = rig.gateway.client().post(headers, list.to_string()).await;
    assert_eq!(answer.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_reaches_no_upstream_and_no_log() {
    let key = SigningKey::es256("k").unwrap();
    let provider = IdentityProvider::start(Discovery::OAuth, &[&key])
        .await
        .unwrap();
    let tools = json!([{ "name": "echo", "inputSchema": { "type": "object" } }]);
    let upstream = Scripted::start(tools, |_| None).await.unwrap();
    let secret = "canary-secret-0123456789-abcdefghijkl";
    let auth = format!("  jwt_secret: {secret}\n");
    let mut gateway = gateway(&only(&upstream.url(), &section(&provider, &auth))).await;
    let mut claims = provider.claims(RESOURCE, "ana", now());
    claims["jti"] = json!("canary-5150-canary-5150");
    let good = key.token(&claims).unwrap();
    claims["exp"] = json!(1);
    let bad = key.token(&claims).unwrap();
    claims["exp"] = json!(now() + 300);
    claims["iss"] = json!("mcp-ultra");
    let shared = hs256(secret.as_bytes(), &json!({ "alg": "HS256" }), &claims);
    let mut caller = gateway.caller();
    for (token, status) in [(&good, 200), (&bad, 401), (&shared, 200), (&good, 200)] {
        caller.extra_headers = bearer(token);
        let params = json!({ "name": "echo", "arguments": {} });
        let answer = caller
            .send(caller.prepare("tools/call", params))
            .await
            .unwrap();
        assert_eq!(answer.status, status);
        drop(answer.text().await);
    }
    let seen = upstream.seen("tools/call");
    assert_eq!(seen.len(), 3);
    for request in &seen {
        assert_eq!(request.header("authorization"), None);
        assert!(!format!("{:?}{}", request.headers, request.text()).contains("canary"));
    }
    let metrics = gateway.get("/metrics").await.unwrap().text().await.unwrap();
    gateway.signal(nix::sys::signal::Signal::SIGTERM).unwrap();
    gateway.wait(SOON).await.unwrap();
    let output = gateway.output() + &metrics;
    for token in [&good, &bad, &shared] {
        for part in token.split('.').skip(1) {
            assert!(!output.contains(part), "{output}");
        }
    }
    assert!(!output.contains("canary"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn production_without_authentication_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yaml");
    std::fs::write(&file, "environment: production\n").unwrap();
    let file = file.to_string_lossy();
    for arguments in [
        &["serve", "--port", "0", "--config", &file][..],
        &["config", "validate", "--config", &file],
    ] {
        let run = run(arguments).await;
        assert_eq!(run.code, 2, "{} {}", run.out, run.err);
        assert!(
            run.err.contains("needs authentication, which is missing"),
            "{}",
            run.err
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_send_the_token_of_the_environment() {
    let key = SigningKey::es256("k").unwrap();
    let rig = rig(&[&key], "").await;
    let token = rig.token(&key, "ana");
    let target = rig.gateway.url("/mcp");
    let arguments = ["tools", "list", "--target", &target];
    let without = run(&arguments).await;
    assert_eq!(without.code, 1, "{}", without.err);
    assert!(without.err.contains("MCP_ULTRA_TOKEN"), "{}", without.err);
    let mut usual = command(&arguments);
    usual.env("MCP_ULTRA_TOKEN", &token);
    let mut named = command(&[&arguments[..], &["--token-env", "MINE"]].concat());
    named.env("MINE", &token);
    let mut smoke = command(&["smoke", "--target", &target, "--tool", "test_simple_text"]);
    smoke.env("MCP_ULTRA_TOKEN", &token);
    for command in [usual, named, smoke] {
        let run = finish(command).await;
        assert_eq!(run.code, 0, "{} {}", run.out, run.err);
        assert!(!run.out.contains(&token) && !run.err.contains(&token));
    }
    let unset = run(&[&arguments[..], &["--token-env", "UNSET"]].concat()).await;
    assert_eq!(unset.code, 2, "{}", unset.err);
    let mut bad = command(&arguments);
    bad.env("MCP_ULTRA_TOKEN", "canary\n5150");
    let bad = finish(bad).await;
    assert_eq!(bad.code, 2, "{}", bad.err);
    assert!(!bad.err.contains("canary"), "{}", bad.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_made_as_ever_with_a_token() {
    let key = SigningKey::ed25519("k").unwrap();
    let rig = rig(&[&key], "").await;
    let caller = rig.caller(&rig.token(&key, "ana"));
    let reply = modern_tool(&caller, "test_simple_text", json!({})).await;
    assert!(text(&reply).starts_with("This is a simple text"));
}
