//! Identity against an identity provider on loopback, by a clock that the test moves.

use std::{sync::Arc, time::Duration};

use mcp_ultra_domain::{Clock, ManualClock, Principal, PrincipalKind, ports::MemoryReplayStore};
use mcp_ultra_edge::{
    identity::{
        Algorithm, ClaimPaths, DpopSettings, Identity, IdentitySettings, IssuerSettings, KeyTimes,
        LONGEST_TOKEN, LoginRule, Refused, SharedSecret,
    },
    outbound::{Outbound, OutboundConfig},
};
use mcp_ultra_testkit::identity::{Discovery, IdentityProvider, Mood, SigningKey, hs256, unsigned};
use serde_json::{Value, json};

const RESOURCE: &str = "https://mcp.example.com/mcp";
const SECRET: &[u8] = b"a secret of thirty-two bytes and more";
const START: u64 = 1_800_000_000;
const SECOND: Duration = Duration::from_secs(1);

struct Rig {
    provider: IdentityProvider,
    clock: Arc<ManualClock>,
    identity: Arc<Identity>,
}

async fn rig(discovery: Discovery, keys: &[&SigningKey]) -> Rig {
    rig_with(discovery, keys, |_| ()).await
}

async fn rig_with(
    discovery: Discovery,
    keys: &[&SigningKey],
    change: impl FnOnce(&mut IdentitySettings),
) -> Rig {
    rig_reaching(&OutboundConfig::default(), discovery, keys, change).await
}

async fn rig_reaching(
    outbound: &OutboundConfig,
    discovery: Discovery,
    keys: &[&SigningKey],
    change: impl FnOnce(&mut IdentitySettings),
) -> Rig {
    let provider = IdentityProvider::start(discovery, keys).await.unwrap();
    let clock = Arc::new(ManualClock::at(Duration::from_secs(START)));
    let mut settings = IdentitySettings {
        resource: RESOURCE.to_owned(),
        issuers: vec![IssuerSettings {
            issuer: provider.issuer().to_owned(),
            audiences: Vec::new(),
            jwks_uri: None,
            algorithms: vec![
                Algorithm::Rs256,
                Algorithm::Ps256,
                Algorithm::Es256,
                Algorithm::EdDsa,
            ],
            claims: ClaimPaths::default(),
        }],
        secret: None,
        api_keys: None,
        required_scopes: Vec::new(),
        login: LoginRule::default(),
        certificates: Vec::new(),
        supported_scopes: Vec::new(),
        clock_skew: Duration::from_mins(1),
        times: KeyTimes {
            refresh: Duration::from_mins(5),
            max_age: Duration::from_hours(1),
            retry: Duration::from_secs(10),
            timeout: Duration::from_millis(500),
        },
        cached_tokens: 100,
        dpop: DpopSettings {
            required: false,
            max_age: Duration::from_mins(1),
            used: Arc::new(MemoryReplayStore::new(1000)),
        },
    };
    change(&mut settings);
    let outbound = Outbound::new(outbound).unwrap();
    let identity = Arc::new(Identity::new(settings, &outbound, clock.clone()));
    Rig {
        provider,
        clock,
        identity,
    }
}

impl Rig {
    fn now(&self) -> u64 {
        self.clock.now().as_secs()
    }

    fn claims(&self) -> Value {
        self.provider.claims(RESOURCE, "ana", self.now())
    }

    /// The claims with one of them changed, or removed by null.
    fn but(&self, name: &str, value: Value) -> Value {
        let mut claims = self.claims();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value;
        }
        claims
    }

    async fn subject(&self, token: &str) -> Result<String, Refused> {
        let principal = self.identity.identify(token).await?;
        Ok(principal.attributes().subject.clone())
    }

    async fn refused(&self, token: &str) -> Refused {
        self.subject(token).await.expect_err("the token is bad")
    }
}

#[tokio::test]
async fn tokens_of_every_algorithm_are_verified_once() {
    let keys = [
        SigningKey::es256("a").unwrap(),
        SigningKey::ed25519("b").unwrap(),
        SigningKey::rs256("c").unwrap(),
        SigningKey::ps256("d").unwrap(),
    ];
    let rig = rig(Discovery::OAuth, &keys.each_ref()).await;
    for key in &keys {
        let token = key.token(&rig.but("scope", json!("x y"))).unwrap();
        assert!(rig.identity.recall(&token).is_none());
        let principal = rig.identity.identify(&token).await.unwrap();
        let attributes = principal.attributes();
        assert_eq!(attributes.subject, "ana", "{}", key.algorithm());
        assert_eq!(attributes.issuer, rig.provider.issuer());
        assert_eq!(attributes.kind, PrincipalKind::User);
        assert!(attributes.scopes.contains("y"));
        let ends = Duration::from_secs(START + 300 + 60);
        assert_eq!(attributes.expires, Some(ends));
        let again = rig.identity.recall(&token).unwrap().unwrap();
        let again = rig.identity.bearer(again, None).unwrap();
        assert!(std::ptr::eq(again.attributes(), attributes), "shared");
    }
    assert_eq!(rig.provider.jwks_requests(), 1);
}

#[tokio::test]
async fn openid_discovery_and_a_given_address_work_too() {
    let key = SigningKey::es256("a").unwrap();
    let openid = rig(Discovery::OpenId, &[&key]).await;
    let token = key.token(&openid.claims()).unwrap();
    assert_eq!(openid.subject(&token).await.unwrap(), "ana");
    assert_eq!(openid.provider.metadata_requests(), 3);
    // Keys of one that has no metadata at all.
    let provider = IdentityProvider::start(Discovery::OAuth, &[&key])
        .await
        .unwrap();
    let uri = provider.jwks_uri();
    let given = rig_with(Discovery::OAuth, &[], |settings| {
        settings.issuers[0].jwks_uri = Some(uri);
    })
    .await;
    let token = key.token(&given.claims()).unwrap();
    assert_eq!(given.subject(&token).await.unwrap(), "ana");
    assert_eq!(given.provider.metadata_requests(), 0);
}

#[tokio::test]
async fn every_bad_token_is_refused_for_its_own_reason() {
    let (ec, rsa) = (
        SigningKey::es256("ec").unwrap(),
        SigningKey::rs256("rsa").unwrap(),
    );
    let other = SigningKey::es256("ec").unwrap();
    let stranger = SigningKey::es256("stranger").unwrap();
    let rig = rig(Discovery::OAuth, &[&ec, &rsa]).await;
    let good = ec.token(&rig.claims()).unwrap();
    assert!(rig.subject(&good).await.is_ok());
    let now = rig.now();
    for (name, value, why) in [
        ("exp", json!(now - 61), Refused::Expired),
        ("exp", Value::Null, Refused::Expired),
        ("exp", json!(-1), Refused::Expired),
        ("exp", json!("soon"), Refused::Malformed),
        ("nbf", json!(now + 61), Refused::NotYetValid),
        ("iat", json!(now + 3600), Refused::NotYetValid),
        ("aud", json!("https://other.example/mcp"), Refused::Audience),
        (
            "aud",
            json!("https://mcp.example.com/mcp/"),
            Refused::Audience,
        ),
        ("aud", json!([]), Refused::Audience),
        ("aud", Value::Null, Refused::Audience),
        ("iss", json!("https://attacker.example"), Refused::Issuer),
        (
            "iss",
            json!(format!("{}/", rig.provider.issuer())),
            Refused::Issuer,
        ),
        ("iss", Value::Null, Refused::Issuer),
        ("sub", Value::Null, Refused::Claim),
        ("cnf", json!({ "jkt": "x" }), Refused::Bound),
    ] {
        let claims = rig.but(name, value);
        let token = ec.token(&claims).unwrap();
        assert_eq!(rig.refused(&token).await, why, "{claims}");
        assert_eq!(rig.refused(&token).await, why, "again: {claims}");
    }
    for (name, value) in [
        ("exp", json!(now - 59)),
        ("exp", json!(f64::MAX)),
        ("nbf", json!(now + 59)),
        ("iat", json!(0.5)),
        ("aud", json!(["x", RESOURCE])),
    ] {
        let claims = rig.but(name, value);
        assert!(
            rig.subject(&ec.token(&claims).unwrap()).await.is_ok(),
            "{claims}"
        );
    }
    let claims = rig.claims();
    let with = |header: Value| ec.token_with(&header, &claims).unwrap();
    let none = json!({ "alg": "none" });
    let shared = json!({ "alg": "HS256", "kid": "rsa" });
    let (head, rest) = good.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    let forged = ec.token(&rig.but("sub", json!("root"))).unwrap();
    let (_, forged) = forged.split_once('.').unwrap();
    let (forged, _) = forged.split_once('.').unwrap();
    for (token, why) in [
        (unsigned(&none, &claims), Refused::Algorithm),
        (
            hs256(&rsa.public_bytes(), &shared, &claims),
            Refused::Algorithm,
        ),
        (
            hs256(&ec.public_bytes(), &shared, &claims),
            Refused::Algorithm,
        ),
        (
            with(json!({ "alg": "ES384", "kid": "ec" })),
            Refused::Algorithm,
        ),
        (
            with(json!({ "alg": "RS256", "kid": "ec" })),
            Refused::Algorithm,
        ),
        (
            with(json!({ "alg": "RS256", "kid": "rsa" })),
            Refused::Signature,
        ),
        (other.token(&claims).unwrap(), Refused::Signature),
        (
            with(json!({ "alg": "ES256", "kid": "ec", "typ": "dpop+jwt" })),
            Refused::Malformed,
        ),
        (
            with(json!({ "alg": "ES256", "kid": "ec", "jwk": other.jwk(), "crit": ["x"] })),
            Refused::Malformed,
        ),
        (stranger.token(&claims).unwrap(), Refused::UnknownKey),
        (format!("{head}.{forged}.{signature}"), Refused::Signature),
        (format!("{head}.{payload}."), Refused::Signature),
        (format!("{head}.{payload}.{signature}A"), Refused::Malformed),
        (format!("{head}.{payload}"), Refused::Malformed),
        ("x".repeat(LONGEST_TOKEN + 1), Refused::TooLarge),
        ("x".to_owned(), Refused::Malformed),
    ] {
        let found = rig.refused(&token).await;
        let unreadable = why == Refused::Malformed && found == Refused::Signature;
        assert!(
            found == why || unreadable,
            "{found:?}, not {why:?}: {token}"
        );
    }
    // A key of the token's own is not looked at.
    let brought = json!({ "alg": "ES256", "kid": "ec", "jwk": other.jwk() });
    let token = other.token_with(&brought, &claims).unwrap();
    assert_eq!(rig.refused(&token).await, Refused::Signature);
    assert!(rig.subject(&good).await.is_ok());
}

#[tokio::test]
async fn tokens_of_one_caller_tell_of_their_own_logins() {
    let key = SigningKey::es256("k").unwrap();
    let rig = rig(Discovery::OAuth, &[&key]).await;
    let now = rig.now();
    let identified = async |members: Value| {
        let mut claims = rig.claims();
        let all = claims.as_object_mut().unwrap();
        all.extend(members.as_object().unwrap().clone());
        let token = key.token(&claims).unwrap();
        rig.identity.identify(&token).await.unwrap()
    };
    let strong = json!({ "acr": "gold", "amr": ["mfa"], "auth_time": now - 60 });
    let strong = identified(strong).await;
    let weak = identified(json!({ "amr": ["pwd"] })).await;
    assert_eq!(strong.id(), weak.id(), "sessions are of both");
    let login = |principal: &Principal| principal.attributes().login.clone();
    let (strong, weak) = (login(&strong), login(&weak));
    assert_eq!(strong.acr.as_deref(), Some("gold"));
    assert!(strong.amr.contains("mfa") && !weak.amr.contains("mfa"));
    assert_eq!(strong.auth_time, Some(Duration::from_secs(now - 60)));
    assert_eq!((weak.acr, weak.auth_time), (None, None));
    // Clocks differ by no more than a minute. A later login is none, and the token is good.
    for (ahead, believed) in [(60, true), (61, false)] {
        let one = identified(json!({ "auth_time": now + ahead, "acr": 2 })).await;
        assert_eq!(login(&one).auth_time.is_some(), believed, "{ahead}");
        assert_eq!(login(&one).acr, None);
    }
}

#[tokio::test]
async fn a_token_without_a_key_id_is_tried_with_the_keys_that_fit() {
    let (one, two) = (
        SigningKey::es256("one").unwrap(),
        SigningKey::es256("two").unwrap(),
    );
    let rig = rig(Discovery::OAuth, &[&one, &two]).await;
    let token = two.token_with(&json!({ "alg": "ES256" }), &rig.claims());
    assert_eq!(rig.subject(&token.unwrap()).await.unwrap(), "ana");
}

#[tokio::test]
async fn new_keys_are_found_and_withdrawn_ones_end_their_tokens() {
    let (old, new) = (
        SigningKey::es256("old").unwrap(),
        SigningKey::es256("new").unwrap(),
    );
    let rig = rig(Discovery::OAuth, &[&old]).await;
    let first = old.token(&rig.but("exp", json!(START + 9000))).unwrap();
    assert!(rig.subject(&first).await.is_ok());
    rig.provider.publish(&[&old, &new]);
    rig.clock.advance(11 * SECOND);
    let second = new.token(&rig.claims()).unwrap();
    assert!(rig.subject(&second).await.is_ok(), "asked for at once");
    assert!(matches!(rig.identity.recall(&first), Some(Ok(_))));
    rig.provider.publish(&[&new]);
    rig.clock.advance(301 * SECOND);
    // A known token is what notices that keys are due, and does not wait for them.
    assert!(matches!(rig.identity.recall(&first), Some(Ok(_))));
    for _ in 0..200 {
        if rig.identity.recall(&first).is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(rig.refused(&first).await, Refused::UnknownKey);
    assert_eq!(rig.provider.jwks_requests(), 3);
}

#[tokio::test]
async fn a_key_that_replaces_one_of_its_id_is_found_by_its_signature() {
    let new = || SigningKey::es256("same").unwrap();
    let keys = || [new(), new(), new()];
    for keys in [keys(), keys().map(SigningKey::unnamed)] {
        let [old, next, last] = &keys;
        let rig = rig(Discovery::OAuth, &[old]).await;
        let first = old.token(&rig.but("exp", json!(START + 9000))).unwrap();
        let principal = rig.identity.identify(&first).await.unwrap();
        rig.provider.publish(&[next]);
        rig.clock.advance(11 * SECOND);
        let second = next.token(&rig.claims()).unwrap();
        assert_eq!(
            rig.subject(&second).await.unwrap(),
            "ana",
            "asked for at once"
        );
        assert!(principal.attributes().withdrawal.is_withdrawn());
        assert_eq!(rig.refused(&first).await, Refused::Signature);
        // The next one comes too soon, and is not kept waiting for longer than that.
        rig.provider.publish(&[last]);
        rig.clock.advance(4 * SECOND);
        let third = last.token(&rig.claims()).unwrap();
        assert_eq!(rig.refused(&third).await, Refused::Signature);
        rig.clock.advance(6 * SECOND);
        assert_eq!(rig.subject(&third).await.unwrap(), "ana");
        assert_eq!(rig.provider.jwks_requests(), 3);
    }
}

#[tokio::test]
async fn a_flood_of_bad_signatures_is_answered_fast_and_asks_no_more_often() {
    let key = SigningKey::es256("same").unwrap();
    let stranger = SigningKey::es256("same").unwrap();
    let rig = rig(Discovery::OAuth, &[&key]).await;
    let good = key.token(&rig.claims()).unwrap();
    assert!(rig.subject(&good).await.is_ok());
    for number in 0..500 {
        if number % 100 == 0 {
            rig.clock.advance(4 * SECOND);
        }
        let claims = rig.but("sub", json!(format!("user-{number}")));
        let token = stranger.token(&claims).unwrap();
        let refused = tokio::time::timeout(SECOND, rig.refused(&token)).await;
        assert_eq!(refused.unwrap(), Refused::Signature);
    }
    // 20 seconds: the first one, and one every ten.
    let asked = rig.provider.jwks_requests();
    assert!((2..=3).contains(&asked), "{asked}");
    // Of an issuer that does not answer, one token waits for the end of the attempt.
    rig.provider.behave(Mood::Slow(Duration::from_secs(30)));
    rig.clock.advance(11 * SECOND);
    for (number, most) in [(0, 10 * SECOND), (1, SECOND * 2 / 5), (2, SECOND * 2 / 5)] {
        let claims = rig.but("sub", json!(format!("other-{number}")));
        let token = stranger.token(&claims).unwrap();
        let refused = tokio::time::timeout(most, rig.refused(&token)).await;
        assert_eq!(refused.unwrap(), Refused::Signature, "{number}");
    }
    assert!(rig.subject(&good).await.is_ok());
    let fresh = key.token(&rig.but("sub", json!("eva"))).unwrap();
    assert_eq!(rig.subject(&fresh).await.unwrap(), "eva");
}

#[tokio::test]
async fn unknown_keys_are_asked_for_at_most_so_often() {
    let key = SigningKey::es256("known").unwrap();
    let rig = rig(Discovery::OAuth, &[&key]).await;
    let good = key.token(&rig.claims()).unwrap();
    assert!(rig.subject(&good).await.is_ok());
    for number in 0..500 {
        if number % 100 == 0 {
            rig.clock.advance(4 * SECOND);
        }
        let header = json!({ "alg": "ES256", "kid": format!("kid-{number}") });
        let token = key.token_with(&header, &rig.claims()).unwrap();
        assert_eq!(rig.refused(&token).await, Refused::UnknownKey);
    }
    // 20 seconds: the first one, and one every ten.
    assert!(
        rig.provider.jwks_requests() <= 3,
        "{}",
        rig.provider.jwks_requests()
    );
    assert!(rig.subject(&good).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_wait_for_the_same_keys_ask_once() {
    let key = SigningKey::es256("a").unwrap();
    let rig = Arc::new(rig(Discovery::OAuth, &[&key]).await);
    rig.provider.behave(Mood::Slow(Duration::from_millis(100)));
    let gone = {
        let (rig, token) = (rig.clone(), key.token(&rig.claims()).unwrap());
        tokio::spawn(async move { rig.subject(&token).await })
    };
    tokio::time::sleep(Duration::from_millis(20)).await;
    // The client that asked first goes away, which ends nothing for the others.
    gone.abort();
    let all = (0..50).map(|number| {
        let claims = rig.but("sub", json!(format!("user-{number}")));
        let (rig, token) = (rig.clone(), key.token(&claims).unwrap());
        tokio::spawn(async move { rig.subject(&token).await })
    });
    for one in futures_util::future::join_all(all).await {
        assert!(one.unwrap().is_ok());
    }
    assert_eq!(rig.provider.jwks_requests(), 1);
}

#[tokio::test]
async fn known_keys_serve_until_their_maximum_age_when_the_provider_is_down() {
    let key = SigningKey::es256("a").unwrap();
    let rig = rig(Discovery::OAuth, &[&key]).await;
    let token = key.token(&rig.but("exp", json!(START + 9000))).unwrap();
    assert!(rig.subject(&token).await.is_ok());
    rig.provider.behave(Mood::Down);
    for _ in 0..11 {
        rig.clock.advance(320 * SECOND);
        assert!(rig.subject(&token).await.is_ok());
        let fresh = key.token(&rig.claims()).unwrap();
        assert!(rig.subject(&fresh).await.is_ok());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rig.clock.advance(100 * SECOND);
    assert_eq!(rig.refused(&token).await, Refused::Unavailable);
    rig.provider.behave(Mood::Fine);
    rig.clock.advance(11 * SECOND);
    assert!(rig.subject(&token).await.is_ok(), "it heals by itself");
}

#[tokio::test]
async fn a_provider_that_lies_or_is_slow_gives_no_keys() {
    let key = SigningKey::es256("a").unwrap();
    for mood in [
        Mood::OtherIssuer,
        Mood::OtherHost,
        Mood::Huge,
        Mood::Garbage,
        Mood::Redirect,
        Mood::Down,
        Mood::Slow(Duration::from_secs(30)),
    ] {
        let rig = rig(Discovery::OAuth, &[&key]).await;
        rig.provider.behave(mood);
        let token = key.token(&rig.claims()).unwrap();
        let refused = tokio::time::timeout(10 * SECOND, rig.refused(&token));
        assert_eq!(refused.await.unwrap(), Refused::Unavailable, "{mood:?}");
        // The next one does not wait, and does not ask.
        let asked = rig.provider.metadata_requests() + rig.provider.jwks_requests();
        let second = tokio::time::timeout(SECOND / 5, rig.refused(&token));
        assert_eq!(second.await.unwrap(), Refused::Unavailable, "{mood:?}");
        let asked_now = rig.provider.metadata_requests() + rig.provider.jwks_requests();
        assert_eq!(asked, asked_now, "{mood:?}");
        rig.provider.behave(Mood::Fine);
        rig.clock.advance(11 * SECOND);
        assert!(rig.subject(&token).await.is_ok(), "{mood:?}");
    }
}

#[tokio::test]
async fn a_shared_secret_verifies_hs256_of_its_own_issuer_alone() {
    let key = SigningKey::es256("a").unwrap();
    let rig = rig_with(Discovery::OAuth, &[&key], |settings| {
        settings.required_scopes = vec!["use".to_owned()];
        settings.secret = Some(SharedSecret {
            secret: SECRET.to_vec(),
            issuer: "mcp-ultra".to_owned(),
            claims: ClaimPaths::default(),
        });
    })
    .await;
    let header = json!({ "alg": "HS256", "typ": "JWT" });
    let mut claims = rig.claims();
    let token = |claims: &Value| hs256(SECRET, &header, claims);
    assert_eq!(rig.refused(&token(&claims)).await, Refused::Issuer);
    claims["iss"] = json!("mcp-ultra");
    claims["scope"] = json!("use");
    let principal = rig.identity.identify(&token(&claims)).await.unwrap();
    assert_eq!(principal.attributes().issuer, "mcp-ultra");
    assert_eq!(rig.identity.admit(&principal), Ok(()));
    claims["scope"] = json!("used");
    let principal = rig.identity.identify(&token(&claims)).await.unwrap();
    assert_eq!(rig.identity.admit(&principal), Err(Refused::Scope));
    let wrong = hs256(b"another secret of thirty-two bytes.", &header, &claims);
    assert_eq!(rig.refused(&wrong).await, Refused::Signature);
    // Nor can the key of an issuer speak for it.
    let token = key.token(&claims).unwrap();
    assert_eq!(rig.refused(&token).await, Refused::Issuer);
}

#[tokio::test]
async fn keys_at_another_host_need_leave() {
    let key = SigningKey::es256("k").unwrap();
    let allow = |hosts: &[&str], addresses: &[&str]| OutboundConfig {
        allowed_hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
        allowed_addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        ..OutboundConfig::default()
    };
    for (outbound, fine) in [
        (allow(&[], &["127.0.0.0/8", "::1"]), false),
        (allow(&["localhost"], &[]), false),
        (allow(&["localhost"], &["127.0.0.0/8", "::1"]), true),
    ] {
        let rig = rig_reaching(&outbound, Discovery::OAuth, &[&key], |_| ()).await;
        rig.provider.behave(Mood::OtherHost);
        let answer = rig.subject(&key.token(&rig.claims()).unwrap()).await;
        let expected = if fine {
            Ok("ana".to_owned())
        } else {
            Err(Refused::Unavailable)
        };
        assert_eq!(answer, expected, "{outbound:?}");
        assert_eq!(rig.provider.jwks_requests(), usize::from(fine));
    }
}
