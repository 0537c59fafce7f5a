//! Where the gateway itself connects to, and whom it believes there.

use std::{path::Path, time::Duration};

use mcp_ultra_testkit::{gateway::Gateway, tls::Authority};
use serde_json::json;

use super::{DAY, Mount, in_future, rig, rig_of, rig_with_clients, rules};
use crate::gateway_rig::{SOON, gateway, only, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_at_a_metadata_service_is_not_connected_to() {
    let text = only("http://169.254.169.254/mcp", "log: { level: debug }");
    let binary = Path::new(env!("CARGO_BIN_EXE_mcp-ultra"));
    let mut gateway = Gateway::launch(binary, &text, &[]).await.unwrap();
    let line = gateway
        .logged(&["nowhere that the gateway may connect to"], SOON)
        .await;
    assert!(line.unwrap().contains("metadata"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_shows_a_server_its_certificate() {
    let clients = Authority::new("clients").unwrap();
    let server = rig_with_clients(&clients, "required", None, "").await;
    let own = clients.client("gw.workers.example.com", in_future(DAY));
    let mount = Mount::new(&own.unwrap());
    let ca = mount.file("servers.pem", &server.authority.pem());
    let folder = mount.path().display().to_string();
    let url = server.gateway.url("/mcp");
    let shown = format!("certificate: {folder}/tls.crt, key: {folder}/tls.key, ca_file: {ca}");
    let section = |tls: &str| {
        format!("servers:\n  - {{ name: up, url: \"{url}\", prefix: none, tls: {{ {tls} }} }}\n")
    };
    let mut front = gateway(&section(&shown)).await;
    let caller = front.caller();
    until("its tools are listed", async || {
        let reply = caller.call("tools/list", json!({})).await.unwrap();
        reply.result()["tools"]
            .as_array()
            .is_some_and(|tools| !tools.is_empty())
    })
    .await;
    let call = async || {
        let params = json!({ "name": "test_simple_text", "arguments": {} });
        caller
            .call("tools/call", params)
            .await
            .unwrap()
            .error_code()
    };
    assert_eq!(call().await, None);

    // Without it there is no way in.
    front
        .reconfigure(&section(&format!("ca_file: {ca}")))
        .unwrap();
    front
        .logged(&["the new configuration is in force"], SOON)
        .await
        .unwrap();
    until("it is refused", async || call().await.is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_that_a_server_is_shown_is_replaced() {
    let clients = Authority::new("clients").unwrap();
    let authority = Authority::new("servers").unwrap();
    let files = Mount::new(&authority.server(in_future(90 * DAY)).unwrap());
    let file = files.file("clients.pem", &clients.pem());
    let tls = format!("    client_auth: required\n    client_ca: {file}\n");
    // Connections are closed soon, so that the gateway in front makes new ones.
    let rest = format!("{}limits: {{ idle_timeout: 200ms }}\n", rules(""));
    let server = rig_of(authority, files, &tls, &rest).await;

    let of = |authority: &Authority, name: &str| authority.client(name, in_future(DAY)).unwrap();
    let mut mount = Mount::new(&of(&clients, "gw1.workers.example.com"));
    let ca = mount.file("servers.pem", &server.authority.pem());
    let folder = mount.path().display().to_string();
    let url = server.gateway.url("/mcp");
    let mut front = gateway(&format!(
        "servers:\n  - {{ name: up, url: \"{url}\", prefix: none, tls: {{ certificate: {folder}/tls.crt, key: {folder}/tls.key, ca_file: {ca} }} }}\n"
    ))
    .await;
    let caller = front.caller();
    let works = async || {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let params = json!({ "name": "test_simple_text", "arguments": {} });
        let reply = caller.call("tools/call", params).await.unwrap();
        reply.error_code().is_none()
    };
    until("the first certificate lets it in", works).await;

    // Of nobody who is known there, so a server that sees it says no: the new one is what is shown.
    let other = of(&clients, "gw.elsewhere.example.com");
    mount.put(&other.certificate, &other.key);
    until("the other certificate is shown", async || !works().await).await;
    let line = "the new client certificate is in force for new connections";
    front.logged(&[line], SOON).await.unwrap();

    // One that can't be used is refused, and the one before is still shown.
    mount.put("nonsense", &other.key);
    assert!(!works().await);
    let line = "the new client certificate is refused, the old one stays";
    until("it is refused", async || {
        let _ = works().await;
        front.output().contains(line)
    })
    .await;

    let good = of(&clients, "gw2.workers.example.com");
    mount.put(&good.certificate, &good.key);
    until("a good one lets it in again", works).await;
    assert!(!front.output().contains("PRIVATE KEY"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_authority_is_not_spoken_to() {
    let server = rig("", "").await;
    let stranger = Authority::new("servers").unwrap();
    let url = server.gateway.url("/mcp");
    let ours = server.mount.file("ours.pem", &server.authority.pem());
    let other = server.mount.file("other.pem", &stranger.pem());
    let section = |tls: &str| {
        format!(
            "outbound: {{ ca_file: {ours} }}\nservers:\n  - {{ name: up, url: \"{url}\", prefix: none{tls} }}\n"
        )
    };
    // An authority of its own stands instead of those that all servers may be of.
    let text = section(&format!(", tls: {{ ca_file: {other} }}"));
    let binary = Path::new(env!("CARGO_BIN_EXE_mcp-ultra"));
    let mut front = Gateway::launch(binary, &text, &[]).await.unwrap();
    let said = front.logged(&["failed the TLS handshake"], SOON).await;
    assert!(said.unwrap().contains("check its certificate"));
    let caller = front.caller();
    let call = async || {
        let params = json!({ "name": "test_simple_text", "arguments": {} });
        let request = caller.prepare("tools/call", params);
        caller.send(request).await.unwrap().text().await.unwrap()
    };
    let refused = call().await;
    for secret in ["127.0.0.1", "certificate", "TLS"] {
        assert!(!refused.contains(secret), "{refused}");
    }
    assert!(refused.contains("\"error\""), "{refused}");
    front.reconfigure(&section("")).unwrap();
    until("the authority of all servers is enough", async || {
        call().await.contains("This is a simple text")
    })
    .await;
}
