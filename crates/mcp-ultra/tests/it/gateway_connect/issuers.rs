//! Authorization servers and issuers that do not do what they should, or change.

use mcp_ultra_testkit::{authorization::Registered, fixture::Era};

use super::world::{
    CALLBACK, KEY, Rig, almost, asked, call, client, connect, stop, title, with, worked,
};
use crate::gateway_rig::{gateway, until};

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
    assert!(gateway.output().contains("RFC 9207"));
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
    let second = gateway(&yaml).await;
    rig.seat(&browser, &second, "ana");
    let page = browser.open(answer.as_str()).await.unwrap();
    assert_eq!(title(&page), "That answer was not expected");
    assert!(second.output().contains("no longer the configured one"));
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
    let gateway = rig.gateway().await;
    let ana = rig.caller(&gateway, "ana");
    // OpenID Connect says nothing of PKCE: a login needs no promise of it.
    rig.issuer.behave(|conduct| conduct.pkce = None);
    rig.server.behave(|conduct| conduct.pkce = None);
    let (url, _) = asked(&call(&ana, None).await);
    let page = connect(&rig.browser(&gateway, "ana"), &url).await;
    assert_eq!(title(&page), "That did not work");
    assert!(
        gateway
            .output()
            .contains("code_challenge_methods_supported")
    );
    rig.server.behave(|conduct| conduct.pkce = Some("S256"));
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
