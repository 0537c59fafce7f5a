//! Access tokens for upstreams from an authorization server on loopback, by a clock that the test
//! moves.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use mcp_ultra_domain::{Attributes, ManualClock, Principal, PrincipalKind};
use mcp_ultra_edge::{
    credentials::{
        CallerToken, ClientAuth, ClientSettings, CredentialError, CredentialSettings, Credentials,
        EndpointPlace, Fetched, Grant, Subject, TokenEndpoint, Verifier,
    },
    outbound::{Outbound, OutboundConfig},
};
use mcp_ultra_testkit::identity::{Discovery, IdentityProvider, Mood, SigningKey, TokenMood};
use serde_json::{Value, json};

const START: u64 = 1_800_000_000;
const SECRET: &str = "a client's secret";
const SECOND: Duration = Duration::from_secs(1);

struct Rig {
    provider: IdentityProvider,
    key: SigningKey,
    clock: Arc<ManualClock>,
    told: Arc<Mutex<Vec<Fetched>>>,
}

impl Rig {
    async fn start(discovery: Discovery) -> Self {
        let key = SigningKey::es256("k").unwrap();
        let provider = IdentityProvider::start(discovery, &[&key]).await.unwrap();
        provider.register("gateway", SECRET);
        Self {
            provider,
            key,
            clock: Arc::new(ManualClock::at(Duration::from_secs(START))),
            told: Arc::default(),
        }
    }

    fn settings(&self) -> CredentialSettings {
        CredentialSettings {
            client: ClientSettings {
                place: EndpointPlace::Issuer(self.provider.issuer().to_owned()),
                id: "gateway".into(),
                secret: Some(SECRET.into()),
                auth: ClientAuth::Basic,
                timeout: Duration::from_millis(500),
            },
            grant: Grant::ClientCredentials,
            scopes: Vec::new(),
            resource: Some("https://crm.example.com/mcp".into()),
            url: "https://crm.example.com/mcp".into(),
        }
    }

    fn credentials(&self, settings: CredentialSettings) -> Credentials {
        let told = self.told.clone();
        Credentials::new(
            "crm".into(),
            settings,
            Outbound::new(&OutboundConfig::default()).unwrap(),
            self.clock.clone(),
            move |outcome| told.lock().unwrap().push(outcome),
        )
    }

    fn exchanging(&self) -> Credentials {
        self.credentials(CredentialSettings {
            grant: Grant::TokenExchange {
                audience: Some("crm".into()),
                requested: None,
                issuers: vec!["idp".into()],
                own: false,
            },
            ..self.settings()
        })
    }

    /// A caller with a token that is good for five minutes by the moved clock.
    fn caller(&self, subject: &str) -> Subject {
        let claims = self.provider.claims("gateway", subject, START);
        let text = self.key.token(&claims).unwrap();
        let mut attributes = Attributes::new(PrincipalKind::User, "default", "idp", subject);
        attributes.expires = Some(Duration::from_secs(START + 300));
        let mut digest = [0; 32];
        for (at, byte) in text.bytes().rev().take(32).enumerate() {
            digest[at] = byte;
        }
        Subject::Caller {
            principal: Principal::from(attributes),
            token: Some(CallerToken::new(&text, digest)),
        }
    }

    fn told(&self) -> Vec<Fetched> {
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

async fn header(credentials: &Credentials, subject: &Subject) -> Result<String, CredentialError> {
    let token = credentials.token(subject).await?;
    let header = token.map(|token| token.header().to_str().unwrap().to_owned());
    Ok(header.unwrap_or_default())
}

#[tokio::test]
async fn the_endpoint_is_found_once_where_the_issuer_says() {
    for discovery in [Discovery::OAuth, Discovery::OpenId] {
        let rig = Rig::start(discovery).await;
        let credentials = rig.credentials(rig.settings());
        let first = header(&credentials, &Subject::Gateway).await.unwrap();
        assert!(first.starts_with("Bearer issued-for-client."));
        let looked = rig.provider.metadata_requests();
        rig.clock.advance(Duration::from_secs(301));
        let second = header(&credentials, &rig.caller("ana")).await.unwrap();
        assert_ne!(first, second, "one for all, and another one after its end");
        assert_eq!(rig.provider.metadata_requests(), looked);
        assert_eq!(rig.provider.token_requests().len(), 2);
        assert_eq!(rig.told(), [Fetched::Token, Fetched::Token]);
    }
}

#[tokio::test]
async fn metadata_that_lies_leads_nowhere() {
    for mood in [
        Mood::OtherIssuer,
        Mood::OtherHost,
        Mood::Down,
        Mood::Garbage,
        Mood::Redirect,
    ] {
        let rig = Rig::start(Discovery::OAuth).await;
        rig.provider.behave(mood);
        let credentials = rig.credentials(rig.settings());
        let failed = header(&credentials, &Subject::Gateway).await;
        assert_eq!(failed, Err(CredentialError::Unavailable), "{mood:?}");
        assert!(
            rig.provider.token_requests().is_empty(),
            "no secret was sent: {mood:?}"
        );
    }
}

#[tokio::test]
async fn answers_that_lie_are_not_used_and_hurt_for_a_moment_only() {
    let rig = Rig::start(Discovery::OAuth).await;
    let says = |status, text: &str| TokenMood::Says(status, text.to_owned());
    let huge = format!(r#"{{"access_token":"{}"}}"#, "x".repeat(2 * 1024 * 1024));
    for mood in [
        TokenMood::Down,
        TokenMood::Slow(Duration::from_secs(5)),
        TokenMood::Redirect,
        says(200, "<html>Welcome</html>"),
        says(200, &huge),
        says(200, ""),
        says(400, "<html>Sorry</html>"),
        says(400, r#"{"error":"temporarily_unavailable"}"#),
        TokenMood::Member("token_type", json!("DPoP")),
        TokenMood::Member("token_type", Value::Null),
        TokenMood::Member("access_token", json!("")),
        TokenMood::Member("access_token", json!("a\r\nX-Evil: 1")),
        TokenMood::Member("expires_in", json!(-1)),
        TokenMood::Member("expires_in", json!("never")),
    ] {
        let credentials = rig.credentials(rig.settings());
        rig.provider.issue(mood.clone());
        let begun = Instant::now();
        let failed = header(&credentials, &Subject::Gateway).await;
        assert_eq!(failed, Err(CredentialError::Unavailable), "{mood:?}");
        assert!(begun.elapsed() < 3 * SECOND, "{mood:?}");
        assert_eq!(rig.told(), [Fetched::Unavailable], "{mood:?}");
        let asked = rig.provider.token_requests().len();
        rig.provider.issue(TokenMood::Fine);
        assert!(header(&credentials, &Subject::Gateway).await.is_err());
        assert_eq!(rig.provider.token_requests().len(), asked, "not at once");
        rig.clock.advance(2 * SECOND);
        assert!(
            header(&credentials, &Subject::Gateway).await.is_ok(),
            "{mood:?}"
        );
        rig.told();
    }
}

#[tokio::test]
async fn a_token_without_an_end_is_not_used_for_ever() {
    let rig = Rig::start(Discovery::OAuth).await;
    rig.provider
        .issue(TokenMood::Member("expires_in", Value::Null));
    let credentials = rig.credentials(rig.settings());
    let first = header(&credentials, &Subject::Gateway).await.unwrap();
    rig.clock.advance(Duration::from_secs(200));
    assert_eq!(
        header(&credentials, &Subject::Gateway).await.unwrap(),
        first
    );
    rig.clock.advance(Duration::from_secs(100));
    assert_ne!(
        header(&credentials, &Subject::Gateway).await.unwrap(),
        first
    );
}

#[tokio::test]
async fn a_client_that_is_refused_is_not_told_why_and_its_operator_is() {
    let rig = Rig::start(Discovery::OAuth).await;
    let mut settings = rig.settings();
    settings.client.secret = Some("wrong".into());
    let credentials = rig.credentials(settings);
    let refused = header(&credentials, &Subject::Gateway).await;
    assert_eq!(refused, Err(CredentialError::Refused));
    assert_eq!(rig.told(), [Fetched::Refused]);
    credentials.take_secret_of(&rig.credentials(rig.settings()));
    assert!(
        header(&credentials, &Subject::Gateway).await.is_ok(),
        "at once"
    );
    let token = header(&credentials, &Subject::Gateway).await.unwrap();
    credentials.take_secret_of(&rig.credentials(rig.settings()));
    assert_eq!(
        header(&credentials, &Subject::Gateway).await.unwrap(),
        token
    );
}

#[tokio::test]
async fn a_refusal_that_repeats_what_was_sent_does_not_show_it() {
    let rig = Rig::start(Discovery::OAuth).await;
    let outbound = Outbound::new(&OutboundConfig::default()).unwrap();
    let endpoint = TokenEndpoint::new(rig.settings().client, outbound, rig.clock.clone());
    let sent = ["a-code", "a-verifier", "a-refresh", SECRET];
    let words = format!("not {}", sent.join(", nor "));
    let refusal = json!({ "error": "invalid_grant", "error_description": words });
    rig.provider
        .issue(TokenMood::Says(400, refusal.to_string()));
    let verifier = Verifier::kept("a-verifier");
    let redeemed = endpoint.redeem("a-code", &verifier, "https://mcp.example.com", "");
    let shown = redeemed.await.unwrap_err().to_string();
    for secret in ["a-code", "a-verifier", SECRET] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let refreshed = endpoint.refresh(&"a-refresh".into(), "").await;
    let shown = refreshed.unwrap_err().to_string();
    assert!(shown.contains("invalid_grant: not a-code"), "{shown}");
    assert!(!shown.contains("a-refresh"), "{shown}");
}

#[tokio::test]
async fn what_is_exchanged_is_of_one_caller_and_ends_with_their_token() {
    let rig = Rig::start(Discovery::OAuth).await;
    rig.provider.issue_for(Duration::from_hours(1));
    let credentials = rig.exchanging();
    let (ana, bob) = (rig.caller("ana"), rig.caller("bob"));
    for (caller, subject) in [(&ana, "ana"), (&bob, "bob"), (&ana, "ana")] {
        let header = header(&credentials, caller).await.unwrap();
        let issued = rig.provider.issued(header.strip_prefix("Bearer ").unwrap());
        let issued = issued.unwrap();
        assert_eq!(issued.subject.as_deref(), Some(subject));
        assert_eq!(issued.audience.as_deref(), Some("crm"));
        assert_eq!(
            issued.resource.as_deref(),
            Some("https://crm.example.com/mcp")
        );
    }
    assert_eq!(rig.provider.token_requests().len(), 2);
    // Another token of the same principal may allow less: it has one of its own.
    let again = rig.caller("ana");
    header(&credentials, &again).await.unwrap();
    assert_eq!(rig.provider.token_requests().len(), 3);

    rig.clock.advance(Duration::from_secs(301));
    let ended = header(&credentials, &ana).await;
    assert_eq!(ended, Err(CredentialError::CallerEnded));
    assert_eq!(
        rig.provider.token_requests().len(),
        3,
        "and nothing is asked"
    );
}

#[tokio::test]
async fn who_has_no_token_gets_none_in_exchange() {
    let rig = Rig::start(Discovery::OAuth).await;
    let credentials = rig.exchanging();
    let nobody = Subject::Caller {
        principal: Principal::anonymous(),
        token: None,
    };
    let refused = header(&credentials, &nobody).await;
    assert_eq!(refused, Err(CredentialError::NoCallerToken));
    assert!(
        credentials
            .token(&Subject::Gateway)
            .await
            .unwrap()
            .is_none()
    );
    let attributes = Attributes::new(PrincipalKind::User, "default", "another idp", "ana");
    let foreign = Subject::Caller {
        principal: Principal::from(attributes),
        token: Some(CallerToken::new("a.b.c", [1; 32])),
    };
    let refused = header(&credentials, &foreign).await;
    assert_eq!(refused, Err(CredentialError::NoCallerToken), "{foreign:?}");
    assert!(rig.provider.token_requests().is_empty());
}

#[tokio::test]
async fn a_caller_whose_token_is_not_exchanged_is_told_apart_from_a_gateway_that_is_refused() {
    let rig = Rig::start(Discovery::OAuth).await;
    let credentials = rig.exchanging();
    let foreign = SigningKey::es256("k").unwrap();
    let claims = rig.provider.claims("gateway", "ana", START);
    let forged = Subject::Caller {
        principal: Principal::from(Attributes::new(PrincipalKind::User, "t", "idp", "ana")),
        token: Some(CallerToken::new(&foreign.token(&claims).unwrap(), [7; 32])),
    };
    let refused = header(&credentials, &forged).await;
    assert_eq!(refused, Err(CredentialError::CallerRefused));
    assert!(header(&credentials, &rig.caller("bob")).await.is_ok());
    for (member, error) in [
        (
            TokenMood::Says(400, r#"{"error":"invalid_target"}"#.into()),
            CredentialError::Refused,
        ),
        (
            TokenMood::Says(401, r#"{"error":"invalid_client"}"#.into()),
            CredentialError::Refused,
        ),
        (
            TokenMood::Says(400, r#"{"error":"invalid_grant"}"#.into()),
            CredentialError::CallerRefused,
        ),
        (
            TokenMood::Member(
                "issued_token_type",
                json!("urn:ietf:params:oauth:token-type:saml2"),
            ),
            CredentialError::Unavailable,
        ),
    ] {
        rig.provider.issue(member.clone());
        let refused = header(&credentials, &rig.caller("carla")).await;
        assert_eq!(refused, Err(error), "{member:?}");
    }
}
