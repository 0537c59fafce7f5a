//! Lists of servers that people connect.

use mcp_ultra_testkit::fixture::Era;

use super::world::{KEY, Rig};
use crate::gateway_rig::{gateway, logs, until};

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
