//! A gateway that is stopped for a while, and goes on: what has happened meanwhile arrives at once.

use std::{sync::atomic::Ordering, time::Duration};

use mcp_ultra_testkit::raw::modern::Caller;
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::task::JoinSet;

use super::asking;
use crate::{
    gateway_announced::metric,
    gateway_rig::{gateway, only, until},
};

/// More than one, as it goes by chance which end of a call is seen first.
const CALLS: usize = 16;
/// How long the server takes to ask.
const ASKS_AFTER: Duration = Duration::from_millis(1_500);

/// The question comes while the gateway stands still, and then the client goes: nobody is left to come
/// back with an answer, so nothing may wait for one.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_waits_for_who_has_gone_before_it_was_asked() {
    let (url, server) = asking::start().await;
    let mut gateway = gateway(&only(&url, "")).await;
    let mut callers = JoinSet::new();
    for number in 0..CALLS {
        let client = gateway.client();
        callers.spawn(async move {
            let caller = Caller::new(client);
            let after = u64::try_from(ASKS_AFTER.as_millis()).unwrap();
            let mut params = json!({ "name": "ask", "arguments": { "after": after } });
            // Half of the clients have a stream by then.
            if number % 2 == 0 {
                params["_meta"] = json!({ "io.modelcontextprotocol/logLevel": "info" });
            }
            caller.call("tools/call", params).await
        });
    }
    until("the calls", async || {
        server.begun.load(Ordering::SeqCst) == CALLS
    })
    .await;
    gateway.signal(Signal::SIGSTOP).unwrap();
    tokio::time::sleep(2 * ASKS_AFTER).await;
    callers.shutdown().await;
    // Their connections end in tasks of their own.
    tokio::time::sleep(Duration::from_millis(300)).await;
    gateway.signal(Signal::SIGCONT).unwrap();
    until("the cancellations", async || {
        server.cancelled.load(Ordering::SeqCst) == CALLS
    })
    .await;
    assert_eq!(metric(&gateway, "mcp_parked_calls").await, "0");
}
