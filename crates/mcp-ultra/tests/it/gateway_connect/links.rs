//! Links and their pages: whom they are good for, how often, and what a person reads.

use http::StatusCode;
use mcp_ultra_testkit::{
    browser::{Browser, Page},
    fixture::Era,
};
use serde_json::json;

use super::world::{
    CALLBACK, ORIGIN, Rig, almost, asked, call, connect, params, title, with, worked,
};
use crate::gateway_rig::{SOON, gateway, until};

#[tokio::test(flavor = "multi_thread")]
async fn whoever_follows_the_link_of_somebody_else_connects_nothing() {
    for alone in [false, true] {
        let rig = if alone {
            Rig::alone(Era::Modern).await
        } else {
            Rig::start(Era::Modern).await
        };
        let mut gateway = rig.gateway().await;
        let ana = rig.caller(&gateway, "ana");
        let (url, _) = asked(&call(&ana, None).await);
        let page = connect(&rig.browser(&gateway, "bea"), &url).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN);
        assert_eq!(title(&page), "This link is somebody else's");
        let (url, _) = asked(&call(&ana, None).await);
        asked(&call(&rig.caller(&gateway, "bea"), None).await);
        if !alone {
            assert_eq!(rig.server.asked().approved, 0, "bea was never sent there");
        }
        let line = "the link of somebody else";
        gateway.logged(&[line], SOON).await.unwrap();
        // And the one who has called can.
        let page = connect(&rig.browser(&gateway, "ana"), &url).await;
        assert_eq!(title(&page), "Connected", "{}", page.text);
        rig.forget();
        assert!(worked(&call(&ana, None).await));
        assert_eq!(rig.callers(), ["ana"]);
        asked(&call(&rig.caller(&gateway, "bea"), None).await);
    }
}

/// The last leg is as dangerous as the first: its link could be passed on too.
#[tokio::test(flavor = "multi_thread")]
async fn the_way_is_of_one_browser_from_its_beginning_to_its_end() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    let ana = rig.caller(&gateway, "ana");
    let (url, _) = asked(&call(&ana, None).await);
    let (hers, other) = (rig.browser(&gateway, "ana"), rig.browser(&gateway, "bea"));
    let answer = almost(&hers, &url).await;
    let page = other.open(answer.as_str()).await.unwrap();
    assert_eq!(title(&page), "Not the browser that began");
    // With cookies of their own begun flow, too.
    let (url, _) = asked(&call(&rig.caller(&gateway, "bea"), None).await);
    let own = almost(&other, &url).await;
    let page = other.open(answer.as_str()).await.unwrap();
    assert_eq!(title(&page), "Not the browser that began");
    assert_eq!(rig.server.asked().redeemed, 0);
    // Cookies that somebody has made up.
    let forger = rig.browser(&gateway, "ana");
    for (name, value) in hers.cookies(ORIGIN).unwrap() {
        let forged = if name.contains("flow") {
            own.query().unwrap()
        } else {
            &value
        };
        forger.has(ORIGIN, &name, &forged[..20]).unwrap();
    }
    let page = forger.open(answer.as_str()).await.unwrap();
    assert_eq!(title(&page), "Not the browser that began");
    asked(&call(&ana, None).await);
    // Nothing of it was used up.
    let page = hers.open(answer.as_str()).await.unwrap();
    assert_eq!(title(&page), "Connected", "{}", page.text);
    assert!(worked(&call(&ana, None).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn links_and_answers_are_good_once_and_as_they_are() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    let ana = rig.caller(&gateway, "ana");
    let (url, _) = asked(&call(&ana, None).await);
    let browser = rig.browser(&gateway, "ana");
    for bad in [
        format!("{ORIGIN}/connect/nonsense"),
        url[..url.len() - 2].to_owned(),
        url.replace("/connect/", "/connect/A"),
        format!("{CALLBACK}?code=c"),
    ] {
        let page = browser.open(&bad).await.unwrap();
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    // A consent of another browser, and one to another link.
    let start = browser.open(&url).await.unwrap();
    let stranger = rig.browser(&gateway, "ana");
    let page = stranger.send(&start).await.unwrap();
    assert_eq!(title(&page), "Not the browser that began");
    let (other, _) = asked(&call(&ana, None).await);
    let mut swapped = browser.open(&other).await.unwrap();
    swapped.url = start.url.clone();
    let page = browser.send(&swapped).await.unwrap();
    assert_eq!(title(&page), "Not the browser that began");

    let answer = almost(&browser, &url).await;
    let state = answer
        .query_pairs()
        .find(|(name, _)| name == "state")
        .unwrap()
        .1;
    let mut changed = state.to_string();
    let middle = changed.len() / 2;
    let with_other = if &changed[middle..=middle] == "A" {
        "B"
    } else {
        "A"
    };
    changed.replace_range(middle..=middle, with_other);
    for bad in [
        with(&answer, "state", Some(&changed)),
        with(&answer, "state", None),
        with(&answer, "state", Some("")),
        format!("{answer}&state={state}"),
        format!("{answer}&code=another"),
    ] {
        let page = browser.open(&bad).await.unwrap();
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    let kept = browser.cookies(ORIGIN).unwrap();
    let page = browser.open(answer.as_str()).await.unwrap();
    assert_eq!(title(&page), "Connected", "{}", page.text);
    let page = browser.open(answer.as_str()).await.unwrap();
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "a second time");
    // Also with the cookies that it had then.
    for (name, value) in kept {
        browser.has(ORIGIN, &name, &value).unwrap();
    }
    let page = browser.open(answer.as_str()).await.unwrap();
    assert_eq!(title(&page), "This link has been used", "a third time");
    let page = browser.send(&start).await.unwrap();
    assert_eq!(title(&page), "This link has been used", "a second time");
    assert_eq!(rig.server.asked().redeemed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_no_is_told_so_and_asked_again() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    let ana = rig.caller(&gateway, "ana");
    rig.server
        .behave(|conduct| conduct.denies = Some("access_denied"));
    let (url, _) = asked(&call(&ana, None).await);
    let browser = Browser::of("pt-BR,pt;q=0.9,en;q=0.5");
    rig.seat(&browser, &gateway, "ana");
    let start = browser.open(&url).await.unwrap();
    assert_eq!(title(&start), "Conectar sua conta");
    for (name, value) in [
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("content-language", "pt-BR"),
        ("x-frame-options", "DENY"),
    ] {
        assert_eq!(start.header(name), value);
    }
    let policy = start.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; form-action 'self'"),
        "{policy}"
    );
    let cookie = start.header("set-cookie");
    assert!(cookie.starts_with("__Host-") && cookie.ends_with("Secure; HttpOnly; SameSite=Lax"));
    let page = browser.agree(&start).await.unwrap();
    assert_eq!(title(&page), "Não conectado");
    let (url, state) = asked(&call(&ana, None).await);

    rig.server
        .behave(|conduct| conduct.denies = Some("server_error"));
    let page = connect(&rig.browser(&gateway, "ana"), &url).await;
    assert_eq!(
        (page.status, title(&page)),
        (StatusCode::BAD_GATEWAY, "That did not work".into())
    );

    // Who does not even follow the link.
    let mut declined = params(Some(&state));
    declined["inputResponses"]["connect"]["action"] = json!("decline");
    let answer = ana.call("tools/call", declined).await.unwrap().message;
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("declined"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_there_only_where_a_server_needs_them() {
    let upstream = crate::gateway_rig::fixture(Era::Modern).await;
    let gateway = gateway(&crate::gateway_rig::only(&upstream.url(), "")).await;
    for path in ["/connect/callback", "/connect/x", "/connect/"] {
        let answer = gateway.get(path).await.unwrap();
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    until("the page", async || {
        gateway.get("/connect/x").await.unwrap().status == StatusCode::BAD_REQUEST
    })
    .await;
    assert_eq!(
        gateway.get("/connect/").await.unwrap().status,
        StatusCode::NOT_FOUND
    );
    let rebound = Browser::default();
    rebound.finds(
        "http://attacker.example",
        gateway.url("").trim_end_matches('/'),
    );
    let page = rebound
        .open("http://attacker.example/connect/x")
        .await
        .unwrap();
    assert_eq!(page.status, StatusCode::FORBIDDEN);
}

/// Mail scanners open links, and people open those that they have used.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_was_used_says_so_before_the_click() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    let (url, _) = asked(&call(&rig.caller(&gateway, "ana"), None).await);
    let browser = rig.browser(&gateway, "ana");
    for _ in 0..3 {
        let looked = rig.browser(&gateway, "bea").open(&url).await.unwrap();
        assert_eq!(
            title(&looked),
            "Connect your account",
            "looking uses nothing up"
        );
    }
    let page = connect(&browser, &url).await;
    assert_eq!(title(&page), "Connected");
    let described = rig.issuer.asked().described;
    for (language, expected) in [
        ("en", "This link has been used"),
        ("pt-BR", "Este link já foi usado"),
    ] {
        let later = Browser::of(language);
        rig.seat(&later, &gateway, "ana");
        let page = later.open(&url).await.unwrap();
        assert_eq!(
            (page.status, title(&page)),
            (StatusCode::BAD_REQUEST, expected.into())
        );
        assert!(
            !page.text.contains("<form"),
            "there is nothing to go on with"
        );
    }
    assert_eq!(
        rig.issuer.asked().described,
        described,
        "nobody was asked for it"
    );
}

/// What a person reads to whoever helps them is in the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_fails_and_the_log_call_the_link_by_one_name() {
    let rig = Rig::start(Era::Modern).await;
    let mut gateway = rig.gateway().await;
    let ana = rig.caller(&gateway, "ana");
    let (url, _) = asked(&call(&ana, None).await);
    let page = connect(&rig.browser(&gateway, "bea"), &url).await;
    assert_eq!(title(&page), "This link is somebody else's");
    let link = reference(&page);
    assert!(!url.contains(&link.replace('-', "")));
    for line in [
        "there is a link for somebody",
        "the link of somebody else",
        "other_person",
    ] {
        gateway.logged(&[line, &link], SOON).await.unwrap();
    }
    // The other one says another name, in the other language too.
    let (url, _) = asked(&call(&ana, None).await);
    rig.server
        .behave(|conduct| conduct.denies = Some("access_denied"));
    let browser = Browser::of("pt-BR");
    rig.seat(&browser, &gateway, "ana");
    let start = browser.open(&url).await.unwrap();
    assert!(!start.text.contains("informe este link"));
    let page = browser.agree(&start).await.unwrap();
    assert!(
        page.text.contains("Se pedir ajuda, informe este link:"),
        "{}",
        page.text
    );
    let other = reference(&page);
    assert_ne!(other, link);
    gateway.logged(&["denied", &other], SOON).await.unwrap();
    // One that can't be opened has a name for this one answer.
    let page = browser
        .open(&format!("{ORIGIN}/connect/nonsense"))
        .await
        .unwrap();
    gateway
        .logged(&["no_link", &reference(&page)], SOON)
        .await
        .unwrap();
}

/// What the page calls the link.
fn reference(page: &Page) -> String {
    let text = page.text.split_once("<code>").unwrap().1;
    let name = text.split_once("</code>").unwrap().0;
    assert_eq!((name.len(), name.find('-')), (9, Some(4)), "{name}");
    name.to_owned()
}
