//! Two gateways on one Redis: what was used or ended at one is so at the other.

use http::{HeaderMap, HeaderValue, header};
use mcp_ultra_domain::{Clock as _, SystemClock};
use mcp_ultra_testkit::{
    fixture::{Era, http::Running},
    gateway::Gateway,
    identity::{Discovery, IdentityProvider, SigningKey},
    raw::legacy::Session,
    stores::{PASSWORD, Redis},
};
use serde_json::json;

use crate::{
    cli::run,
    gateway_rig::{SOON, fixture, gateway, legacy_tool, only, refusal, text, until},
};

const RESOURCE: &str = "https://mcp.example.com/mcp";

/// The sections of gateways that are replicas of each other.
pub(crate) fn sections(redis: &Redis) -> String {
    let login = redis.login();
    format!(
        "session:\n  keys: [{{ id: k, secret: {key} }}]\n\
         storage:\n  redis:\n    server: {{ host: 127.0.0.1, port: {port} }}\n    user: {user}\n    password: {password}\n    tls: {{ ca_file: \"{authority}\" }}\n    command_timeout: 2s\n",
        key = "c".repeat(43) + "=",
        port = login.address.port(),
        user = login.user,
        password = login.password,
        authority = login.authority.display(),
    )
}

async fn replicas(sections: &str) -> ([Gateway; 2], Running) {
    let upstream = fixture(Era::Dual).await;
    let yaml = only(&upstream.url(), sections);
    ([gateway(&yaml).await, gateway(&yaml).await], upstream)
}

fn ping() -> String {
    json!({ "jsonrpc": "2.0", "id": 9, "method": "ping" }).to_string()
}

/// The status of a ping in the session of `headers`.
async fn pinged(gateway: &Gateway, headers: &HeaderMap) -> u16 {
    let answer = gateway.client().post(headers.clone(), ping()).await;
    answer.unwrap().status.as_u16()
}

async fn is_up(gateway: &Gateway) -> bool {
    let metrics = gateway.get("/metrics").await.unwrap().text().await.unwrap();
    metrics.lines().any(|line| line == "mcp_redis_up 1")
}

async fn open(gateway: &Gateway) -> Session {
    gateway.session("2025-11-25", json!({})).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ended_at_one_gateway_has_ended_at_the_other() {
    let redis = Redis::start().await.unwrap();
    let ([one, other], _upstream) = replicas(&sections(&redis)).await;
    let (session, unseen, stays) = (open(&one).await, open(&one).await, open(&one).await);
    let reply = legacy_tool(&session, "test_simple_text", json!({})).await;
    assert!(text(&reply).starts_with("This is"));
    // Both have it in memory.
    let [headers, unseen_headers, stays] = [&session, &unseen, &stays].map(Session::headers);
    assert_eq!(pinged(&other, &headers).await, 200);
    assert_eq!(pinged(&other, &stays).await, 200);

    assert_eq!(unseen.close().await.unwrap(), 204);
    assert_eq!(pinged(&other, &unseen_headers).await, 404);
    assert_eq!(session.close().await.unwrap(), 204);
    until("the session has ended", async || {
        pinged(&other, &headers).await == 404
    })
    .await;
    let after = other.client().post(headers.clone(), ping()).await.unwrap();
    assert_eq!(refusal(after).await, (404, -32001));
    for gateway in [&one, &other] {
        assert_eq!(pinged(gateway, &stays).await, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shares_a_redis_and_no_keys_is_told_what_stays_apart() {
    let redis = Redis::start().await.unwrap();
    let sections = sections(&redis);
    let (_keys, storage) = sections.split_once("storage:").unwrap();
    let upstream = fixture(Era::Dual).await;
    let mut alone = gateway(&only(&upstream.url(), &format!("storage:{storage}"))).await;
    alone.logged(&["session.keys"], SOON).await.unwrap();
    assert!(is_up(&alone).await, "and it goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_nothing_fails_and_what_ended_is_told_of_afterwards() {
    let mut redis = Redis::start().await.unwrap();
    let ([one, other], _upstream) = replicas(&sections(&redis)).await;
    let (session, stays) = (open(&one).await, open(&one).await);
    let [headers, stays] = [&session, &stays].map(Session::headers);
    assert_eq!(pinged(&other, &headers).await, 200);

    redis.server_mut().kill().await.unwrap();
    until("both have noticed", async || {
        !is_up(&one).await && !is_up(&other).await
    })
    .await;
    // One that the other has never seen, and a new one.
    assert_eq!(pinged(&other, &stays).await, 200);
    let new = open(&other).await.headers();
    assert_eq!(pinged(&one, &new).await, 200);
    assert_eq!(session.close().await.unwrap(), 204);
    assert_eq!(pinged(&one, &headers).await, 404);
    assert_eq!(pinged(&other, &headers).await, 200, "it can't know");

    redis.restart().await.unwrap();
    until("the session has ended", async || {
        pinged(&other, &headers).await == 404
    })
    .await;
    assert!(is_up(&one).await && is_up(&other).await);
    for gateway in [&one, &other] {
        assert_eq!(pinged(gateway, &stays).await, 200);
        let logs = gateway.output();
        assert!(!logs.contains(PASSWORD), "{logs}");
        for said in ["Redis is away", "Redis is back"] {
            assert_eq!(logs.matches(said).count(), 1, "{said}: {logs}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_was_used_at_one_gateway_is_refused_at_the_other() {
    let redis = Redis::start().await.unwrap();
    let issuer = SigningKey::es256("k").unwrap();
    let client = SigningKey::es256("client").unwrap();
    let provider = IdentityProvider::start(Discovery::OAuth, &[&issuer])
        .await
        .unwrap();
    let auth = format!(
        "auth:\n  resource: {RESOURCE}\n  issuers: [{{ issuer: \"{}\" }}]\n",
        provider.issuer()
    );
    let ([one, other], _upstream) = replicas(&format!("{auth}{}", sections(&redis))).await;
    let now = SystemClock.now().as_secs();
    let mut claims = provider.claims(RESOURCE, "ana", now);
    claims["cnf"] = json!({ "jkt": client.thumbprint() });
    let token = issuer.token(&claims).unwrap();
    let send = async |gateway: &Gateway, proof: &str| {
        let bearer = HeaderValue::try_from(format!("DPoP {token}")).unwrap();
        let mut caller = gateway.caller();
        caller.extra_headers = HeaderMap::from_iter([(header::AUTHORIZATION, bearer)]);
        let proof = HeaderValue::try_from(proof).unwrap();
        caller.extra_headers.insert("dpop", proof);
        let request = caller.prepare("tools/list", json!({}));
        caller.send(request).await.unwrap().status.as_u16()
    };
    for (first, second) in [(&one, &other), (&other, &one)] {
        let proof = client.proof("POST", RESOURCE, &token, now).unwrap();
        assert_eq!(send(first, &proof).await, 200);
        assert_eq!(send(second, &proof).await, 401);
        assert_eq!(send(first, &proof).await, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_can_not_even_try_says_which_file_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.yaml");
    let yaml = "storage:\n  redis:\n    server: { host: 127.0.0.1 }\n    tls: { ca_file: /nowhere/ca.pem }\n";
    std::fs::write(&config, yaml).unwrap();
    let config = config.to_string_lossy();
    let refused = run(&["serve", "--port", "0", "--config", &config]).await;
    assert_eq!(refused.code, 1, "{}", refused.err);
    for said in ["/nowhere/ca.pem", "storage.redis"] {
        assert!(refused.err.contains(said), "{}", refused.err);
    }
}
