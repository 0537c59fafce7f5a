//! What a fixture of one era answers to the other.

use http::{HeaderMap, StatusCode};
use mcp_ultra_testkit::{
    fixture::{Era, Options, http as fixture},
    raw::{Client, legacy::Session, modern::Caller},
};
use serde_json::json;

#[tokio::test]
async fn a_legacy_fixture_knows_no_modern_request() {
    let fixture = fixture::start(Options::new(Era::Legacy))
        .await
        .expect("a fixture");
    let caller = Caller::new(Client::new(fixture.url()));
    for (method, code) in [("server/discover", -32601), ("tools/list", -32000)] {
        let reply = caller.call(method, json!({})).await.expect("a reply");
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert_eq!(reply.error_code(), Some(code), "{method}");
    }
}

#[tokio::test]
async fn a_modern_fixture_has_no_sessions() {
    let fixture = fixture::start(Options::new(Era::Modern))
        .await
        .expect("a fixture");
    let client = Client::new(fixture.url());
    let opened = Session::open(client.clone(), "2025-11-25", json!({}), HeaderMap::new())
        .await
        .map(drop);
    let refusal = opened.expect_err("no session").to_string();
    assert!(refusal.contains("-32022"), "{refusal}");
    let answer = client.get(HeaderMap::new()).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_dual_fixture_serves_both_at_one_address() {
    let fixture = fixture::start(Options::new(Era::Dual))
        .await
        .expect("a fixture");
    let client = Client::new(fixture.url());
    let modern = Caller::new(client.clone())
        .call("tools/list", json!({}))
        .await
        .expect("tools");
    let session = Session::open(client, "2025-06-18", json!({}), HeaderMap::new()).await;
    let session = session.expect("a session");
    assert_eq!(session.version(), "2025-06-18");
    let legacy = session.call("tools/list", json!({})).await.expect("tools");
    let count = |reply: &mcp_ultra_testkit::raw::Reply| {
        reply.result()["tools"].as_array().map_or(0, Vec::len)
    };
    assert!(
        count(&modern) > count(&legacy),
        "some tools are only for modern requests"
    );
    assert!(count(&legacy) > 20);
    assert!(
        legacy.result().get("ttlMs").is_none(),
        "legacy results have no cache hints"
    );
}
