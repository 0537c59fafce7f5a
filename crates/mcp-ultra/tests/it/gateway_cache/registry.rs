//! What is changed in the registry outdates what is kept, at every gateway.

use http::Method;
use mcp_ultra_testkit::{gateway::Gateway, scripted::Scripted, stores::Redis};
use serde_json::{Value, json};

use super::{
    PRIVATE,
    rig::{Answers, server_of},
};
use crate::{gateway_registry::Site, gateway_rig::until};

const SERVER: &str = "/api/v1/servers/crm";
const POLICY: &str = "/api/v1/policies/no-looks";
const FLAG: &str = "/api/v1/flags/tool.crm_looks.enabled";
const TOOL: &str = "crm_looks";
/// More calls than a server is asked for while both gateways take it over.
const FEW: usize = 8;

/// How often the server was called when this answer was given; `None` for a refusal.
async fn looks(site: &Site, gateway: &Gateway) -> Option<usize> {
    let caller = site.caller(gateway);
    let params = json!({ "name": TOOL, "arguments": {} });
    let reply = caller.call("tools/call", params).await.unwrap();
    if reply.error_code().is_some() {
        assert_eq!(reply.error_code(), Some(-32602), "{}", reply.message);
        return None;
    }
    let text = reply.result()["content"][0]["text"].as_str().unwrap();
    let number = text.strip_prefix("looks ").unwrap();
    Some(number.parse().unwrap())
}

fn definition(server: &Scripted, more: &str) -> String {
    format!(
        "url: \"{}\"\nera: modern\nread_only: [looks]\ncache: {{ ttl: {{ tools: 10m }} }}\n{more}",
        server.url()
    )
}

/// What both of them give again and again.
async fn kept(site: &Site) -> [usize; 2] {
    let mut all = [0, 0];
    for (gateway, kept) in [&site.here, &site.there].into_iter().zip(&mut all) {
        until("it is kept", async || {
            *kept = looks(site, gateway).await.unwrap();
            looks(site, gateway).await == Some(*kept)
        })
        .await;
    }
    all
}

/// Waits until neither gives what it gave before; what they give again and again then.
async fn changed(site: &Site, before: [usize; 2]) -> [usize; 2] {
    for (gateway, before) in [&site.here, &site.there].into_iter().zip(before) {
        until("another answer", async || {
            looks(site, gateway).await.is_some_and(|now| now != before)
        })
        .await;
    }
    kept(site).await
}

async fn refused(site: &Site) {
    for gateway in [&site.here, &site.there] {
        until("a refusal", async || looks(site, gateway).await.is_none()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_put_anew_is_asked_anew_everywhere() {
    let redis = Redis::start().await.unwrap();
    let site = Site::sharing(&redis, "").await;
    let (one, other) = (
        server_of(Answers::new(0, PRIVATE)).await,
        server_of(Answers::new(0, PRIVATE)).await,
    );
    let put = async |text: String, meant: &str| {
        let (status, said) = site.put(SERVER, &text, meant).await;
        assert_eq!(status, 200, "{said}");
    };
    put(definition(&one, ""), "new").await;
    for gateway in [&site.here, &site.there] {
        site.wait(gateway, TOOL, true).await;
    }
    let before = kept(&site).await;
    // Otherwise, and then elsewhere.
    put(definition(&one, "shared: true\n"), "*").await;
    let before = changed(&site, before).await;
    assert_eq!(other.seen("tools/call").len(), 0);
    // The other server counts from one, too: its first answers are none of those.
    for _ in 0..FEW {
        let caller = site.caller(&site.here);
        let params = json!({ "name": "crm_reads", "arguments": {} });
        caller.call("tools/call", params).await.unwrap();
    }
    changed(&site, before).await;
    put(definition(&other, ""), "*").await;
    for gateway in [&site.here, &site.there] {
        until("an answer of the other server", async || {
            looks(&site, gateway).await.is_some_and(|now| now <= FEW)
        })
        .await;
    }
    let asked = one.seen("tools/call").len();
    assert!(kept(&site).await.iter().all(|now| *now <= FEW));
    assert_eq!(one.seen("tools/call").len(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_or_a_kill_switch_refuses_is_not_given_from_what_is_kept() {
    let redis = Redis::start().await.unwrap();
    let site = Site::sharing(&redis, "").await;
    let server = server_of(Answers::new(0, PRIVATE)).await;
    let (status, said) = site.put(SERVER, &definition(&server, ""), "new").await;
    assert_eq!(status, 200, "{said}");
    for gateway in [&site.here, &site.there] {
        site.wait(gateway, TOOL, true).await;
    }
    kept(&site).await;
    let forbids = |tool: &str| {
        format!("@id(\"no-looks\")\nforbid(principal, action, resource == Tool::\"{tool}\");\n")
    };
    let (status, said) = site.put(POLICY, &forbids(TOOL), "new").await;
    assert_eq!(status, 200, "{said}");
    refused(&site).await;
    // Other policies that permit it: what was kept under those of before is not theirs.
    let before = server.seen("tools/call").len();
    let (status, said) = site.put(POLICY, &forbids("crm_sets"), "*").await;
    assert_eq!(status, 200, "{said}");
    for gateway in [&site.here, &site.there] {
        until("it is permitted", async || {
            looks(&site, gateway).await.is_some()
        })
        .await;
    }
    let now = kept(&site).await;
    assert!(now.iter().all(|now| *now > before), "{now:?}, {before}");
    let switch = |default: &str| -> Value {
        json!({
            "state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": default,
            "metadata": {"owner": "ops", "expires": "2999-01-01"},
        })
    };
    let (status, said) = site.put(FLAG, &switch("off").to_string(), "new").await;
    assert_eq!(status, 200, "{said}");
    refused(&site).await;
    let any = [("if-match", "*")];
    let (status, said) = site.ask(Method::DELETE, FLAG, None, &any).await;
    assert_eq!(status, 200, "{said}");
    for gateway in [&site.here, &site.there] {
        until("it is on", async || looks(&site, gateway).await.is_some()).await;
    }
}
