//! Authorization servers and issuers that do not do what they should, or change.

use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use mcp_ultra_testkit::{
    authorization::{Registered, Says},
    browser::Browser,
    fixture::Era,
};

use super::world::{
    CALLBACK, KEY, Rig, almost, asked, call, client, connect, stop, title, with, worked,
};
use crate::gateway_rig::{SOON, gateway, logs, until};

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_another_authorization_server_is_thrown_away() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    let ana = rig.caller(&gateway, "ana");
    for says in ["https://attacker.example", ""] {
        rig.server
            .behave(|conduct| conduct.says_issuer = Some(says.to_owned()));
        let (url, _) = asked(&call(&ana, None).await);
        let page = connect(&rig.browser(&gateway, "ana"), &url).await;
        assert_eq!(title(&page), "That answer was not expected", "{says}");
    }
    assert_eq!(
        rig.server.asked().redeemed,
        0,
        "no code was shown to anyone"
    );
    logs(&gateway, "RFC 9207").await;
    rig.server.behave(|conduct| conduct.says_issuer = None);
    rig.issuer
        .behave(|conduct| conduct.says_issuer = Some("https://attacker.example".into()));
    let (url, _) = asked(&call(&ana, None).await);
    let page = connect(&rig.browser(&gateway, "ana"), &url).await;
    assert_eq!(title(&page), "That answer was not expected");
    asked(&call(&ana, None).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_was_put_in_is_of_no_use() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    let ana = rig.caller(&gateway, "ana");
    let (url, _) = asked(&call(&ana, None).await);
    let browser = rig.browser(&gateway, "ana");
    let answer = almost(&browser, &url).await;
    let code = rig.server.code_of("gw-tickets", CALLBACK, "mallory");
    let page = browser
        .open(&with(&answer, "code", Some(&code)))
        .await
        .unwrap();
    assert_eq!(title(&page), "That did not work");
    asked(&call(&ana, None).await);
    assert_eq!(rig.server.asked().redeemed, 0);
    assert!(
        !gateway.output().contains(&code),
        "not even a code is logged"
    );
}

/// The configuration changes while a browser is away.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_goes_to_whom_it_was_asked_of() {
    let rig = Rig::start(Era::Modern).await;
    rig.server.register(client("gw-other"));
    let first = rig.gateway().await;
    let (url, _) = asked(&call(&rig.caller(&first, "ana"), None).await);
    let browser = rig.browser(&first, "ana");
    let answer = almost(&browser, &url).await;
    stop(first).await;
    let yaml = rig.yaml(&[KEY]).replace("gw-tickets", "gw-other");
    let mut second = gateway(&yaml).await;
    rig.seat(&browser, &second, "ana");
    let page = browser.open(answer.as_str()).await.unwrap();
    assert_eq!(title(&page), "That answer was not expected");
    let line = "no longer the configured one";
    second.logged(&[line], SOON).await.unwrap();
    rig.connect(&second, "ana").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_token_must_be_for_this_client_and_this_request() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    let ana = rig.caller(&gateway, "ana");
    let page = async || {
        let (url, _) = asked(&call(&ana, None).await);
        connect(&rig.browser(&gateway, "ana"), &url).await
    };
    rig.issuer
        .behave(|conduct| conduct.nonce = Some("of-another-request"));
    assert_eq!(title(&page().await), "That answer was not expected");
    rig.issuer.behave(|conduct| {
        conduct.nonce = None;
        conduct.audience = Some("another-client");
    });
    assert_eq!(title(&page().await), "That answer was not expected");
    assert_eq!(rig.server.asked().approved, 0);
    rig.issuer.behave(|conduct| conduct.audience = None);
    assert_eq!(title(&page().await), "Connected");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorization_server_that_is_no_good_connects_nothing() {
    let rig = Rig::start(Era::Modern).await;
    let mut gateway = rig.gateway().await;
    let ana = rig.caller(&gateway, "ana");
    // OpenID Connect says nothing of PKCE: a login needs no promise of it.
    rig.issuer.behave(|conduct| conduct.pkce = None);
    rig.server.behave(|conduct| conduct.pkce = None);
    let (url, _) = asked(&call(&ana, None).await);
    let page = connect(&rig.browser(&gateway, "ana"), &url).await;
    assert_eq!(title(&page), "That did not work");
    let line = "code_challenge_methods_supported";
    gateway.logged(&[line], SOON).await.unwrap();
    rig.server.behave(|conduct| conduct.pkce = Some("S256"));
    // It is asked again soon, but not with every step.
    let (url, _) = asked(&call(&ana, None).await);
    let page = connect(&rig.browser(&gateway, "ana"), &url).await;
    assert_eq!(title(&page), "That did not work");
    tokio::time::sleep(Duration::from_millis(3100)).await;
    let (url, _) = asked(&call(&ana, None).await);
    let browser = rig.browser(&gateway, "ana");
    let answer = almost(&browser, &url).await;
    rig.server.behave(|conduct| conduct.is_down = true);
    let page = browser.open(answer.as_str()).await.unwrap();
    assert_eq!(title(&page), "That did not work");
    rig.server.behave(|conduct| conduct.is_down = false);
    rig.connect(&gateway, "ana").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_client_secret_is_used_without_a_restart() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    let ana = rig.caller(&gateway, "ana");
    let end = async || {
        let (url, _) = asked(&call(&ana, None).await);
        title(&connect(&rig.browser(&gateway, "ana"), &url).await)
    };
    rig.issuer.register(Registered {
        secret: "another: s3cret".to_owned(),
        ..client("gw-login")
    });
    assert_eq!(end().await, "That did not work");
    let yaml = rig.yaml(&[KEY]);
    let yaml = yaml.replace("gw-login: s3cret", "another: s3cret");
    gateway.reconfigure(&yaml).unwrap();
    until("a login with the other secret", async || {
        end().await == "Connected"
    })
    .await;
    assert!(worked(&call(&ana, None).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_asked_for_once_by_many_people() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    rig.connect(&gateway, "ana").await;
    let described = || [&rig.issuer, &rig.server].map(|at| at.asked().described);
    let first = described();
    // What people are asked at, and where tokens are.
    assert!(
        first.iter().all(|times| (1..=4).contains(times)),
        "{first:?}"
    );
    let connecting = ["bea", "eva", "gil", "rui"].map(|name| rig.connect(&gateway, name));
    join_all(connecting).await;
    assert_eq!(described(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_with_pairwise_subjects_is_named_as_the_reason() {
    let rig = Rig::start(Era::Modern).await;
    let mut gateway = rig.gateway().await;
    let ana = rig.caller(&gateway, "ana");
    let end = async |language: &'static str| {
        let (url, _) = asked(&call(&ana, None).await);
        let browser = Browser::of(language);
        rig.seat(&browser, &gateway, "ana");
        let start = browser.open(&url).await.unwrap();
        browser.agree(&start).await.unwrap()
    };
    // Nothing says that the other name is of the same person.
    rig.issuer
        .behave(|conduct| conduct.pairwise = Some(Says::Nothing));
    let page = end("en").await;
    assert_eq!(title(&page), "This link is somebody else's");
    assert!(page.text.contains("pairwise subjects"), "{}", page.text);
    assert!(page.text.contains("an administrator has to change it"));
    let page = end("pt-BR").await;
    assert_eq!(title(&page), "Este link é de outra pessoa");
    assert!(page.text.contains("um administrador precisa mudar isso"));
    assert!(!gateway.output().contains("pairwise subjects alone"));
    // A gateway that has not asked it before.
    stop(gateway).await;
    rig.issuer
        .behave(|conduct| conduct.pairwise = Some(Says::So));
    gateway = rig.gateway().await;
    let ana = rig.caller(&gateway, "ana");
    let (url, _) = asked(&call(&ana, None).await);
    let page = connect(&rig.browser(&gateway, "ana"), &url).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert_eq!(title(&page), "It is not known who you are");
    gateway
        .logged(&["pairwise subjects alone"], SOON)
        .await
        .unwrap();
    asked(&call(&ana, None).await);
}
