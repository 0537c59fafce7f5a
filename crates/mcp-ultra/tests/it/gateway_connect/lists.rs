//! Lists of servers that people connect.

use http::{Method, StatusCode};
use mcp_ultra_testkit::{fixture::Era, gateway::Gateway, raw::modern::Caller};
use serde_json::json;

use super::{
    ahead,
    world::{KEY, Rig, asked, call, connect, title, worked},
};
use crate::{
    gateway_grants::{admin, ask, grants, operator},
    gateway_rig::{gateway, logs, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_is_told_why_nothing_is_listed() {
    let rig = Rig::start(Era::Modern).await;
    let yaml = rig.yaml(&[KEY]);
    let yaml = yaml.replace("scopes: [tickets:read]", "catalog: none");
    let gateway = gateway(&yaml).await;
    until("the remedy", async || {
        let answer = gateway.get("/readyz").await.unwrap();
        let document = answer.json().await.unwrap();
        let remedy = document["dependencies"][0]["remedy"].as_str();
        remedy.is_some_and(|text| text.contains("servers[].credentials.catalog"))
    })
    .await;
    logs(&gateway, "nobody can be asked to connect it").await;
}

async fn tools(caller: &Caller) -> usize {
    let reply = caller.call("tools/list", json!({})).await.unwrap();
    reply.message["result"]["tools"].as_array().unwrap().len()
}

/// Connects the server for `subject` by a link that was made for them.
async fn connect_ahead(rig: &Rig, gateway: &Gateway, admin: &str, subject: &str) {
    let body = json!({ "server": "tickets", "issuer": rig.issuer.issuer(), "subject": subject });
    let made = ahead::link(admin, &operator(), subject, "", &body).await;
    let made = made.json().await.unwrap();
    let url = made["url"].as_str().unwrap();
    let page = connect(&rig.browser(gateway, subject), url).await;
    assert_eq!(title(&page), "Connected", "{}", page.text);
}

async fn withdraw(admin: &str, subject: &str) {
    let found = grants(admin, &format!("?subject={subject}")).await;
    let path = format!("/api/v1/grants/{}", found[0]["id"].as_str().unwrap());
    let shown = ask(admin, &operator(), Method::GET, &path, None).await;
    let tag = shown.header("etag").unwrap().to_owned();
    let done = ask(admin, &operator(), Method::DELETE, &path, Some(&tag)).await;
    assert_eq!(done.status, StatusCode::OK);
}

async fn lists_follow_the_grants(era: Era) {
    let rig = Rig::start(era).await;
    let first = "scopes: [tickets:read]\n      catalog: first_grant";
    let yaml = rig.yaml(&[KEY]).replace("scopes: [tickets:read]", first);
    let mut gateway = gateway(&format!("{yaml}catalog: {{ refresh: 2s }}\n")).await;
    let admin = admin(&mut gateway).await;
    let (ana, bea) = (rig.caller(&gateway, "ana"), rig.caller(&gateway, "bea"));
    until("the remedy", async || {
        let answer = gateway.get("/readyz").await.unwrap();
        let document = answer.json().await.unwrap();
        let remedy = document["dependencies"][0]["remedy"].as_str();
        remedy.is_some_and(|text| text.contains("mcp-ultra grant link"))
    })
    .await;
    assert_eq!(tools(&ana).await, 0);
    assert!(rig.subjects().is_empty(), "there is nothing to ask with");

    connect_ahead(&rig, &gateway, &admin, "ana").await;
    until("the lists", async || tools(&bea).await > 0).await;
    assert!(rig.subjects().iter().all(|subject| subject == "ana"));
    // What is listed for all is called by each as themselves.
    assert!(worked(&call(&ana, None).await));
    let (url, _) = asked(&call(&bea, None).await);
    assert_eq!(grants(&admin, "").await.len(), 1);
    let page = connect(&rig.browser(&gateway, "bea"), &url).await;
    assert_eq!(title(&page), "Connected", "{}", page.text);
    assert!(worked(&call(&bea, None).await));

    withdraw(&admin, "ana").await;
    until("the lists of bea", async || {
        rig.forget();
        until("a reading", async || !rig.subjects().is_empty()).await;
        rig.subjects().iter().all(|subject| subject == "bea")
    })
    .await;
    assert!(tools(&bea).await > 0 && tools(&ana).await > 0);
    asked(&call(&ana, None).await);
    assert!(worked(&call(&bea, None).await));

    withdraw(&admin, "bea").await;
    assert!(tools(&bea).await > 0, "whoever calls now is asked");
    until("no lists", async || tools(&bea).await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_read_with_what_the_first_has_granted() {
    lists_follow_the_grants(Era::Modern).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_a_legacy_server_are_read_with_what_the_first_has_granted() {
    lists_follow_the_grants(Era::Legacy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_read_with_the_next_where_the_first_is_shown_none() {
    let rig = Rig::start(Era::Modern).await;
    let first = "scopes: [tickets:read]\n      catalog: first_grant";
    let yaml = rig.yaml(&[KEY]).replace("scopes: [tickets:read]", first);
    let mut gateway = gateway(&format!("{yaml}catalog: {{ refresh: 2s }}\n")).await;
    let admin = admin(&mut gateway).await;
    *rig.shuns.lock().unwrap() = Some("ana");
    for subject in ["ana", "bea"] {
        connect_ahead(&rig, &gateway, &admin, subject).await;
        let asked = format!("a reading with the grant of {subject}");
        until(&asked, async || {
            rig.subjects().iter().any(|of| of == subject)
        })
        .await;
    }
    let bea = rig.caller(&gateway, "bea");
    until("the lists", async || tools(&bea).await > 0).await;
    rig.forget();
    until("readings", async || rig.subjects().len() >= 2).await;
    assert!(rig.subjects().iter().all(|subject| subject == "bea"));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_read_with_the_grants_of_those_who_are_named() {
    let rig = Rig::start(Era::Modern).await;
    let named = format!(
        "scopes: [tickets:read]\n      catalog: first_grant\n      catalog_of: [{{ issuer: \"{}\", subject: bea }}]",
        rig.issuer.issuer()
    );
    let yaml = rig.yaml(&[KEY]).replace("scopes: [tickets:read]", &named);
    let mut gateway = gateway(&format!("{yaml}catalog: {{ refresh: 2s }}\n")).await;
    let admin = admin(&mut gateway).await;
    let bea = rig.caller(&gateway, "bea");
    for subject in ["ana", "bea"] {
        assert_eq!(tools(&bea).await, 0);
        assert!(rig.subjects().is_empty(), "nobody's grant is lent");
        connect_ahead(&rig, &gateway, &admin, subject).await;
    }
    until("the lists", async || tools(&bea).await > 0).await;
    assert!(rig.subjects().iter().all(|subject| subject == "bea"));
}

/// And not when they are read again anyway.
#[tokio::test(flavor = "multi_thread")]
async fn lists_are_read_anew_as_soon_as_their_grant_is_withdrawn() {
    let rig = Rig::start(Era::Legacy).await;
    let first = "scopes: [tickets:read]\n      catalog: first_grant";
    let yaml = rig.yaml(&[KEY]).replace("scopes: [tickets:read]", first);
    let mut gateway = gateway(&format!("{yaml}catalog: {{ refresh: 1h }}\n")).await;
    let admin = admin(&mut gateway).await;
    let bea = rig.caller(&gateway, "bea");
    for subject in ["ana", "bea"] {
        connect_ahead(&rig, &gateway, &admin, subject).await;
        until("the lists", async || tools(&bea).await > 0).await;
    }
    assert!(rig.subjects().iter().all(|subject| subject == "ana"));
    withdraw(&admin, "ana").await;
    until("a reading as bea", async || {
        rig.subjects().last().is_some_and(|last| last == "bea")
    })
    .await;
}
