//! A gateway that is started while its database can't be reached.

use std::process::Command;

use http::HeaderMap;
use mcp_ultra_testkit::{process::Process, raw::Client};

use super::Site;
use crate::gateway_rig::{free_address, until};

/// Status and body of a page; `None` while nobody listens.
async fn page(url: &str) -> Option<(u16, String)> {
    let answer = Client::new(url).get(HeaderMap::new()).await.ok()?;
    let status = answer.status.as_u16();
    Some((status, answer.text().await.ok()?))
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
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-ultra"));
    command.args(["serve", "--port", &address.port().to_string(), "--config"]);
    command.arg(site.here.file());
    let late = Process::start_command(command).unwrap();
    let is = async |path: &str, expected: u16| {
        let page = page(&at(path)).await;
        page.is_some_and(|(status, _)| status == expected)
    };
    until("it is alive", async || is("/livez", 200).await).await;
    for path in ["/readyz", "/mcp"] {
        let (status, said) = page(&at(path)).await.unwrap();
        assert!(status == 503 && said.contains("database"), "{path}: {said}");
    }
    site.postgres.heal();
    until("it is ready", async || is("/readyz", 200).await).await;
    until("the registry is in force", async || {
        let (_, metrics) = page(&at("/metrics")).await.unwrap();
        metrics.contains("mcp_registry_revision 1")
    })
    .await;
    assert!(late.stdout().contains("the database can be reached"));
}
