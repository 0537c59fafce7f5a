//! Policies that ask how a caller has logged in: tokens of one subject that tell of other logins,
//! and a session that all of them may use.

use std::{fs, time::Duration};

use http::{HeaderMap, HeaderValue, header};
use mcp_ultra_domain::{Clock as _, SystemClock};
use mcp_ultra_testkit::{
    fixture::{Era, http::Running},
    gateway::Gateway,
    identity::hs256,
    raw::{Reply, legacy::Session, modern::Caller},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    gateway_policy_later::hears,
    gateway_rig::{fixture, gateway, names},
};

const RESOURCE: &str = "https://mcp.example.com/mcp";
const SECRET: &str = "a secret of thirty-two bytes and more";
const WATCHED: &str = "fix+test://watched-resource";

/// What anyone sees, and what only those see who have logged in by more than a password.
const WEAK: [&str; 1] = ["fix_test_simple_text"];
const STRONG: [&str; 3] = [
    "fix_test_echo",
    "fix_test_simple_text",
    "fix_test_trigger_resource_update",
];

const POLICIES: &str = r#"
permit(principal, action in Action::"tools", resource == Tool::"fix_test_simple_text");
permit(principal, action in Action::"tools", resource == Tool::"fix_test_echo")
  when { principal.amr.contains("mfa") };
permit(principal, action in Action::"tools", resource == Tool::"fix_test_trigger_resource_update")
  when { principal.amr.contains("mfa") };
permit(principal, action in Action::"resources", resource)
  when { principal.amr.contains("mfa") };
"#;

struct Rig {
    gateway: Gateway,
    _folder: TempDir,
    _upstream: Running,
}

async fn rig(policies: &str) -> Rig {
    rig_with(policies, "").await
}

/// With more in the section `auth`.
async fn rig_with(policies: &str, auth: &str) -> Rig {
    let upstream = fixture(Era::Legacy).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.cedar");
    fs::write(&file, policies).unwrap();
    let yaml = format!(
        "policy: {{ files: [\"{}\"] }}\nauth: {{ resource: \"{RESOURCE}\", jwt_secret: \"{SECRET}\"{auth} }}\nservers:\n  - {{ name: fix, url: \"{}\" }}\n",
        file.display(),
        upstream.url()
    );
    Rig {
        gateway: gateway(&yaml).await,
        _folder: folder,
        _upstream: upstream,
    }
}

/// Those of ana, with what her token says of her login.
fn headers(login: &Value) -> HeaderMap {
    let mut claims = json!({
        "iss": "mcp-ultra", "aud": RESOURCE, "sub": "ana",
        "exp": SystemClock.now().as_secs() + 600,
    });
    let members = claims.as_object_mut().unwrap();
    members.extend(login.as_object().unwrap().clone());
    let token = hs256(SECRET.as_bytes(), &json!({ "alg": "HS256" }), &claims);
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}

fn by_two() -> HeaderMap {
    headers(&json!({ "amr": ["pwd", "mfa"] }))
}

fn by_password() -> HeaderMap {
    headers(&json!({ "amr": ["pwd"] }))
}

impl Rig {
    fn caller(&self, headers: HeaderMap) -> Caller {
        let mut caller = self.gateway.caller();
        caller.extra_headers = headers;
        caller
    }

    async fn session(&self, headers: HeaderMap) -> Session {
        let client = self.gateway.client();
        Session::open(client, "2025-11-25", json!({}), headers)
            .await
            .unwrap()
    }
}

/// The tools that are listed, and whether one may be called.
fn seen(listed: &Reply, called: &Reply) -> (Vec<String>, bool) {
    let mut names = names(listed, "tools");
    names.sort();
    (names, called.message.get("result").is_some())
}

fn echo() -> Value {
    json!({ "name": "fix_test_echo", "arguments": {} })
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_are_there_for_logins_that_are_strong_enough() {
    let rig = rig(POLICIES).await;
    for (headers, names, may) in [
        (by_two(), &STRONG[..], true),
        (by_password(), &WEAK, false),
        (headers(&json!({})), &WEAK, false),
        // What is not a list of texts is nothing.
        (headers(&json!({ "amr": "mfa" })), &WEAK, false),
    ] {
        let caller = rig.caller(headers);
        let listed = caller.call("tools/list", json!({})).await.unwrap();
        let called = caller.call("tools/call", echo()).await.unwrap();
        let (seen, called) = seen(&listed, &called);
        assert_eq!(
            (seen, called),
            (names.iter().map(|&name| name.to_owned()).collect(), may)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_may_be_too_long_ago() {
    let policies = r#"permit(principal, action, resource == Tool::"fix_test_echo")
        when { principal has authTime && context.time.now.durationSince(principal.authTime) <= duration("15m") };"#;
    let rig = rig(policies).await;
    let now = SystemClock.now().as_secs();
    for (auth_time, may) in [
        (json!(now - 60), true),
        (json!(now - 3600), false),
        // Nobody has logged in an hour from now.
        (json!(now + 3600), false),
        (json!("now"), false),
        (Value::Null, false),
    ] {
        let caller = rig.caller(headers(&json!({ "auth_time": auth_time })));
        let listed = caller.call("tools/list", json!({})).await.unwrap();
        let called = caller.call("tools/call", echo()).await.unwrap();
        let (seen, called) = seen(&listed, &called);
        assert_eq!((seen.len(), called), (usize::from(may), may), "{auth_time}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_by_the_login_of_each_token_that_comes() {
    let rig = rig(POLICIES).await;
    for strong_first in [true, false] {
        let of = |strong| if strong { by_two() } else { by_password() };
        let mut session = rig.session(of(strong_first)).await;
        for strong in [strong_first, !strong_first, strong_first] {
            session.extra_headers = of(strong);
            let listed = session.call("tools/list", json!({})).await.unwrap();
            let called = session.call("tools/call", echo()).await.unwrap();
            let (seen, called) = seen(&listed, &called);
            assert_eq!((seen.len(), called), (if strong { 3 } else { 1 }, strong));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_a_session_hears_by_the_login_that_it_was_opened_with() {
    let rig = rig(POLICIES).await;
    let mut session = rig.session(by_two()).await;
    let subscribed = session.call("resources/subscribe", json!({ "uri": WATCHED }));
    assert!(subscribed.await.unwrap().message.get("result").is_some());
    for strong in [false, true] {
        session.extra_headers = if strong { by_two() } else { by_password() };
        let mut pushed = session.stream(None).await.unwrap().events();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let change = json!({ "name": "fix_test_trigger_resource_update", "arguments": {} });
        let caller = rig.caller(by_two());
        let changed = caller.call("tools/call", change).await.unwrap();
        assert!(
            changed.message.get("result").is_some(),
            "{}",
            changed.message
        );
        assert_eq!(hears(&mut pushed).await, strong);
    }
}

/// What an issuer allowed in detail (RFC 9396) decides where a policy asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_allowed_in_detail_decides() {
    let policies = r#"
        permit(principal, action, resource == Tool::"fix_test_simple_text");
        permit(principal, action, resource == Tool::"fix_test_echo")
          when { principal.authorizationDetails.contains({
            type: "echo", action: "call", location: "https://mcp.example.com/mcp", identifier: "", more: false }) };"#;
    let rig = rig(policies).await;
    let detail = |rest: Value| {
        let mut detail = json!({
            "type": "echo", "actions": ["call", "read"], "locations": [RESOURCE],
        });
        let members = detail.as_object_mut().unwrap();
        members.extend(rest.as_object().unwrap().clone());
        json!([{ "type": "other" }, detail])
    };
    for (details, may) in [
        (detail(json!({})), true),
        (detail(json!({ "actions": ["read"] })), false),
        (
            detail(json!({ "locations": ["https://other.example.com"] })),
            false,
        ),
        (detail(json!({ "type": "echoes" })), false),
        // It may be narrower than the policy knows.
        (detail(json!({ "datatypes": ["x"] })), false),
        (detail(json!({ "identifier": "7" })), false),
        (json!([]), false),
    ] {
        let headers = headers(&json!({ "authorization_details": details }));
        let caller = rig.caller(headers);
        let listed = caller.call("tools/list", json!({})).await.unwrap();
        let called = caller.call("tools/call", echo()).await.unwrap();
        let (names, called) = seen(&listed, &called);
        let listed = names.contains(&"fix_test_echo".to_owned());
        assert_eq!((listed, called), (may, may), "{details}");
    }
    // What can't be read is answered as any bad token.
    let bad = headers(&json!({ "authorization_details": [{ "actions": ["call"] }] }));
    let mut expired = HeaderMap::new();
    expired.insert(
        header::AUTHORIZATION,
        HeaderValue::from_static("Bearer a.b.c"),
    );
    let mut answers = Vec::new();
    for headers in [bad, expired] {
        let caller = rig.caller(headers);
        let answer = caller.send(caller.prepare("tools/list", json!({}))).await;
        let answer = answer.unwrap();
        let challenge = answer.headers.get(header::WWW_AUTHENTICATE).cloned();
        answers.push((
            answer.status.as_u16(),
            challenge,
            answer.text().await.unwrap(),
        ));
    }
    assert_eq!(answers[0].0, 401);
    assert_eq!(answers[0], answers[1]);
}

/// What is asked of every login, the client is told (RFC 9470).
#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_which_login_is_needed() {
    let auth = ", acr_values: [gold, silver], max_age: 5m, required_scopes: [use]";
    let rig = rig_with("permit(principal, action, resource);", auth).await;
    let now = SystemClock.now().as_secs();
    let send = async |claims: Value| {
        let caller = rig.caller(headers(&claims));
        let prepared = caller.prepare("tools/list", json!({}));
        let answer = caller.send(prepared).await.unwrap();
        let challenge = answer.headers.get(header::WWW_AUTHENTICATE);
        let challenge = challenge.map(|value| value.to_str().unwrap().to_owned());
        (answer.status.as_u16(), challenge.unwrap_or_default())
    };
    let good = |change: Value| {
        let mut claims = json!({ "scope": "use", "acr": "silver", "auth_time": now - 60 });
        let members = claims.as_object_mut().unwrap();
        members.extend(change.as_object().unwrap().clone());
        claims
    };
    assert_eq!(send(good(json!({}))).await, (200, String::new()));
    for change in [
        json!({ "acr": "bronze" }),
        json!({ "acr": null }),
        json!({ "auth_time": now - 3600 }),
        json!({ "auth_time": null }),
        json!({ "acr": "bronze", "auth_time": now - 3600 }),
    ] {
        let (status, challenge) = send(good(change.clone())).await;
        assert_eq!(status, 401, "{change}");
        let expected = "Bearer error=\"insufficient_user_authentication\", acr_values=\"gold silver\", max_age=\"300\", resource_metadata=";
        assert!(challenge.starts_with(expected), "{challenge}");
    }
    // Nobody is told to log in who would not get in by it, or who has no good token.
    let (status, challenge) = send(good(json!({ "scope": "", "acr": "bronze" }))).await;
    assert_eq!(status, 403);
    assert!(challenge.contains("insufficient_scope"), "{challenge}");
    let (status, challenge) = send(good(json!({ "aud": "https://x", "acr": "bronze" }))).await;
    assert_eq!(status, 401);
    assert!(challenge.contains("invalid_token"), "{challenge}");
}

/// A stream ends when the login becomes too old for another request.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_age_of_its_login() {
    let auth = ", max_age: 6s, clock_skew: 1s";
    let rig = rig_with("permit(principal, action, resource);", auth).await;
    let now = SystemClock.now().as_secs();
    let caller = rig.caller(headers(&json!({ "auth_time": now })));
    let wanted = json!({ "toolsListChanged": true });
    let mut events = caller.listen(wanted).await.unwrap();
    while let Some(event) = events.next_within(Duration::from_secs(30)).await.unwrap() {
        assert!(!event.data.is_empty());
    }
    assert!(SystemClock.now().as_secs() >= now + 7);
    let answer = caller.send(caller.prepare("tools/list", json!({}))).await;
    assert_eq!(answer.unwrap().status.as_u16(), 401);
}
