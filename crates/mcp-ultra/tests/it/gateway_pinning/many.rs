//! Many definitions, and ones that never rest.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Changing, ENFORCE, Rig, listed, tool, yaml};
use crate::gateway_rig::{SOON, gateway, until};

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_tools_are_compared_and_the_log_stays_short() {
    let tools = |description: &str| -> Value {
        let names = (0..10_000).map(|number| tool(&format!("t{number}"), description));
        names.collect()
    };
    let begun = Instant::now();
    let rig = Rig::enforced(tools("One")).await;
    until("all are known", async || {
        rig.standing("approved").await == Some(10_000)
    })
    .await;
    let first = begun.elapsed();
    rig.upstream.offer(tools("Two"));
    until("all are held back", async || {
        rig.standing("changed").await == Some(10_000)
    })
    .await;
    until("none is listed", async || rig.listed().await.is_empty()).await;
    let output = rig.gateway.output();
    assert_eq!(
        output
            .matches("nobody has agreed to this definition")
            .count(),
        20
    );
    assert!(output.contains("\"more\":9980"), "{output}");
    println!("first sight of 10,000 tools, with the start of the gateway: {first:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_answered_while_ten_thousand_tools_are_scanned() {
    let large = "Finds what is looked for, and more. ".repeat(20);
    let tools = (0..10_000).map(|number| tool(&format!("t{number}"), &large));
    let folder = tempfile::tempdir().unwrap();
    let (crm, other) = (
        Changing::start(json!([tool("find", "Finds")])).await,
        Changing::start(json!([tool("ask", "Asks")])).await,
    );
    let yaml = yaml("", &folder, &crm);
    let gateway = gateway(&format!(
        "{yaml}  - {{ name: other, url: \"{}\" }}\n",
        other.url()
    ))
    .await;
    let caller = gateway.caller();
    until("both are there", async || listed(&caller).await.len() == 2).await;
    let (readings, begun) = (crm.readings(), Instant::now());
    crm.offer(tools.collect());
    let (mut calls, mut slowest) = (0, Duration::ZERO);
    let offered = "mcp_pinning_tools{upstream=\"crm\",standing=\"approved\"} 10000";
    let is_offered = async || {
        let metrics = gateway.get("/metrics").await.unwrap();
        metrics.text().await.unwrap().contains(offered)
    };
    while calls == 0 || calls % 50 > 0 || !is_offered().await {
        let sent = Instant::now();
        let reply = caller
            .call("tools/call", json!({"name": "other_ask"}))
            .await;
        assert!(reply.unwrap().message.get("result").is_some());
        if crm.readings() > readings {
            slowest = slowest.max(sent.elapsed());
            calls += 1;
        }
        assert!(begun.elapsed() < 4 * SOON, "{calls} calls");
    }
    println!(
        "{calls} calls in {:?}, at most {slowest:?}",
        begun.elapsed()
    );
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_changes_each_time_is_read_less_and_less() {
    let rig = Rig::enforced(json!([tool("find", "Finds"), tool("spin", "Number COUNT")])).await;
    until("it is read twice", async || rig.upstream.readings() >= 2).await;
    let begun = Instant::now();
    let before = rig.upstream.readings();
    // Calls go on, and so do judgements of what was read: neither waits for the next reading.
    until("it has a pause of some seconds", async || {
        rig.upstream.readings() >= before + 3
    })
    .await;
    rig.lists(&["crm_find"]).await;
    let (took, read) = (begun.elapsed(), rig.upstream.readings());
    let warn = ENFORCE.replace("enforce", "warn");
    let yaml = yaml(&warn, &rig.folder, &rig.upstream);
    rig.gateway.reconfigure(&yaml).unwrap();
    rig.lists(&["crm_find", "crm_spin"]).await;
    assert_eq!(rig.upstream.readings(), read);
    // 1, 2 and 4 seconds, where it is read each second otherwise.
    assert!(took > Duration::from_secs(6), "{took:?}");
}
