//! What people are asked for when they connect a server: scopes that are configured later, and
//! those that the server asks for besides.

use std::{sync::atomic::Ordering, time::Duration};

use mcp_ultra_testkit::{fixture::Era, gateway::Gateway};
use serde_json::Value;

use crate::{
    gateway_connect::{KEY, Rig, asked, call, connect, params, title, worked},
    gateway_rig::{gateway, logs, until},
};

impl Rig {
    /// Reloads the gateway with other scopes, and calls until the caller is asked: the link.
    async fn asks_for(&self, gateway: &Gateway, subject: &str, scopes: &str) -> String {
        let yaml = self.yaml(&[KEY]);
        let yaml = yaml.replace("scopes: [tickets:read]", &format!("scopes: [{scopes}]"));
        gateway.reconfigure(&yaml).unwrap();
        let caller = self.caller(gateway, subject);
        let mut answer = Value::Null;
        until("a call to be answered with a link", async || {
            answer = call(&caller, None).await;
            !worked(&answer)
        })
        .await;
        asked(&answer).0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_that_are_added_are_asked_for_once() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    rig.connect(&gateway, "ana").await;
    let ana = rig.caller(&gateway, "ana");
    assert!(worked(&call(&ana, None).await));

    let url = rig
        .asks_for(&gateway, "ana", "tickets:read, tickets:write")
        .await;
    // Who grants less than is asked for is not asked in a circle.
    rig.server
        .behave(|conduct| conduct.grants = Some("tickets:read"));
    let page = connect(&rig.browser(&gateway, "ana"), &url).await;
    assert_eq!(title(&page), "Connected", "{}", page.text);
    let scope = rig.server.last_request()["scope"].clone();
    assert_eq!(scope, "tickets:read tickets:write");
    assert!(worked(&call(&ana, None).await));

    // Fewer than were asked for are enough.
    gateway.reconfigure(&rig.yaml(&[KEY])).unwrap();
    until("the reload", async || {
        let line = "the new configuration is in force";
        gateway.output().matches(line).count() >= 2
    })
    .await;
    assert!(worked(&call(&ana, None).await));
    assert_eq!(rig.server.asked().approved, 2);
}

/// What a server may have its callers asked for besides.
const STEP_UP: &str = "scopes: [tickets:read]
      step_up_scopes: [tickets:write, tickets:close]";

impl Rig {
    async fn that_steps_up(&self) -> Gateway {
        let yaml = self.yaml(&[KEY]);
        gateway(&yaml.replace("scopes: [tickets:read]", STEP_UP)).await
    }

    fn needs(&self, scope: Option<&'static str>) {
        *self.lacks.lock().unwrap() = scope;
    }

    /// The scopes of the last request of a browser for access to the server.
    fn scopes(&self) -> String {
        self.server.last_request()["scope"].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_needs_more_has_its_caller_asked_for_it() {
    for era in [Era::Modern, Era::Legacy] {
        let rig = Rig::start(era).await;
        let gateway = rig.that_steps_up().await;
        rig.connect(&gateway, "ana").await;
        assert_eq!(rig.scopes(), "tickets:read");
        let ana = rig.caller(&gateway, "ana");
        assert!(worked(&call(&ana, None).await));

        rig.needs(Some("tickets:write"));
        let (url, state) = asked(&call(&ana, None).await);
        let early = tokio::time::timeout(Duration::from_secs(1), call(&ana, Some(&state)));
        assert!(early.await.is_err(), "it waits for its person");
        let browser = rig.browser(&gateway, "ana");
        let start = browser.open(&url).await.unwrap();
        assert!(start.text.contains("tickets:write"), "{}", start.text);
        let page = connect(&browser, &url).await;
        assert_eq!(title(&page), "Connected", "{}", page.text);
        assert_eq!(rig.scopes(), "tickets:read tickets:write");
        assert!(worked(&call(&ana, Some(&state)).await), "{era:?}");

        // Something else: what they were asked for before is asked for too.
        rig.needs(Some("tickets:close"));
        let (url, _) = asked(&call(&ana, None).await);
        let page = connect(&rig.browser(&gateway, "ana"), &url).await;
        assert_eq!(title(&page), "Connected", "{}", page.text);
        assert_eq!(rig.scopes(), "tickets:read tickets:close tickets:write");
        for scope in ["tickets:read", "tickets:write", "tickets:close"] {
            rig.needs(Some(scope));
            assert!(worked(&call(&ana, None).await), "{era:?} {scope}");
        }

        // A client of before.
        rig.needs(None);
        rig.connect(&gateway, "bea").await;
        rig.needs(Some("tickets:write"));
        let session = rig.session(&gateway, "bea", "2025-11-25").await;
        let refused = session.call("tools/call", params(None)).await.unwrap();
        assert_eq!(refused.error_code(), Some(-32042), "{}", refused.message);
        let url = &refused.message["error"]["data"]["elicitations"][0]["url"];
        let browser = rig.browser(&gateway, "bea");
        let page = connect(&browser, url.as_str().unwrap()).await;
        assert_eq!(title(&page), "Connected", "{}", page.text);
        let answer = session.call("tools/call", params(None)).await.unwrap();
        assert!(worked(&answer.message), "{}", answer.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_server_gets_more_than_its_operator_and_its_caller_agree_to() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.that_steps_up().await;
    rig.connect(&gateway, "ana").await;
    let ana = rig.caller(&gateway, "ana");
    let refused = async || {
        let answer = call(&ana, None).await;
        assert_eq!(answer["error"]["data"]["kind"], "scope", "{answer}");
        answer["error"]["message"].as_str().unwrap().to_owned()
    };
    for scopes in ["mail:read", "tickets:write mail:read", ""] {
        rig.needs(Some(scopes));
        let message = refused().await;
        assert!(
            message.contains("credentials.step_up_scopes"),
            "{scopes}: {message}"
        );
    }
    // Who was asked and has not granted it is not asked in a circle.
    rig.needs(Some("tickets:write"));
    rig.server
        .behave(|conduct| conduct.grants = Some("tickets:read"));
    let (url, _) = asked(&call(&ana, None).await);
    let page = connect(&rig.browser(&gateway, "ana"), &url).await;
    assert_eq!(title(&page), "Connected", "{}", page.text);
    let message = refused().await;
    assert!(message.contains("you were asked already"), "{message}");
    assert_eq!(rig.server.asked().approved, 2);
}

/// Also what people were asked for before is asked for again only for as long as it may be.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_no_longer_agrees_to_is_not_asked_for_again() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.that_steps_up().await;
    rig.connect(&gateway, "ana").await;
    let ana = rig.caller(&gateway, "ana");
    rig.needs(Some("tickets:write"));
    let (url, _) = asked(&call(&ana, None).await);
    let page = connect(&rig.browser(&gateway, "ana"), &url).await;
    assert_eq!(title(&page), "Connected", "{}", page.text);
    assert_eq!(rig.scopes(), "tickets:read tickets:write");

    let less = "scopes: [tickets:read]\n      step_up_scopes: [tickets:close]";
    let yaml = rig.yaml(&[KEY]);
    gateway
        .reconfigure(&yaml.replace("scopes: [tickets:read]", less))
        .unwrap();
    logs(&gateway, "the new configuration is in force").await;
    rig.needs(Some("tickets:close"));
    let (url, _) = asked(&call(&ana, None).await);
    let page = connect(&rig.browser(&gateway, "ana"), &url).await;
    assert_eq!(title(&page), "Connected", "{}", page.text);
    let scopes = rig.scopes();
    assert!(!scopes.contains("tickets:write"), "{scopes}");
    // Nor is a call made with it.
    rig.needs(Some("tickets:write"));
    let refused = call(&ana, None).await;
    assert_eq!(refused["error"]["data"]["kind"], "scope", "{refused}");
}

/// The one who calls comes to another gateway, which still holds the token of before.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_granted_by_way_of_another_gateway_counts() {
    let rig = Rig::start(Era::Modern).await;
    let (one, other) = (rig.that_steps_up().await, rig.that_steps_up().await);
    rig.connect(&one, "ana").await;
    let here = rig.caller(&one, "ana");
    let there = rig.caller(&other, "ana");
    assert!(worked(&call(&here, None).await) && worked(&call(&there, None).await));
    rig.needs(Some("tickets:write"));
    let (url, _) = asked(&call(&here, None).await);
    let page = connect(&rig.browser(&one, "ana"), &url).await;
    assert_eq!(title(&page), "Connected", "{}", page.text);
    assert!(worked(&call(&there, None).await));
}

/// Nobody has asked for what the gateway does first to find out how a server is spoken to.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateways_own_token_lacks_nobody_is_asked_for() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.that_steps_up().await;
    rig.connect(&gateway, "ana").await;
    rig.needs(Some("tickets:write"));
    rig.lacks_own.store(true, Ordering::SeqCst);
    let session = rig.session(&gateway, "ana", "2025-11-25").await;
    let answer = session.call("tools/call", params(None)).await.unwrap();
    let kind = &answer.message["error"]["data"]["kind"];
    assert_eq!(kind, "status", "{}", answer.message);
}
