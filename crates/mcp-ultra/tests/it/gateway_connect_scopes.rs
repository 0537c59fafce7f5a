//! What people are asked for when they connect a server: scopes that are configured later, and
//! those that the server asks for besides.

use mcp_ultra_testkit::{fixture::Era, gateway::Gateway};
use serde_json::Value;

use crate::{
    gateway_connect::{KEY, Rig, asked, call, connect, title, worked},
    gateway_rig::until,
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
