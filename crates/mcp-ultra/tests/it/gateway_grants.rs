//! What people have granted is listed and withdrawn, by the admin API and the command line.

use std::{fs, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use mcp_ultra_testkit::{
    authorization::CANARY,
    fixture::Era,
    gateway::Gateway,
    identity::hs256,
    raw::{Answer, Client},
};
use serde_json::{Value, json};

use super::cli::{command, finish};
use crate::{
    gateway_connect::{JWT_SECRET, RESOURCE, Rig, asked, bearer, call, now, worked},
    gateway_rig::SOON,
};

/// Where the admin API listens.
pub(crate) async fn admin(gateway: &mut Gateway) -> String {
    let line = gateway.logged(&["the admin API listens"], SOON).await;
    let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
    let url = line["fields"]["url"].as_str().or(line["url"].as_str());
    url.unwrap().to_owned()
}

pub(crate) fn operator() -> String {
    operator_called("opal")
}

pub(crate) fn operator_called(subject: &str) -> String {
    let claims = json!({
        "iss": "mcp-ultra", "aud": RESOURCE, "sub": subject, "roles": ["operator"],
        "exp": now() + 300,
    });
    let header = json!({ "alg": "HS256", "typ": "JWT" });
    hs256(JWT_SECRET.as_bytes(), &header, &claims)
}

pub(crate) async fn ask(
    admin: &str,
    token: &str,
    method: Method,
    path: &str,
    tag: Option<&str>,
) -> Answer {
    let mut headers = bearer(token);
    if let Some(tag) = tag {
        let name = HeaderName::from_static("if-match");
        headers.insert(name, HeaderValue::try_from(tag).unwrap());
    }
    let client = Client::new(format!("{admin}{path}"));
    client.request(method, headers, Bytes::new()).await.unwrap()
}

pub(crate) async fn grants(admin: &str, query: &str) -> Vec<Value> {
    let path = format!("/api/v1/grants{query}");
    let answer = ask(admin, &operator(), Method::GET, &path, None).await;
    assert_eq!(answer.status, StatusCode::OK);
    let page = answer.json().await.unwrap();
    page["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_is_withdrawn_ends_everywhere() {
    let rig = Rig::start(Era::Modern).await;
    let mut gateway = rig.gateway().await;
    let admin = admin(&mut gateway).await;
    assert!(grants(&admin, "").await.is_empty());
    rig.connect(&gateway, "ana").await;
    rig.connect(&gateway, "bea").await;
    let (ana, bea) = (rig.caller(&gateway, "ana"), rig.caller(&gateway, "bea"));
    assert!(worked(&call(&ana, None).await) && worked(&call(&bea, None).await));

    assert_eq!(grants(&admin, "").await.len(), 2);
    let of_ana = grants(&admin, "?subject=ana").await;
    assert_eq!(of_ana.len(), 1);
    let grant = &of_ana[0];
    assert_eq!(
        (&grant["subject"], &grant["server"], &grant["scopes"]),
        (&json!("ana"), &json!("tickets"), &json!(["tickets:read"]))
    );
    assert!(!grant.to_string().contains(CANARY));
    let path = format!("/api/v1/grants/{}", grant["id"].as_str().unwrap());
    let own = rig.token("ana");
    let refused = ask(&admin, &own, Method::GET, &path, None).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let shown = ask(&admin, &operator(), Method::GET, &path, None).await;
    let tag = shown.header("etag").unwrap().to_owned();
    assert_eq!(shown.json().await.unwrap(), *grant);

    let withdraw = async |tag: Option<&str>, query: &str| {
        let path = format!("{path}{query}");
        ask(&admin, &operator(), Method::DELETE, &path, tag).await
    };
    assert_eq!(withdraw(None, "").await.status, 428);
    assert_eq!(withdraw(Some("\"r9\""), "").await.status, 412);
    let dry = withdraw(Some(&tag), "?dry_run=true").await;
    assert_eq!(dry.json().await.unwrap()["revoked"], "not_asked");
    assert!(worked(&call(&ana, None).await), "nothing was done");
    let other = withdraw(Some(&tag), "?tenant=other").await;
    assert_eq!(other.status, StatusCode::NOT_FOUND);
    let done = withdraw(Some(&tag), "").await;
    assert_eq!(done.json().await.unwrap()["revoked"], "yes");
    assert_eq!(rig.server.asked().revoked, 1);

    asked(&call(&ana, None).await);
    assert!(worked(&call(&bea, None).await), "of bea nothing has ended");
    assert_eq!(withdraw(Some(&tag), "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(grants(&admin, "").await.len(), 1);
    rig.connect(&gateway, "ana").await;
    assert!(worked(&call(&ana, None).await));
    assert!(!gateway.output().contains(CANARY));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_comes_too_late_brings_nothing_back() {
    let rig = Rig::start(Era::Modern).await;
    let mut gateway = rig.gateway().await;
    let admin = admin(&mut gateway).await;
    rig.server
        .behave(|conduct| conduct.lifetime = Duration::from_secs(1));
    rig.connect(&gateway, "ana").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let grant = grants(&admin, "").await.remove(0);
    rig.server.behave(|conduct| {
        conduct.takes = Duration::from_secs(1);
        conduct.lifetime = Duration::from_hours(1);
    });
    let ana = rig.caller(&gateway, "ana");
    let withdrawing = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let path = format!("/api/v1/grants/{}", grant["id"].as_str().unwrap());
        ask(&admin, &operator(), Method::DELETE, &path, Some("*")).await
    };
    let (answer, withdrawn) = tokio::join!(call(&ana, None), withdrawing);
    assert_eq!(withdrawn.status, StatusCode::OK);
    asked(&answer);
    asked(&call(&ana, None).await);
    assert!(grants(&admin, "").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grant_commands_do_the_same() {
    let rig = Rig::start(Era::Modern).await;
    let mut gateway = rig.gateway().await;
    let admin = admin(&mut gateway).await;
    rig.connect(&gateway, "ana").await;
    rig.connect(&gateway, "bea").await;
    let run = async |arguments: &[&str]| {
        let mut command = command(&[&["grant"], arguments].concat());
        command.env("MCP_ULTRA_TOKEN", operator());
        finish(command).await
    };
    let listed = run(&["list", "--admin", &admin]).await;
    assert_eq!(listed.code, 0, "{}", listed.err);
    assert!(listed.out.contains("ana") && listed.out.contains("tickets"));
    let listed = run(&["list", "--subject", "ana", "--json", "--admin", &admin]).await;
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    let id = listed[0]["id"].as_str().unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    let revoked = run(&["revoke", id, "--admin", &admin]).await;
    assert!(
        revoked.out.contains("has ended its tokens"),
        "{}",
        revoked.err
    );
    asked(&call(&rig.caller(&gateway, "ana"), None).await);
    let again = run(&["revoke", id, "--admin", &admin]).await;
    assert_eq!(again.code, 1, "{}", again.out);

    // On the store itself.
    let file = rig.database().with_file_name("store.yaml");
    let yaml = format!("storage: {{ sqlite: \"{}\" }}\n", rig.database().display());
    fs::write(&file, yaml).unwrap();
    let file = file.to_string_lossy();
    let listed = run(&["list", "--json", "--config", &file]).await;
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(listed[0]["subject"], "bea", "{listed}");
    let id = listed[0]["id"].as_str().unwrap();
    let revoked = run(&["revoke", id, "--config", &file]).await;
    assert!(
        revoked.out.contains("With --admin it stops at once"),
        "{}",
        revoked.err
    );
    let unknown = run(&["revoke", id, "--config", &file]).await;
    assert!(unknown.err.contains("has no grant"), "{}", unknown.err);
    let none = run(&["list", "--config", &file]).await;
    assert!(none.out.contains("has no such grants"), "{}", none.out);
}
