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
    let upstream = fixture(Era::Legacy).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.cedar");
    fs::write(&file, policies).unwrap();
    let yaml = format!(
        "policy: {{ files: [\"{}\"] }}\nauth: {{ resource: \"{RESOURCE}\", jwt_secret: \"{SECRET}\" }}\nservers:\n  - {{ name: fix, url: \"{}\" }}\n",
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
