//! What a server tells one of two gateways ends what both of them keep.

use serde_json::json;

use super::{
    PRIVATE, PUBLIC,
    rig::{Answers, change_list, read, reads, server, yaml},
    shared::in_redis,
    site::{ANNOUNCED, Site, other_than, reading},
    version,
};
use crate::gateway_rig::{gateway, legacy, modern_tool, text, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_list_and_a_resource_that_have_changed_are_known_to_have_everywhere() {
    // What is written outdates nothing, so that it is what the server tells.
    let cache = "cache: { ttl: { tools: 10m }, writes_outdate: false }\n";
    let site = Site::start(Answers::new(600_000, PUBLIC), cache, ", read_only: [looks]").await;
    let (here, there) = (
        site.caller(&site.here, "acme", "ana"),
        site.caller(&site.there, "acme", "ana"),
    );
    let looks = async |caller| {
        let reply = modern_tool(caller, "looks", json!({})).await;
        text(&reply).to_owned()
    };
    let (before, looked) = (reading(&there).await, looks(&there).await);
    assert_eq!(
        (reading(&there).await, looks(&there).await),
        (before.clone(), looked.clone())
    );
    let b = read(&there, "test://b").await;
    let touch = json!({ "name": "touches", "arguments": {} });
    here.call("tools/call", touch).await.unwrap();
    let took = other_than(&there, &before).await;
    assert!(took < ANNOUNCED, "{took:?}");
    assert_eq!(looks(&there).await, looked, "not what was told of");
    assert_eq!(version(&read(&there, "test://b").await), version(&b));
    let before = reading(&there).await;
    change_list(&here).await;
    until("the tools may be other ones", async || {
        looks(&there).await != looked
    })
    .await;
    assert_eq!(reading(&there).await, before, "not what was told of");
}

/// Of a server that speaks another revision than its client, whose subscription the gateway keeps.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_told_by_a_subscription_reads_what_is_there_now() {
    let server = server(600_000, PRIVATE).await;
    let gateway = gateway(&yaml(&server, "", "")).await;
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    let a = json!({ "uri": "test://a" });
    let reading = async || {
        let reply = legacy(&session, "resources/read", a.clone()).await;
        version(&reply).to_owned()
    };
    let mut stream = session.stream(None).await.unwrap().events();
    let mut before = reading().await;
    assert_eq!(reading().await, before);
    legacy(&session, "resources/subscribe", a.clone()).await;
    // By the server, and by the gateway, which has heard nothing for a while.
    for _ in 0..2 {
        let told = stream.message().await.unwrap().unwrap();
        assert_eq!(told["method"], "notifications/resources/updated");
        let now = reading().await;
        assert_ne!(now, before);
        before = now;
    }
}

/// A task changes something after its call was answered.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_told_of_their_task_reads_what_it_has_changed() {
    let server = server(600_000, PRIVATE).await;
    let gateway = gateway(&yaml(&server, "", "")).await;
    let mut caller = gateway.caller();
    caller.capabilities = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
    let begins = json!({ "name": "begins", "arguments": {} });
    let begun = caller.call("tools/call", begins).await.unwrap();
    let task = &begun.result()["taskId"];
    let before = reading(&caller).await;
    assert_eq!(reading(&caller).await, before);
    let mut events = caller.listen(json!({ "taskIds": [task] })).await.unwrap();
    loop {
        let told = events.message().await.unwrap().unwrap();
        if told["method"] == "notifications/tasks" {
            break;
        }
    }
    assert_ne!(reading(&caller).await, before);
}

/// What is everyone's is everyone's at every gateway.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_to_one_for_everyone_another_has_from_redis() {
    let site = Site::start(Answers::new(600_000, PUBLIC), "", "").await;
    let bea = site.bea();
    let answer = reading(&site.caller(&site.here, "acme", "ana")).await;
    until("it is in Redis, and the lists", async || {
        in_redis(&site.redis).await == 2
    })
    .await;
    let others = reading(&site.caller(&site.there, "acme", &bea)).await;
    assert_eq!((others, reads(&site.server)), (answer, 1));
}
