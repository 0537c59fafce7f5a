//! A gateway that is started while its database can't be reached.

use std::{net::SocketAddr, process::Command};

use http::HeaderMap;
use mcp_ultra_testkit::{process::Process, raw::Client};
use nix::sys::signal::Signal;

use super::Site;
use crate::gateway_rig::{SOON, free_address, until};

/// Status and body of a page; `None` while nobody listens.
async fn page(url: &str) -> Option<(u16, String)> {
    let answer = Client::new(url).get(HeaderMap::new()).await.ok()?;
    let status = answer.status.as_u16();
    Some((status, answer.text().await.ok()?))
}

/// One more gateway of the site, at `address`.
fn start(site: &Site, address: SocketAddr) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-ultra"));
    command.args(["serve", "--port", &address.port().to_string(), "--config"]);
    command.arg(site.here.file());
    Process::start_command(command).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_alive_and_not_ready_and_then_has_the_registry() {
    let site = Site::polling().await;
    let text = "url: https://crm.example.com/mcp\nenabled: false\n";
    let (status, said) = site.put("/api/v1/servers/crm", text, "new").await;
    assert_eq!(status, 200, "{said}");
    site.postgres.cut();
    let address = free_address();
    let at = |path: &str| format!("http://{address}{path}");
    let late = start(&site, address);
    let is = async |path: &str, expected: u16| {
        let page = page(&at(path)).await;
        page.is_some_and(|(status, _)| status == expected)
    };
    until("it is alive", async || is("/livez", 200).await).await;
    for path in ["/readyz", "/mcp"] {
        let (status, said) = page(&at(path)).await.unwrap();
        assert!(status == 503 && said.contains("database"), "{path}: {said}");
    }

    // What is changed meanwhile is in force then, as what is changed later.
    let file = site.here.file();
    let text = std::fs::read_to_string(file).unwrap();
    let more = "servers:\n  - { name: since, url: \"http://127.0.0.1:9/mcp\" }\n";
    std::fs::write(file, text.replacen("servers:\n", more, 1)).unwrap();
    site.postgres.heal();
    until("it is ready", async || is("/readyz", 200).await).await;
    until("the registry is in force", async || {
        let (_, metrics) = page(&at("/metrics")).await.unwrap();
        metrics.contains("mcp_registry_revision 1")
    })
    .await;
    assert!(late.stdout().contains("the database can be reached"));
    until("the change of the file is in force", async || {
        let log = late.stdout();
        log.contains("the new configuration is in force") && log.contains("since")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_no_longer_than_it_may() {
    let site = Site::polling().await;
    site.postgres.cut();
    let address = free_address();
    let mut late = start(&site, address);
    let alive = format!("http://{address}/livez");
    until("it is alive", async || page(&alive).await.is_some()).await;
    // By itself this would end it.
    late.signal(Signal::SIGHUP).unwrap();
    assert!(page(&alive).await.is_some());
    late.signal(Signal::SIGTERM).unwrap();
    let ended = late.wait(SOON).await.unwrap();
    assert_eq!(ended.code(), Some(1));
    let said = late.stderr();
    assert!(said.contains("stopped by SIGTERM before"), "{said}");
}
