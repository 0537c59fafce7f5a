//! What clients are asked, told and answered, and who can be asked.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use mcp_ultra_testkit::{authorization::CANARY, fixture::Era, identity::hs256};
use nix::sys::signal::Signal;
use serde_json::json;

use super::world::{
    JWT_SECRET, KEY, ORIGIN, RESOURCE, Rig, asked, bearer, call, connect, now, params, title,
    worked,
};
use crate::gateway_rig::{SOON, gateway, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_modern_client_has_its_person_connect_the_server() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    let ana = rig.caller(&gateway, "ana");
    let listed = ana.call("tools/list", json!({})).await.unwrap();
    assert!(listed.result()["tools"].as_array().unwrap().len() > 1);
    let (url, state) = asked(&call(&ana, None).await);
    assert!(!url.contains("ana"));

    // The retry comes while the person is still at it.
    rig.forget();
    let waiting = call(&ana, Some(&state));
    let browsing = async {
        let browser = rig.browser(&gateway, "ana");
        let page = connect(&browser, &url).await;
        assert_eq!(
            (page.status, title(&page)),
            (StatusCode::OK, "Connected".into())
        );
        let kept = browser.cookies(ORIGIN).unwrap();
        assert!(
            kept.iter().all(|(name, _)| !name.contains("flow")),
            "{kept:?}"
        );
    };
    let (answer, ()) = tokio::join!(waiting, browsing);
    assert!(worked(&answer), "{answer}");
    assert!(worked(&call(&ana, None).await), "and is not asked again");
    assert_eq!(rig.callers(), ["ana", "ana"]);

    let request = rig.server.last_request();
    let of = |name: &str| request.get(name).map(String::as_str);
    assert_eq!(of("resource"), Some(&*rig.upstream.url()));
    assert_eq!(of("scope"), Some("tickets:read"));
    assert_eq!(of("code_challenge_method"), Some("S256"));
    assert_eq!(rig.issuer.last_request()["scope"], "openid");

    let bea = rig.caller(&gateway, "bea");
    asked(&call(&bea, None).await);
    assert!(!rig.leaks(), "a token is in the file");
    assert!(!gateway.output().contains(CANARY), "a token is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn few_calls_wait_for_one_person() {
    let rig = Rig::start(Era::Modern).await;
    let mut gateway = rig.gateway().await;
    let ana = rig.caller(&gateway, "ana");
    let (url, state) = asked(&call(&ana, None).await);
    let ana = Arc::new(ana);
    let calls: Vec<_> = (0..6)
        .map(|_| {
            let (ana, state) = (ana.clone(), state.clone());
            tokio::spawn(async move { call(&ana, Some(&state)).await })
        })
        .collect();
    until("two that are answered at once", async || {
        calls.iter().filter(|one| one.is_finished()).count() == 2
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let done = calls.iter().filter(|one| one.is_finished()).count();
    assert_eq!(done, 2, "four wait");
    // Those of somebody else are others.
    let bea = rig.caller(&gateway, "bea");
    let (_, own) = asked(&call(&bea, None).await);
    let more = tokio::time::timeout(Duration::from_secs(1), call(&bea, Some(&own)));
    assert!(more.await.is_err(), "bea waits");
    // A gateway that stops lets them go on elsewhere.
    gateway.signal(Signal::SIGTERM).unwrap();
    let begun = std::time::Instant::now();
    for one in calls {
        assert_ne!(asked(&one.await.unwrap()).0, url, "another link");
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
    gateway.wait(SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legacy_client_is_told_when_its_person_is_done() {
    for era in [Era::Modern, Era::Legacy] {
        let rig = Rig::start(era).await;
        let gateway = rig.gateway().await;
        let session = rig.session(&gateway, "ana", "2025-11-25").await;
        let mut stream = session.stream(None).await.unwrap().events();
        let refused = session.call("tools/call", params(None)).await.unwrap();
        assert_eq!(refused.error_code(), Some(-32042), "{}", refused.message);
        let elicitations = &refused.message["error"]["data"]["elicitations"];
        assert_eq!(elicitations.as_array().unwrap().len(), 1);
        assert_eq!(elicitations[0]["mode"], "url");
        let url = elicitations[0]["url"].as_str().unwrap();
        let page = connect(&rig.browser(&gateway, "ana"), url).await;
        assert_eq!(title(&page), "Connected");
        let told = loop {
            let event = tokio::time::timeout(SOON, stream.message()).await.unwrap();
            let message = event.unwrap().unwrap();
            if message["method"] == "notifications/elicitation/complete" {
                break message;
            }
        };
        assert_eq!(
            told["params"]["elicitationId"],
            elicitations[0]["elicitationId"]
        );
        rig.forget();
        let answer = session.call("tools/call", params(None)).await.unwrap();
        assert!(worked(&answer.message), "{}", answer.message);
        assert!(rig.callers().iter().all(|subject| subject == "ana"));
        session.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_can_not_ask_gets_the_link_in_an_error() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    let mut modern = rig.caller(&gateway, "ana");
    modern.capabilities = json!({ "elicitation": { "form": {} } });
    let session = rig.session(&gateway, "ana", "2025-06-18").await;
    let legacy = session.call("tools/call", params(None)).await.unwrap();
    for (message, code) in [
        (call(&modern, None).await, -32021),
        (legacy.message, -32602),
    ] {
        let error = &message["error"];
        assert_eq!(error["code"], code, "{message}");
        let url = error["data"]["url"].as_str().unwrap();
        assert!(error["message"].as_str().unwrap().contains(url));
        let page = rig.browser(&gateway, "ana").open(url).await.unwrap();
        assert_eq!(title(&page), "Connect your account");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_can_not_log_in_is_told_who_can() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    let claims = json!({ "iss": "mcp-ultra", "aud": RESOURCE, "sub": "robot", "exp": now() + 60 });
    let header = json!({ "alg": "HS256", "typ": "JWT" });
    let token = hs256(JWT_SECRET.as_bytes(), &header, &claims);
    let mut robot = rig.caller(&gateway, "ana");
    robot.extra_headers = bearer(&token);
    let answer = call(&robot, None).await;
    let message = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("log in in a browser"), "{answer}");
    assert!(message.contains(rig.issuer.issuer()), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_person_is_told_so() {
    let rig = Rig::start(Era::Modern).await;
    let yaml = rig.yaml(&[KEY]);
    let issuers = format!("issuers: [{{ issuer: \"{}\" }}]", rig.issuer.issuer());
    let kinds = format!("{issuers}\n  claims: {{ kind: sub }}");
    let gateway = gateway(&yaml.replace(&issuers, &kinds)).await;
    let answer = call(&rig.caller(&gateway, "agent"), None).await;
    let message = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("of the kind agent"), "{answer}");
    asked(&call(&rig.caller(&gateway, "user"), None).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_more_scopes_is_told_of() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    rig.connect(&gateway, "ana").await;
    *rig.lacks.lock().unwrap() = Some("tickets:write");
    let answer = call(&rig.caller(&gateway, "ana"), None).await;
    let error = &answer["error"];
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains("scope \"tickets:write\""), "{answer}");
    assert!(message.contains("credentials.scopes"), "{answer}");
    assert_eq!(error["data"]["kind"], "scope");
    assert_eq!(rig.server.asked().refreshed, 0, "no other token helps");
}
