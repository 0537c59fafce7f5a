//! Tokens that are bound to a key or certificate, by a clock that the test moves.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Method};
use mcp_ultra_domain::{Clock, ManualClock, ports::MemoryReplayStore};
use mcp_ultra_edge::{
    identity::{
        ClaimPaths, Credentials, DpopSettings, Identity, IdentitySettings, KeyTimes, LoginRule,
        Refused, SharedSecret,
    },
    outbound::{Outbound, OutboundConfig},
    tls::PeerCertificate,
};
use mcp_ultra_testkit::identity::{SigningKey, hs256, proof_claims, unsigned};
use serde_json::{Value, json};

const RESOURCE: &str = "https://mcp.example.com/mcp";
const SECRET: &[u8] = b"a secret of thirty-two bytes and more";
const START: u64 = 1_800_000_000;
const SKEW: u64 = 10;
const AGE: u64 = 60;

struct Rig {
    clock: Arc<ManualClock>,
    identity: Identity,
}

fn rig(required: bool, most: usize) -> Rig {
    let clock = Arc::new(ManualClock::at(Duration::from_secs(START)));
    let zero = Duration::ZERO;
    let settings = IdentitySettings {
        resource: RESOURCE.to_owned(),
        issuers: Vec::new(),
        secret: Some(SharedSecret {
            secret: SECRET.to_vec(),
            issuer: "mcp-ultra".to_owned(),
            claims: ClaimPaths::default(),
        }),
        api_keys: None,
        required_scopes: Vec::new(),
        login: LoginRule::default(),
        certificates: Vec::new(),
        supported_scopes: Vec::new(),
        clock_skew: Duration::from_secs(SKEW),
        times: KeyTimes {
            refresh: zero,
            max_age: zero,
            retry: zero,
            timeout: zero,
        },
        cached_tokens: 100,
        dpop: DpopSettings {
            required,
            max_age: Duration::from_secs(AGE),
            used: Arc::new(MemoryReplayStore::new(most)),
        },
    };
    let outbound = Outbound::new(&OutboundConfig::default()).unwrap();
    Rig {
        identity: Identity::new(settings, &outbound, clock.clone()),
        clock,
    }
}

/// A token that is bound in this way, or not at all.
fn token(confirmation: &Value) -> String {
    let mut claims = json!({
        "iss": "mcp-ultra", "aud": RESOURCE, "sub": "ana", "exp": START + 3600,
    });
    if !confirmation.is_null() {
        claims["cnf"] = confirmation.clone();
    }
    hs256(SECRET, &json!({ "alg": "HS256" }), &claims)
}

fn bound_to(key: &SigningKey) -> String {
    token(&json!({ "jkt": key.thumbprint() }))
}

fn headers(proofs: &[&str]) -> HeaderMap {
    let values = proofs
        .iter()
        .map(|proof| HeaderValue::try_from(*proof).unwrap());
    let mut map = HeaderMap::new();
    for value in values {
        map.append("dpop", value);
    }
    map
}

impl Rig {
    async fn prove(&self, token: &str, proofs: &[&str]) -> Result<String, Refused> {
        self.prove_over(token, proofs, None).await
    }

    async fn prove_over(
        &self,
        token: &str,
        proofs: &[&str],
        certificate: Option<&PeerCertificate>,
    ) -> Result<String, Refused> {
        let believed = self.identity.believe(token).await?;
        let request = Credentials {
            method: &Method::POST,
            headers: &headers(proofs),
            certificate,
            url: None,
            keep_token: false,
        };
        let principal = self.identity.prove(believed, request).await?;
        Ok(principal.attributes().subject.clone())
    }

    async fn bearer(
        &self,
        token: &str,
        certificate: Option<&PeerCertificate>,
    ) -> Result<String, Refused> {
        let believed = self.identity.believe(token).await?;
        let principal = self.identity.bearer(believed, certificate)?;
        Ok(principal.attributes().subject.clone())
    }

    fn proof(&self, key: &SigningKey, token: &str) -> String {
        let now = self.clock.now().as_secs();
        key.proof("POST", RESOURCE, token, now).unwrap()
    }
}

#[tokio::test]
async fn a_bound_token_needs_a_new_proof_each_time() {
    let rig = rig(false, 1000);
    for key in [
        SigningKey::es256("a").unwrap(),
        SigningKey::es384("b").unwrap(),
        SigningKey::ed25519("c").unwrap(),
        SigningKey::rs256("d").unwrap(),
        SigningKey::ps256("e").unwrap(),
    ] {
        let token = bound_to(&key);
        let (first, second) = (rig.proof(&key, &token), rig.proof(&key, &token));
        let ana = Ok("ana".to_owned());
        assert_eq!(rig.prove(&token, &[&first]).await, ana);
        assert!(rig.identity.recall(&token).is_some(), "the token is known");
        assert_eq!(rig.prove(&token, &[&first]).await, Err(Refused::Replayed));
        assert_eq!(rig.prove(&token, &[]).await, Err(Refused::Proof));
        assert_eq!(rig.prove(&token, &[&second]).await, ana);
        assert_eq!(rig.bearer(&token, None).await, Err(Refused::Bound));
        assert_eq!(
            rig.identity.identify(&token).await.unwrap_err(),
            Refused::Bound
        );
    }
}

#[tokio::test]
async fn a_proof_is_for_one_request_token_and_time() {
    let rig = rig(false, 1000);
    let (key, other) = (
        SigningKey::es256("a").unwrap(),
        SigningKey::es256("b").unwrap(),
    );
    let token = bound_to(&key);
    let claims = proof_claims("POST", RESOURCE, &token, START).unwrap();
    let foreign = proof_claims("POST", RESOURCE, "other", START).unwrap();
    let header = key.proof_header();
    let with_claim = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        key.token_with(&header, &claims).unwrap()
    };
    let with_header = |name: &str, value: Value| {
        let mut header = header.clone();
        header[name] = value;
        key.token_with(&header, &claims).unwrap()
    };
    let mut private = key.jwk();
    private["d"] = json!("AA");
    let good = key.token_with(&header, &claims).unwrap();
    let (message, _) = good.rsplit_once('.').unwrap();
    let foreign_signed = other.token_with(&header, &claims).unwrap();
    let oversized = with_claim("x", json!("x".repeat(8192)));
    let bad = [
        ("htm", with_claim("htm", json!("GET"))),
        ("htm case", with_claim("htm", json!("post"))),
        ("htu", with_claim("htu", json!("https://mcp.example.com/"))),
        (
            "htu scheme",
            with_claim("htu", json!("http://mcp.example.com/mcp")),
        ),
        ("ath", with_claim("ath", foreign["ath"].clone())),
        ("no ath", with_claim("ath", Value::Null)),
        ("no jti", with_claim("jti", Value::Null)),
        ("old", with_claim("iat", json!(START - AGE - SKEW))),
        ("future", with_claim("iat", json!(START + SKEW + 1))),
        (
            "none",
            unsigned(
                &json!({ "typ": "dpop+jwt", "alg": "none", "jwk": key.jwk() }),
                &claims,
            ),
        ),
        ("alg none", with_header("alg", json!("none"))),
        (
            "HS256",
            hs256(
                &key.public_bytes(),
                &json!({ "typ": "dpop+jwt", "alg": "HS256", "jwk": key.jwk() }),
                &claims,
            ),
        ),
        ("typ", with_header("typ", json!("JWT"))),
        ("private jwk", with_header("jwk", private)),
        ("no jwk", with_header("jwk", Value::Null)),
        (
            "another's key",
            other.token_with(&other.proof_header(), &claims).unwrap(),
        ),
        ("signed by another", foreign_signed),
        ("not signed", format!("{message}.")),
        ("oversized", oversized),
        ("no JWT", "x".to_owned()),
    ];
    for (what, proof) in bad {
        let refused = rig.prove(&token, &[&proof]).await;
        assert_eq!(refused, Err(Refused::Proof), "{what}");
    }
    let two = rig.prove(&token, &[&good, &good]).await;
    assert_eq!(two, Err(Refused::Proof));
    // A proof that was refused has not been used.
    assert!(rig.prove(&token, &[&good]).await.is_ok());
    for (what, name, value) in [
        ("oldest", "iat", json!(START - AGE - SKEW + 1)),
        ("soon", "iat", json!(START + SKEW)),
        ("query", "htu", json!(format!("{RESOURCE}?a#b"))),
    ] {
        let mut claims = claims.clone();
        claims["jti"] = json!(what);
        claims[name] = value;
        let proof = key.token_with(&header, &claims).unwrap();
        assert!(rig.prove(&token, &[&proof]).await.is_ok(), "{what}");
    }
}

#[tokio::test]
async fn a_used_proof_is_never_good_again() {
    let rig = rig(false, 1000);
    let key = SigningKey::es256("a").unwrap();
    let token = bound_to(&key);
    // One from the future lasts longest.
    let early = key.proof("POST", RESOURCE, &token, START + SKEW).unwrap();
    assert!(rig.prove(&token, &[&early]).await.is_ok());
    for _ in 0..AGE + 3 * SKEW {
        let refused = rig.prove(&token, &[&early]).await.unwrap_err();
        assert!(matches!(refused, Refused::Replayed | Refused::Proof));
        rig.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(rig.prove(&token, &[&early]).await, Err(Refused::Proof));
}

#[tokio::test]
async fn where_no_more_can_be_remembered_none_is_accepted() {
    let rig = rig(false, 64);
    let key = SigningKey::es256("a").unwrap();
    let token = bound_to(&key);
    let mut accepted = Vec::new();
    let mut full = false;
    for _ in 0..500 {
        let proof = rig.proof(&key, &token);
        match rig.prove(&token, &[&proof]).await {
            Ok(_) => accepted.push(proof),
            Err(why) => {
                assert_eq!(why, Refused::ReplayStore);
                full = true;
            }
        }
    }
    assert!(full && accepted.len() <= 64, "{}", accepted.len());
    for proof in &accepted {
        assert_eq!(rig.prove(&token, &[proof]).await, Err(Refused::Replayed));
    }
    rig.clock.advance(Duration::from_secs(AGE + SKEW + 1));
    let proof = rig.proof(&key, &token);
    assert!(rig.prove(&token, &[&proof]).await.is_ok(), "it heals");
}

#[tokio::test]
async fn a_plain_token_stays_one_unless_bound_ones_are_required() {
    let key = SigningKey::es256("a").unwrap();
    let plain = token(&Value::Null);
    let free = rig(false, 1000);
    assert!(free.bearer(&plain, None).await.is_ok());
    let proof = free.proof(&key, &plain);
    assert_eq!(free.prove(&plain, &[&proof]).await, Err(Refused::Unbound));
    let strict = rig(true, 1000);
    assert_eq!(strict.bearer(&plain, None).await, Err(Refused::Unbound));
    let bound = bound_to(&key);
    let proof = strict.proof(&key, &bound);
    assert!(strict.prove(&bound, &[&proof]).await.is_ok());
}

#[tokio::test]
async fn a_token_of_a_certificate_is_good_on_its_connections_alone() {
    let rig = rig(false, 1000);
    let certificate = |der: &[u8], end: u64| {
        let end = Duration::from_secs(end);
        PeerCertificate::new(Vec::new(), "CN=ca".to_owned(), end, der)
    };
    // SHA-256 of "abc" (FIPS 180-2, B.1).
    let thumbprint = "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0";
    let (own, other) = (
        certificate(b"abc", START + 100),
        certificate(b"other", START + 100),
    );
    let token_of_it = token(&json!({ "x5t#S256": thumbprint }));
    assert!(rig.bearer(&token_of_it, Some(&own)).await.is_ok());
    let ended = certificate(b"abc", START);
    for wrong in [None, Some(&other), Some(&ended)] {
        let refused = rig.bearer(&token_of_it, wrong).await;
        assert_eq!(refused, Err(Refused::Bound));
    }
    // Of both, both are needed.
    let key = SigningKey::es256("a").unwrap();
    let both = token(&json!({ "x5t#S256": thumbprint, "jkt": key.thumbprint() }));
    assert_eq!(rig.bearer(&both, Some(&own)).await, Err(Refused::Bound));
    let proof = rig.proof(&key, &both);
    let refused = rig.prove_over(&both, &[&proof], Some(&other)).await;
    assert_eq!(refused, Err(Refused::Bound));
    assert!(rig.prove_over(&both, &[&proof], Some(&own)).await.is_ok());
}
