//! Tokens that are bound to a key of the client (RFC 9449), through the running gateway.

use http::{HeaderMap, HeaderValue, Method, header};
use mcp_ultra_domain::{Clock as _, SystemClock};
use mcp_ultra_testkit::{
    fixture::{Era, http::Running},
    gateway::Gateway,
    identity::{Discovery, IdentityProvider, SigningKey},
    raw::Answer,
};
use serde_json::json;

use crate::gateway_rig::{fixture, gateway, only};

const RESOURCE: &str = "https://mcp.example.com/mcp";
const ALGS: &str = r#"algs="ES256 ES384 EdDSA RS256 PS256""#;

struct Rig {
    provider: IdentityProvider,
    gateway: Gateway,
    issuer: SigningKey,
    client: SigningKey,
    _upstream: Running,
}

async fn rig(dpop: &str) -> Rig {
    let issuer = SigningKey::es256("k").unwrap();
    let provider = IdentityProvider::start(Discovery::OAuth, &[&issuer])
        .await
        .unwrap();
    let upstream = fixture(Era::Dual).await;
    let section = format!(
        "log: {{ level: trace }}\nauth:\n  resource: {RESOURCE}\n  issuers: [{{ issuer: \"{}\" }}]\n  dpop: {dpop}\n",
        provider.issuer()
    );
    let gateway = gateway(&only(&upstream.url(), &section)).await;
    Rig {
        provider,
        gateway,
        issuer,
        client: SigningKey::es256("client").unwrap(),
        _upstream: upstream,
    }
}

fn now() -> u64 {
    SystemClock.now().as_secs()
}

fn credentials(scheme: &str, token: &str, proofs: &[&str]) -> HeaderMap {
    let mut map = HeaderMap::new();
    let value = HeaderValue::try_from(format!("{scheme} {token}")).unwrap();
    map.insert(header::AUTHORIZATION, value);
    for proof in proofs {
        map.append("dpop", HeaderValue::try_from(*proof).unwrap());
    }
    map
}

impl Rig {
    fn plain(&self) -> String {
        let claims = self.provider.claims(RESOURCE, "ana", now());
        self.issuer.token(&claims).unwrap()
    }

    fn bound(&self) -> String {
        let mut claims = self.provider.claims(RESOURCE, "ana", now());
        claims["cnf"] = json!({ "jkt": self.client.thumbprint() });
        self.issuer.token(&claims).unwrap()
    }

    fn proof(&self, method: &str, token: &str) -> String {
        self.client.proof(method, RESOURCE, token, now()).unwrap()
    }

    async fn send(&self, credentials: HeaderMap) -> (u16, Vec<String>) {
        let caller = self.gateway.caller();
        let mut request = caller.prepare("tools/list", json!({}));
        for (name, value) in &credentials {
            request.headers.append(name, value.clone());
        }
        told(&caller.send(request).await.unwrap())
    }

    async fn refused(&self, reason: &str) -> u64 {
        let metrics = self.gateway.get("/metrics").await.unwrap();
        let metrics = metrics.text().await.unwrap();
        let sample = format!("mcp_auth_refused_total{{reason=\"{reason}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&sample));
        line.unwrap().parse().unwrap()
    }
}

/// Status, and the challenges without the metadata that all of them name.
fn told(answer: &Answer) -> (u16, Vec<String>) {
    let challenges = answer.headers.get_all(header::WWW_AUTHENTICATE).iter();
    let begin = |value: &HeaderValue| {
        let text = value.to_str().unwrap();
        let (begin, rest) = text.split_once("resource_metadata=\"https://").unwrap();
        assert!(rest.ends_with("/.well-known/oauth-protected-resource/mcp\""));
        begin.trim_end_matches(", ").trim().to_owned()
    };
    (answer.status.as_u16(), challenges.map(begin).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_token_is_good_with_a_proof_for_each_request() {
    let rig = rig("{}").await;
    let token = rig.bound();
    let stolen = SigningKey::es256("thief").unwrap();
    let proof = rig.proof("POST", &token);
    let invalid = vec![format!("DPoP error=\"invalid_dpop_proof\", {ALGS}")];
    for _ in 0..2 {
        let fresh = rig.proof("POST", &token);
        let (status, _) = rig.send(credentials("DPoP", &token, &[&fresh])).await;
        assert_eq!(status, 200);
    }
    assert_eq!(
        rig.send(credentials("DPoP", &token, &[&proof])).await.0,
        200
    );
    assert_eq!(
        rig.send(credentials("DPoP", &token, &[&proof])).await,
        (401, invalid.clone())
    );
    assert_eq!(rig.refused("replayed").await, 1);
    let other = rig.proof("POST", "other");
    let get = rig.proof("GET", &token);
    let thief = stolen.proof("POST", RESOURCE, &token, now()).unwrap();
    let (one, two) = (rig.proof("POST", &token), rig.proof("POST", &token));
    for proofs in [&[][..], &[&*other], &[&*get], &[&*thief], &[&*one, &*two]] {
        let answer = rig.send(credentials("DPoP", &token, proofs)).await;
        assert_eq!(answer, (401, invalid.clone()), "{proofs:?}");
    }
    assert_eq!(rig.refused("proof").await, 5);
    let token_refused = vec![
        "Bearer error=\"invalid_token\"".to_owned(),
        format!("DPoP error=\"invalid_token\", {ALGS}"),
    ];
    let fresh = rig.proof("POST", &token);
    let answer = rig.send(credentials("Bearer", &token, &[&fresh])).await;
    assert_eq!(answer, (401, token_refused.clone()));
    assert_eq!(rig.refused("bound").await, 1);
    let plain = rig.plain();
    let fresh = rig.proof("POST", &plain);
    let answer = rig.send(credentials("DPoP", &plain, &[&fresh])).await;
    assert_eq!(answer, (401, token_refused));
    assert_eq!(rig.refused("unbound").await, 1);
    assert_eq!(rig.send(credentials("Bearer", &plain, &[])).await.0, 200);
    let missing = vec!["Bearer".to_owned(), format!("DPoP {ALGS}")];
    assert_eq!(rig.send(HeaderMap::new()).await, (401, missing));
    // Neither proofs nor tokens are in the logs.
    let logs = rig.gateway.output();
    for secret in [&proof, &token] {
        assert!(!logs.contains(secret.as_str()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_needs_a_proof_with_each_of_its_requests() {
    let rig = rig("{ required: true }").await;
    let answer = rig.gateway.get("/.well-known/oauth-protected-resource");
    let metadata = answer.await.unwrap().json().await.unwrap();
    assert_eq!(metadata["dpop_bound_access_tokens_required"], true);
    assert_eq!(metadata["dpop_signing_alg_values_supported"][0], "ES256");
    let (status, challenges) = rig.send(credentials("Bearer", &rig.plain(), &[])).await;
    let only = vec![format!("DPoP error=\"invalid_token\", {ALGS}")];
    assert_eq!((status, challenges), (401, only));
    let token = rig.bound();
    let client = rig.gateway.client();
    let initialize = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "t", "version": "1" },
        },
    });
    let base = || {
        HeaderMap::from_iter([
            (
                header::ACCEPT,
                HeaderValue::from_static("application/json, text/event-stream"),
            ),
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            ),
        ])
    };
    let mut headers = base();
    headers.extend(credentials("DPoP", &token, &[&rig.proof("POST", &token)]));
    let opened = client.post(headers, initialize.to_string()).await.unwrap();
    assert_eq!(opened.status, 200);
    let id = opened.header("mcp-session-id").unwrap().to_owned();
    // The stream of the server is opened with a proof for GET, and the session ended with one for
    // DELETE.
    for (method, proof, status) in [
        (Method::GET, "POST", 401),
        (Method::GET, "GET", 200),
        (Method::DELETE, "GET", 401),
        (Method::DELETE, "DELETE", 200),
    ] {
        let mut headers = base();
        headers.insert("mcp-session-id", HeaderValue::try_from(&*id).unwrap());
        let version = HeaderValue::from_static("2025-11-25");
        headers.insert("mcp-protocol-version", version);
        headers.insert(
            header::ACCEPT,
            HeaderValue::from_static("text/event-stream"),
        );
        headers.extend(credentials("DPoP", &token, &[&rig.proof(proof, &token)]));
        let answer = client.request(method.clone(), headers, bytes::Bytes::new());
        let found = answer.await.unwrap().status.as_u16();
        let fine = found == status || (status == 200 && found == 204);
        assert!(fine, "{method} with a proof for {proof}: {found}");
    }
    drop(rig);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_requests_at_once_with_one_proof_one_is_answered() {
    let rig = rig("{}").await;
    let token = rig.bound();
    for _ in 0..5 {
        let proof = rig.proof("POST", &token);
        let sending = (0..16).map(|_| rig.send(credentials("DPoP", &token, &[&proof])));
        let answers = futures_util::future::join_all(sending).await;
        let status = |wanted: u16| answers.iter().filter(move |(status, _)| *status == wanted);
        assert_eq!((status(200).count(), status(401).count()), (1, 15));
    }
    assert_eq!(rig.refused("replayed").await, 5 * 15);
}
