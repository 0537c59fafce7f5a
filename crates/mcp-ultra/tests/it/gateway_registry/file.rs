//! What becomes of the registry when the file says something else, and what it is without one.

use http::Method;
use mcp_ultra_testkit::fixture::Era;
use serde_json::{Value, json};

use super::SERVER;
use crate::{
    cli::run,
    gateway_admin::{Ask, Rig, rig_with},
    gateway_rig::{SOON, fixture, gateway, until},
};

const ON: &str =
    "registry: { enabled: true, poll: 100ms }\noutbound: { allow_addresses: [127.0.0.0/8] }\n";

fn ask<'r>(rig: &'r Rig, method: Method, path: &str) -> Ask<'r> {
    let operator = rig.token("acme", "olga", &["operator"]);
    rig.ask(&operator, method, path)
}

async fn put(rig: &Rig, path: &str, text: &str) -> u16 {
    let put = ask(rig, Method::PUT, path).with("if-none-match", "*");
    let answer = put.json(&json!({ "text": text })).send().await;
    answer.status.as_u16()
}

async fn shown(rig: &Rig) -> Value {
    ask(rig, Method::GET, SERVER)
        .send()
        .await
        .json()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_wins_and_what_does_not_go_with_it_leaves_everything_as_it_was() {
    let mut rig = rig_with("", ON, &[]).await;
    let crm = fixture(Era::Dual).await;
    let text = format!("url: \"{}\"\nprefix: c\n", crm.url());
    assert_eq!(put(&rig, SERVER, &text).await, 200);
    assert_eq!(shown(&rig).await["source"], "registry");
    let file = std::fs::read_to_string(rig.gateway.file()).unwrap();
    // The file has it now.
    let has = format!("{file}  - {{ name: crm, url: \"{}\" }}\n", crm.url());
    rig.gateway.reconfigure(&has).unwrap();
    let told = ["an entry of the registry is not used", "crm"];
    let line = rig.gateway.logged(&told, SOON).await;
    assert!(line.is_ok(), "{}", rig.gateway.output());
    until("it is shown", async || {
        shown(&rig).await["shadowed_by_file"] == true
    })
    .await;
    let now = shown(&rig).await;
    assert_eq!(
        (&now["source"], &now["text"]),
        (&json!("file"), &json!(text))
    );
    let metrics = rig.gateway.get("/metrics").await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("mcp_registry_shadowed 1"), "{metrics}");
    assert_eq!(put(&rig, SERVER, "url: https://x.example.com/").await, 409);
    // It has not any more, and then a server with the prefix of the one in the registry.
    rig.gateway.reconfigure(&file).unwrap();
    until("it is in force again", async || {
        shown(&rig).await["source"] == "registry"
    })
    .await;
    let clash = format!(
        "{file}  - {{ name: d, url: \"{}\", prefix: c }}\n",
        crm.url()
    );
    rig.gateway.reconfigure(&clash).unwrap();
    let told = ["the new configuration is refused", "registry/servers/crm"];
    let line = rig.gateway.logged(&told, SOON).await;
    assert!(line.is_ok(), "{}", rig.gateway.output());
    assert_eq!(shown(&rig).await["source"], "registry");
    // A gateway does not start with what the other one has refused, and names the entry.
    let late = rig.folder.path().join("late.yaml");
    std::fs::write(&late, &clash).unwrap();
    let late = run(&["serve", "--port", "0", "--config", &late.to_string_lossy()]).await;
    assert_eq!(late.code, 2, "{}", late.err);
    for part in ["registry/servers/crm", "registry.enabled: false"] {
        assert!(late.err.contains(part), "{}", late.err);
    }
    gateway(&clash.replace("enabled: true, poll", "enabled: false, poll")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_added_to_those_of_the_file_alone() {
    let rig = rig_with("", ON, &[]).await;
    let policy = "/api/v1/policies/all";
    let refused = ask(&rig, Method::PUT, policy).with("if-none-match", "*");
    let text = json!({ "text": "permit(principal, action, resource);" });
    let answer = refused.json(&text).send().await;
    assert_eq!(answer.status, 400);
    let said = answer.json().await.unwrap();
    let detail = said["detail"].as_str().unwrap();
    assert!(detail.contains("name some in policy.files first"), "{said}");
    // Flags need none.
    let flag = json!({
        "state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
        "metadata": {"owner": "ops", "expires": "2999-01-01"},
    });
    let switch = "/api/v1/flags/server.fix.enabled";
    assert_eq!(put(&rig, switch, &flag.to_string()).await, 200);
    let list = ask(&rig, Method::GET, "/api/v1/flags").send().await;
    let list: Value = list.json().await.unwrap();
    assert_eq!(list["items"][0]["name"], "server.fix.enabled");
    // A server is not reached at an inside address that nobody has allowed.
    let inside = rig_with("", "registry: { enabled: true }\n", &[]).await;
    let crm = fixture(Era::Dual).await;
    let text = format!("url: \"{}\"\n", crm.url());
    assert_eq!(put(&inside, SERVER, &text).await, 200);
    until("it is refused", async || {
        let metrics = inside.gateway.get("/metrics").await.unwrap();
        let metrics = metrics.text().await.unwrap();
        metrics.contains("mcp_upstream_up{upstream=\"crm\"} 0")
    })
    .await;
    let tenant = rig.token("acme", "tim", &["tenant-admin"]);
    for (method, path) in [
        (Method::GET, "/api/v1/servers"),
        (Method::DELETE, "/api/v1/flags/server.fix.enabled"),
    ] {
        let ask = rig.ask(&tenant, method, path).with("if-match", "*");
        ask.problem(403).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_registry_the_api_says_how_to_have_one() {
    let rig = rig_with("", "", &[]).await;
    for kind in ["servers", "policies", "flags"] {
        let answer = ask(&rig, Method::GET, &format!("/api/v1/{kind}"))
            .send()
            .await;
        assert_eq!(answer.status, 409);
        let said: Value = answer.json().await.unwrap();
        let detail = said["detail"].as_str().unwrap();
        assert!(detail.contains("registry.enabled"), "{said}");
    }
}
