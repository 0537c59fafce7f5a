//! Access tokens towards upstreams, through the running gateway: an authorization server on
//! loopback, and upstreams that accept its tokens and nothing else.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Method, header};
use mcp_ultra_domain::{Clock as _, SystemClock};
use mcp_ultra_testkit::{
    fixture::{self, Era, Options, http::Running},
    gateway::Gateway,
    identity::{Discovery, IdentityProvider, SigningKey, TokenMood},
    raw::{legacy::Session, modern::Caller},
};
use serde_json::{Value, json};

use super::cli::{command, finish};
use crate::gateway_rig::{SOON, gateway, until};

const RESOURCE: &str = "https://mcp.example.com/mcp";
const SECRET: &str = "the client's own: s3cret/ü";

/// One request that the upstream got.
#[derive(Debug, Clone)]
struct Seen {
    method: Method,
    session: Option<String>,
    token: Option<String>,
    /// Whom the token speaks for, where it was good: `client`, or a subject.
    speaks_for: Option<String>,
}

/// An authorization server and an upstream that believes it.
struct Rig {
    provider: Arc<IdentityProvider>,
    key: SigningKey,
    upstream: Running,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Rig {
    async fn start(era: Era) -> Self {
        let key = SigningKey::es256("k").unwrap();
        let provider = IdentityProvider::start(Discovery::OAuth, &[&key]).await;
        let provider = Arc::new(provider.unwrap());
        provider.register("gateway", SECRET);
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (believed, noted) = (provider.clone(), seen.clone());
        let guard = move |parts: &http::request::Parts| {
            let of = |name: &str| {
                let value = parts.headers.get(name)?.to_str().ok();
                value.map(str::to_owned)
            };
            let token = of("authorization");
            let issued = token
                .as_deref()
                .and_then(|value| value.strip_prefix("Bearer "))
                .and_then(|token| believed.issued(token));
            let speaks_for =
                issued.map(|issued| issued.subject.unwrap_or_else(|| "client".to_owned()));
            let good = speaks_for.is_some();
            noted.lock().unwrap().push(Seen {
                method: parts.method.clone(),
                session: of("mcp-session-id"),
                token,
                speaks_for,
            });
            good.into()
        };
        let upstream = fixture::http::start_guarded(Options::new(era), Arc::new(guard)).await;
        Self {
            provider,
            key,
            upstream: upstream.unwrap(),
            seen,
        }
    }

    /// A configuration with this upstream and these credentials.
    fn yaml(&self, kind: &str, more: &str, rest: &str) -> String {
        let mut yaml = format!(
            "log: {{ level: trace }}\n{rest}\nservers:\n  - name: fix\n    url: \"{}\"\n    prefix: none\n    credentials:\n      kind: {kind}\n      client_id: gateway\n      client_secret: \"{SECRET}\"\n",
            self.upstream.url(),
        );
        if !more.contains("issuer:") && !more.contains("token_endpoint:") {
            writeln!(yaml, "      issuer: \"{}\"", self.provider.issuer()).unwrap();
        }
        for line in more.lines() {
            writeln!(yaml, "      {line}").unwrap();
        }
        yaml
    }

    /// The section that lets callers in by tokens of the same provider.
    fn auth(&self) -> String {
        format!(
            "auth:\n  resource: {RESOURCE}\n  issuers: [{{ issuer: \"{}\" }}]\n",
            self.provider.issuer()
        )
    }

    fn token(&self, subject: &str) -> String {
        let now = SystemClock.now().as_secs();
        let claims = self.provider.claims(RESOURCE, subject, now);
        self.key.token(&claims).unwrap()
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn forget(&self) {
        self.seen.lock().unwrap().clear();
    }

    fn requests(&self) -> usize {
        self.provider.token_requests().len()
    }
}

fn bearer(token: &str) -> HeaderMap {
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}

fn caller(gateway: &Gateway, token: Option<&str>) -> Caller {
    let mut caller = gateway.caller();
    if let Some(token) = token {
        caller.extra_headers = bearer(token);
    }
    caller
}

fn params() -> Value {
    json!({ "name": "test_simple_text", "arguments": {} })
}

/// The message that answers a call.
async fn call(caller: &Caller) -> Value {
    caller.call("tools/call", params()).await.unwrap().message
}

/// The message that answers a call in a session.
async fn call_in(session: &Session) -> Value {
    session.call("tools/call", params()).await.unwrap().message
}

async fn session(gateway: &Gateway, headers: HeaderMap) -> Session {
    Session::open(gateway.client(), "2025-11-25", json!({}), headers)
        .await
        .unwrap()
}

fn worked(message: &Value) -> bool {
    message["result"]["content"].is_array()
}

/// A sample of a metric.
async fn sample(gateway: &Gateway, line: &str) -> u64 {
    let metrics = gateway.get("/metrics").await.unwrap().text().await.unwrap();
    let found = metrics.lines().find_map(|one| one.strip_prefix(line));
    found.map_or(0, |value| value.trim().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_speaks_to_an_upstream_with_a_token_of_its_own() {
    for era in [Era::Modern, Era::Legacy] {
        let rig = Rig::start(era).await;
        let scopes = "scopes: [crm:read, crm:write]";
        let gateway = gateway(&rig.yaml("client_credentials", scopes, "")).await;
        let caller = caller(&gateway, None);
        for _ in 0..5 {
            let answer = call(&caller).await;
            assert!(worked(&answer), "{answer}");
        }
        let session = session(&gateway, HeaderMap::new()).await;
        let answer = call_in(&session).await;
        assert!(worked(&answer), "{answer}");
        session.close().await.unwrap();
        assert_eq!(rig.requests(), 1, "one token for all of it");
        let asked = &rig.provider.token_requests()[0];
        for (name, value) in [
            ("grant_type", "client_credentials"),
            ("scope", "crm:read crm:write"),
            ("resource", &rig.upstream.url()[..]),
            ("auth", "basic"),
            ("client_secret", SECRET),
        ] {
            assert_eq!(asked.get(name).map(String::as_str), Some(value));
        }
        let seen = rig.seen();
        let good = |one: &Seen| one.speaks_for.as_deref() == Some("client");
        assert!(seen.iter().all(good), "{seen:#?}");
        if era == Era::Legacy {
            let with = |method| seen.iter().any(|one| one.method == method);
            assert!(with(Method::GET), "streams too");
            until("the end of the session upstream", async || {
                rig.seen().iter().any(|one| one.method == Method::DELETE)
            })
            .await;
            assert!(rig.seen().iter().all(good));
        }
        let fetched = r#"mcp_token_requests_total{upstream="fix",outcome="token"}"#;
        assert_eq!(sample(&gateway, fetched).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_caller_is_spoken_for_with_a_token_of_their_own() {
    for era in [Era::Modern, Era::Legacy] {
        let rig = Rig::start(era).await;
        let more = "audience: crm\nscopes: [crm:read]\nclient_auth: post";
        let gateway = gateway(&rig.yaml("token_exchange", more, &rig.auth())).await;
        let at_start = rig.requests();
        assert_eq!(at_start, 1, "the lists are read with the gateway's own");
        let people = ["ana", "bob"].map(|subject| (subject, rig.token(subject)));
        // The gateway finds out on its own account which eras the upstream speaks.
        let first = rig.token("first");
        assert!(worked(
            &call_in(&session(&gateway, bearer(&first)).await).await
        ));
        let at_start = at_start + 1;
        rig.forget();
        for (subject, token) in &people {
            let caller = caller(&gateway, Some(token));
            let legacy = session(&gateway, bearer(token)).await;
            for _ in 0..3 {
                let answers = [call(&caller).await, call_in(&legacy).await];
                assert!(answers.iter().all(worked), "{answers:?}");
            }
            legacy.close().await.unwrap();
            if era == Era::Legacy {
                until("the end of the session upstream", async || {
                    rig.seen().iter().any(|one| one.method == Method::DELETE)
                })
                .await;
            }
            let seen = rig.seen();
            let theirs = |one: &Seen| one.speaks_for.as_deref() == Some(*subject);
            let in_session = seen.iter().filter(|one| one.session.is_some()).count();
            assert_eq!(in_session > 0, era == Era::Legacy);
            assert!(!seen.is_empty() && seen.iter().all(theirs), "{seen:#?}");
            rig.forget();
        }
        let asked = rig.provider.token_requests();
        assert_eq!(
            asked.len(),
            at_start + 2,
            "one for each of them: {asked:#?}"
        );
        for ((_, token), asked) in people.iter().zip(&asked[at_start..]) {
            for (name, value) in [
                (
                    "grant_type",
                    "urn:ietf:params:oauth:grant-type:token-exchange",
                ),
                ("subject_token", token),
                (
                    "subject_token_type",
                    "urn:ietf:params:oauth:token-type:access_token",
                ),
                ("audience", "crm"),
                ("scope", "crm:read"),
                ("resource", &rig.upstream.url()),
                ("auth", "post"),
            ] {
                assert_eq!(asked.get(name).map(String::as_str), Some(value), "{name}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_caller_has_shown_reaches_no_upstream() {
    let rig = Rig::start(Era::Legacy).await;
    let gateway = gateway(&rig.yaml("token_exchange", "", &rig.auth())).await;
    let token = rig.token("ana");
    let legacy = session(&gateway, bearer(&token)).await;
    assert!(worked(&call_in(&legacy).await));
    assert!(worked(&call(&caller(&gateway, Some(&token))).await));
    legacy.close().await.unwrap();
    let own = format!("Bearer {token}");
    for one in rig.seen() {
        assert_ne!(one.token.as_deref(), Some(&*own), "{one:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_subscriptions_are_opened_with_the_tokens_of_their_callers() {
    const WATCHED: &str = "test://watched-resource";
    for era in [Era::Modern, Era::Legacy] {
        let rig = Rig::start(era).await;
        let gateway = gateway(&rig.yaml("token_exchange", "", &rig.auth())).await;
        let first = rig.token("first");
        assert!(worked(
            &call_in(&session(&gateway, bearer(&first)).await).await
        ));
        rig.forget();
        let (ana, bob) = (rig.token("ana"), rig.token("bob"));
        let modern = caller(&gateway, Some(&ana));
        let mut events = modern
            .listen(json!({ "resourceSubscriptions": [WATCHED] }))
            .await
            .unwrap();
        let agreed = events.next_within(SOON).await.unwrap().unwrap();
        assert!(format!("{agreed:?}").contains(WATCHED), "{agreed:?}");
        let legacy = session(&gateway, bearer(&bob)).await;
        let subscribed = legacy.call("resources/subscribe", json!({ "uri": WATCHED }));
        let subscribed = subscribed.await.unwrap().message;
        assert!(subscribed["result"].is_object(), "{subscribed}");
        let seen = rig.seen();
        let of = |who: &str| {
            let theirs = |one: &&Seen| one.speaks_for.as_deref() == Some(who);
            seen.iter().filter(theirs).count()
        };
        assert!(of("ana") > 0 && of("bob") > 0, "{seen:#?}");
        assert_eq!(of("ana") + of("bob"), seen.len(), "{seen:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_with_the_token_that_its_client_has_shown_last() {
    let rig = Rig::start(Era::Legacy).await;
    let gateway = gateway(&rig.yaml("token_exchange", "", &rig.auth())).await;
    let (old, new) = (rig.token("ana"), rig.token("ana"));
    assert_ne!(old, new, "signed anew");
    let mut legacy = session(&gateway, bearer(&old)).await;
    assert!(worked(&call_in(&legacy).await));
    let before = rig.seen().last().unwrap().token.clone();
    legacy.extra_headers = bearer(&new);
    assert!(worked(&call_in(&legacy).await));
    let after = rig.seen().last().unwrap().token.clone();
    assert!(before.is_some() && after.is_some() && before != after);
    rig.forget();
    legacy.close().await.unwrap();
    until("the end of the session upstream", async || {
        rig.seen().iter().any(|one| one.method == Method::DELETE)
    })
    .await;
    for one in rig.seen() {
        assert_eq!(one.token, after, "{one:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waited_for_its_caller_goes_on_with_what_they_come_back_with() {
    let rig = Rig::start(Era::Legacy).await;
    let gateway = gateway(&rig.yaml("token_exchange", "", &rig.auth())).await;
    let (old, new) = (rig.token("ana"), rig.token("ana"));
    let asking = json!({ "name": "test_elicitation", "arguments": { "message": "who?" } });
    let first = caller(&gateway, Some(&old));
    let asked = first
        .call("tools/call", asking.clone())
        .await
        .unwrap()
        .message;
    let result = &asked["result"];
    assert_eq!(result["resultType"], "input_required", "{asked}");
    rig.forget();
    let key = result["inputRequests"]
        .as_object()
        .unwrap()
        .keys()
        .next()
        .unwrap();
    let mut again = asking;
    again["requestState"] = result["requestState"].clone();
    let given = json!({ "username": "ana", "email": "ana@example.com" });
    again["inputResponses"] = json!({ key: { "action": "accept", "content": given } });
    let second = caller(&gateway, Some(&new));
    let answer = second.call("tools/call", again).await.unwrap().message;
    assert!(worked(&answer), "{answer}");
    // The answer to the question of the upstream is what is sent for the second request.
    let sent = rig.seen();
    assert!(!sent.is_empty());
    let tokens: Vec<_> = sent.iter().map(|one| one.token.clone()).collect();
    assert!(worked(&call(&second).await));
    let theirs = rig.seen().last().unwrap().token.clone();
    assert!(tokens.iter().all(|token| *token == theirs), "{sent:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_first_calls_ask_for_one_token() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = gateway(&rig.yaml("token_exchange", "", &rig.auth())).await;
    let before = rig.requests();
    rig.provider
        .issue(TokenMood::Slow(Duration::from_millis(300)));
    let token = rig.token("ana");
    let caller = caller(&gateway, Some(&token));
    let calls = (0..40).map(|_| call(&caller));
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(worked), "{answers:?}");
    assert_eq!(rig.requests(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_replaced_before_they_end_and_no_call_fails_of_it() {
    let rig = Rig::start(Era::Modern).await;
    rig.provider.issue_for(Duration::from_secs(4));
    let gateway = gateway(&rig.yaml("token_exchange", "", &rig.auth())).await;
    let token = rig.token("ana");
    let caller = caller(&gateway, Some(&token));
    assert!(worked(&call(&caller).await));
    rig.provider
        .issue(TokenMood::Slow(Duration::from_millis(150)));
    let begun = Instant::now();
    let mut calls = 0_u32;
    while begun.elapsed() < Duration::from_secs(9) {
        let answer = call(&caller).await;
        assert!(worked(&answer), "{answer}");
        calls += 1;
    }
    let theirs =
        |form: &std::collections::BTreeMap<String, String>| form.contains_key("subject_token");
    let asked = rig.provider.token_requests();
    let asked = asked.iter().filter(|form| theirs(form)).count();
    assert!((3..=6).contains(&asked), "{asked} for {calls} calls");
    let good = |one: &Seen| one.speaks_for.is_some();
    assert!(rig.seen().iter().all(good), "the upstream refused none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_upstream_does_not_accept_is_replaced_once() {
    let rig = Rig::start(Era::Legacy).await;
    let gateway = gateway(&rig.yaml("client_credentials", "", "")).await;
    let caller = caller(&gateway, None);
    assert!(worked(&call(&caller).await));
    assert_eq!(rig.requests(), 1);
    // A token that was fetched a moment ago is not replaced.
    tokio::time::sleep(Duration::from_millis(2100)).await;
    rig.provider.revoke();
    rig.forget();
    assert!(worked(&call(&caller).await), "it was called again");
    assert_eq!(rig.requests(), 2);
    let refused = rig
        .seen()
        .iter()
        .filter(|one| one.speaks_for.is_none())
        .count();
    assert_eq!(refused, 1);

    // Where no token is accepted, not every call asks for another one.
    rig.provider.issue_for(Duration::ZERO);
    rig.provider
        .issue(TokenMood::Member("expires_in", json!(300)));
    tokio::time::sleep(Duration::from_millis(2100)).await;
    rig.provider.revoke();
    for _ in 0..5 {
        let answer = call(&caller).await;
        assert_eq!(answer["error"]["data"]["kind"], "status", "{answer}");
    }
    assert!(rig.requests() <= 4, "{}", rig.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_access_token_is_told_so() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = gateway(&rig.yaml("token_exchange", "", "")).await;
    let answer = call(&caller(&gateway, None)).await;
    let error = &answer["error"];
    assert_eq!(error["data"]["kind"], "credentials", "{answer}");
    assert_eq!(error["data"]["retryable"], false);
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("on behalf of those who have an access token"),
        "{message}"
    );
    assert_eq!(rig.requests(), 1, "nothing was asked for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorization_server_that_refuses_is_quoted_to_the_operator_alone() {
    let rig = Rig::start(Era::Modern).await;
    let yaml = rig.yaml("token_exchange", "", &rig.auth());
    let mut gateway = gateway(&yaml).await;
    let bad = json!({
        "error": "invalid_request",
        "error_description": format!("no exchange of {}", rig.token("ana")),
    });
    rig.provider.issue(TokenMood::Says(400, bad.to_string()));
    let token = rig.token("ana");
    let answer = call(&caller(&gateway, Some(&token))).await;
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("in exchange for yours"), "{message}");
    assert!(!answer.to_string().contains("invalid_request"), "{answer}");
    let line = ["there is no access token for the upstream"];
    let logged = gateway.logged(&line, SOON).await.unwrap();
    assert!(
        logged.contains("invalid_request: no exchange of ***"),
        "{logged}"
    );
    assert!(!gateway.output().contains(&token));
    let refused = r#"mcp_token_requests_total{upstream="fix",outcome="refused"}"#;
    assert_eq!(sample(&gateway, refused).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorization_server_that_is_down_fails_calls_and_is_left_alone() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = gateway(&rig.yaml("token_exchange", "", &rig.auth())).await;
    let (ana, bob) = (rig.token("ana"), rig.token("bob"));
    let served = caller(&gateway, Some(&ana));
    assert!(worked(&call(&served).await));
    rig.provider.issue(TokenMood::Down);
    let before = rig.requests();
    for _ in 0..20 {
        let answer = call(&caller(&gateway, Some(&bob))).await;
        let error = &answer["error"];
        assert_eq!(error["data"]["kind"], "credentials", "{answer}");
        assert_eq!(error["data"]["retryable"], true);
        assert!(worked(&call(&served).await), "who has a token is served");
    }
    // Now, after a second, after two more.
    assert!(rig.requests() <= before + 4, "{}", rig.requests());
    rig.provider.issue(TokenMood::Fine);
    until("a token again", async || {
        worked(&call(&caller(&gateway, Some(&bob))).await)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_client_secret_is_used_at_once_and_tokens_stay() {
    let rig = Rig::start(Era::Modern).await;
    let yaml = rig.yaml("token_exchange", "", &rig.auth());
    let gateway = gateway(&yaml).await;
    let (ana, bob) = (rig.token("ana"), rig.token("bob"));
    assert!(worked(&call(&caller(&gateway, Some(&ana))).await));
    rig.provider.register("gateway", "another-secret");
    let answer = call(&caller(&gateway, Some(&bob))).await;
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("refuses the gateway"), "{message}");
    let before = rig.requests();
    gateway
        .reconfigure(&yaml.replace(SECRET, "another-secret"))
        .unwrap();
    until("the other secret", async || {
        worked(&call(&caller(&gateway, Some(&bob))).await)
    })
    .await;
    assert!(worked(&call(&caller(&gateway, Some(&ana))).await));
    let asked = &rig.provider.token_requests()[before..];
    let good = |form: &&std::collections::BTreeMap<String, String>| {
        form["client_secret"] == "another-secret"
    };
    assert_eq!(
        asked.iter().filter(good).count(),
        1,
        "for bob alone: {asked:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_and_no_token_is_seen_anywhere() {
    let rig = Rig::start(Era::Legacy).await;
    let yaml = rig.yaml("token_exchange", "", &rig.auth());
    let gateway = gateway(&yaml).await;
    let token = rig.token("ana");
    let legacy = session(&gateway, bearer(&token)).await;
    assert!(worked(&call_in(&legacy).await));
    rig.provider.issue(TokenMood::Down);
    let bob = rig.token("bob");
    let failed = call(&caller(&gateway, Some(&bob))).await;
    let metrics = gateway.get("/metrics").await.unwrap().text().await.unwrap();
    let file = gateway.file().to_str().unwrap();
    let explained = finish(command(&["config", "explain", "--config", file])).await;
    let mut secrets = rig.provider.issued_tokens();
    assert!(secrets.len() >= 2);
    secrets.extend([SECRET.to_owned(), token, bob]);
    let places = [
        ("log", gateway.output()),
        ("metrics", metrics),
        ("answer", failed.to_string()),
        ("explain", explained.out),
    ];
    for (place, text) in places {
        assert!(!text.is_empty(), "{place}");
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{secret} in {place}");
        }
    }
}
