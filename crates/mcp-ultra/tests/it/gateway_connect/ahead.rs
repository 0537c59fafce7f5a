//! Links that are made before anybody has called, by the admin API and the command line.

use http::{HeaderName, HeaderValue, Method, StatusCode};
use mcp_ultra_testkit::{
    fixture::Era,
    raw::{Answer, Client},
};
use serde_json::{Value, json};

use super::world::{Rig, asked, bearer, call, connect, title, worked};
use crate::{
    cli::{command, finish},
    gateway_grants::{admin, operator, operator_called},
    gateway_rig::SOON,
};

pub(super) async fn link(
    admin: &str,
    token: &str,
    once: &str,
    query: &str,
    body: &Value,
) -> Answer {
    let mut headers = bearer(token);
    for (name, value) in [
        ("idempotency-key", once),
        ("content-type", "application/json"),
    ] {
        let name = HeaderName::from_static(name);
        headers.insert(name, HeaderValue::try_from(value).unwrap());
    }
    let client = Client::new(format!("{admin}/api/v1/grants/links{query}"));
    let body = body.to_string().into();
    client.request(Method::POST, headers, body).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_made_for_one_person_who_has_not_called() {
    let rig = Rig::start(Era::Modern).await;
    let mut gateway = rig.gateway().await;
    let admin = admin(&mut gateway).await;
    let body = json!({ "server": "tickets", "issuer": rig.issuer.issuer(), "subject": "ana" });
    let (own, operator) = (rig.token("ana"), operator());

    let dry = link(&admin, &operator, "k0", "?dry_run=true", &body).await;
    assert_eq!(dry.status, StatusCode::OK);
    let dry = dry.json().await.unwrap();
    assert_eq!(
        (&dry["url"], &dry["subject"]),
        (&Value::Null, &json!("ana"))
    );
    let made = link(&admin, &operator, "k1", "", &body).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let made = made.json().await.unwrap();
    assert_eq!(
        (&made["subject"], &made["tenant"]),
        (&json!("ana"), &json!("default"))
    );
    let url = made["url"].as_str().unwrap();
    let name = made["reference"].as_str().unwrap();
    gateway
        .logged(&["there is a link for somebody", name], SOON)
        .await
        .unwrap();

    // It gives nobody else anything, and whom it is for what they ask for.
    let page = connect(&rig.browser(&gateway, "bea"), url).await;
    assert_eq!(title(&page), "This link is somebody else's");
    let second = link(&admin, &operator, "k2", "", &body)
        .await
        .json()
        .await
        .unwrap();
    let page = connect(
        &rig.browser(&gateway, "ana"),
        second["url"].as_str().unwrap(),
    )
    .await;
    assert_eq!(title(&page), "Connected", "{}", page.text);
    assert!(worked(&call(&rig.caller(&gateway, "ana"), None).await));
    asked(&call(&rig.caller(&gateway, "bea"), None).await);

    // Sent again it is the same link, which was used.
    let again = link(&admin, &operator, "k2", "", &body)
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(again["reference"], second["reference"]);
    let page = rig
        .browser(&gateway, "ana")
        .open(again["url"].as_str().unwrap())
        .await
        .unwrap();
    assert_eq!(title(&page), "This link has been used");
    let other = json!({ "server": "tickets", "issuer": rig.issuer.issuer(), "subject": "bea" });
    let reused = link(&admin, &operator, "k2", "", &other).await;
    assert_eq!(reused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let reused = link(&admin, &operator, "k2", "?tenant=other", &body).await;
    assert_eq!(
        reused.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "a namesake"
    );
    // The key of somebody else is another one.
    let theirs = link(&admin, &operator_called("olga"), "k2", "", &body).await;
    let theirs = theirs.json().await.unwrap();
    assert!(theirs["reference"].is_string(), "{theirs}");
    assert_ne!(theirs["reference"], second["reference"]);

    for (token, body, status) in [
        (&own, &body, StatusCode::FORBIDDEN),
        (&own, &json!({ "server": "tickets" }), StatusCode::FORBIDDEN),
        (
            &operator,
            &json!({ "server": "tickets" }),
            StatusCode::BAD_REQUEST,
        ),
        (
            &operator,
            &json!({ "server": "tickets", "subject": "ana" }),
            StatusCode::BAD_REQUEST,
        ),
        (
            &operator,
            &json!({ "server": "tickets", "issuer": "https://other.example", "subject": "ana" }),
            StatusCode::BAD_REQUEST,
        ),
        (
            &operator,
            &json!({ "server": "mail", "issuer": rig.issuer.issuer(), "subject": "ana" }),
            StatusCode::NOT_FOUND,
        ),
    ] {
        let answer = link(&admin, token, "k3", "", body).await;
        assert_eq!(answer.status, status, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_command_makes_one() {
    let rig = Rig::start(Era::Modern).await;
    let mut gateway = rig.gateway().await;
    let admin = admin(&mut gateway).await;
    let issuer = rig.issuer.issuer();
    let run = async |more: &[&str]| {
        let link = [
            "grant",
            "link",
            "tickets",
            "--issuer",
            issuer,
            "--subject",
            "ana",
        ];
        let mut command = command(&[&link[..], &["--admin", &*admin], more].concat());
        command.env("MCP_ULTRA_TOKEN", operator());
        finish(command).await
    };
    let made = run(&["--json"]).await;
    assert_eq!(made.code, 0, "{}", made.err);
    let made: Value = serde_json::from_str(&made.out).unwrap();
    let page = connect(&rig.browser(&gateway, "ana"), made["url"].as_str().unwrap()).await;
    assert_eq!(title(&page), "Connected", "{}", page.text);
    let shown = run(&[]).await;
    assert!(
        shown.out.contains("/connect/") && shown.out.contains("as ana"),
        "{}",
        shown.out
    );
}
