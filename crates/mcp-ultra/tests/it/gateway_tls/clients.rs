//! Clients that are known by certificates.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use mcp_ultra_domain::{Clock as _, SystemClock};
use mcp_ultra_testkit::{identity::hs256, raw::modern::Caller, tls::Authority};
use serde_json::json;

use super::{DAY, SECRET, in_future, list, rig_with_clients, status};
use crate::gateway_rig::SOON;

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_known_by_the_names_of_their_certificates() {
    let clients = Authority::new("clients").unwrap();
    let (agent, revoked) = (
        clients
            .client("spiffe://example.org/agents/a", in_future(DAY))
            .unwrap(),
        clients
            .client("spiffe://example.org/agents/b", in_future(DAY))
            .unwrap(),
    );
    let crl = clients.revoked(&[&revoked]).unwrap();
    let rig = rig_with_clients(&clients, "required", Some(&crl), "").await;
    let of = |name: &str| clients.client(name, in_future(DAY)).unwrap();
    for (pair, expected) in [
        (agent, 200),
        (of("w1.workers.example.com"), 200),
        (of("ana@example.com"), 403),
        (of("spiffe://example.org/people/ana"), 401),
        (of("spiffe://evil.example/agents/a"), 401),
        (of("workers.example.com"), 401),
    ] {
        for http2 in [false, true] {
            for tls13 in [false, true] {
                let client = rig.client(Some(&pair), tls13, http2);
                assert_eq!(status(&client).await, expected);
            }
        }
    }
    let stranger = Authority::new("clients").unwrap();
    let ended = clients
        .client(
            "spiffe://example.org/agents/a",
            SystemClock.now().saturating_sub(DAY),
        )
        .unwrap();
    for pair in [
        Some(
            stranger
                .client("spiffe://example.org/agents/a", in_future(DAY))
                .unwrap(),
        ),
        Some(revoked),
        Some(ended),
        None,
    ] {
        for tls13 in [false, true] {
            let client = rig.client(pair.as_ref(), tls13, false);
            assert!(list(&client, HeaderMap::new()).await.is_err());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_decides_where_a_certificate_comes_with_it() {
    let clients = Authority::new("clients").unwrap();
    let auth = format!("  jwt_secret: {SECRET}\n");
    let rig = rig_with_clients(&clients, "optional", None, &auth).await;
    let agent = clients
        .client("spiffe://example.org/agents/a", in_future(DAY))
        .unwrap();
    let token = |scope: &str| {
        let claims = json!({
            "iss": "mcp-ultra", "sub": "ana", "aud": "https://mcp.example.com/mcp",
            "scope": scope, "exp": in_future(DAY).as_secs(),
        });
        let value = format!(
            "Bearer {}",
            hs256(SECRET.as_bytes(), &json!({ "alg": "HS256" }), &claims)
        );
        HeaderMap::from_iter([(
            http::header::AUTHORIZATION,
            HeaderValue::try_from(value).unwrap(),
        )])
    };
    let bad = HeaderMap::from_iter([(
        http::header::AUTHORIZATION,
        HeaderValue::from_static("Bearer nonsense"),
    )]);
    for (own, headers, expected) in [
        (None, HeaderMap::new(), 401),
        (None, token("mcp:use"), 200),
        (Some(&agent), HeaderMap::new(), 200),
        (Some(&agent), token("mcp:use"), 200),
        (Some(&agent), token("other"), 403),
        (Some(&agent), bad, 401),
    ] {
        let answer = list(&rig.usual(own), headers).await.unwrap();
        assert_eq!(answer.status, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_connections_end_with_the_certificate() {
    let clients = Authority::new("clients").unwrap();
    let rig = rig_with_clients(&clients, "required", None, "").await;
    let short = clients
        .client("w.workers.example.com", in_future(Duration::from_secs(4)))
        .unwrap();
    let client = rig.client(Some(&short), true, true);
    let caller = Caller::new(client.clone());
    let mut events = caller
        .listen(json!({ "toolsListChanged": true }))
        .await
        .unwrap();
    assert!(events.message().await.unwrap().is_some());
    assert_eq!(status(&client).await, 200);
    let ended = tokio::time::timeout(SOON, async {
        while events.next().await.unwrap().is_some() {}
    });
    ended.await.unwrap();
    // On the same connection, which has been verified when it was opened.
    assert_eq!(status(&client).await, 401);
}
