//! What a person's browser carries: the link, the consent to go on, and between two steps the flow
//! and its `state`. All of it is sealed, and all but the link opens for one browser only.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use mcp_ultra_domain::{Attributes, Principal, PrincipalKind};
use mcp_ultra_edge::credentials::TokenEndpoint;
use mcp_ultra_protocol::seal::{Purpose, Sealer};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::random;

/// How long a link is good, and how long each step may take.
pub(crate) const LIFETIME: Duration = Duration::from_mins(10);

/// What a link is for. It says who has asked for it and opens nothing by itself: whoever follows it
/// has to log in as that one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    /// Names the elicitation (2025-11-25: `elicitationId`). Good for one start.
    pub id: String,
    kind: String,
    tenant: String,
    /// Who vouches for the person.
    pub issuer: String,
    /// Who the person is for that issuer.
    pub subject: String,
    /// The server to be connected.
    pub server: String,
    /// The session of the client that is told when it is done.
    pub session: Option<String>,
    /// The scopes that are asked for besides those that are configured, separated by spaces.
    #[serde(default)]
    pub besides: String,
    /// When it ends, in seconds since the Unix epoch.
    pub ends: u64,
}

impl Link {
    pub(super) fn new(
        principal: &Principal,
        server: &str,
        session: Option<&str>,
        now: Duration,
    ) -> Self {
        let (id, ends) = (random::identifier(), (now + LIFETIME).as_secs());
        Self::of(principal, server, session, id, ends)
    }

    /// One of which the identifier and the end, in seconds since the Unix epoch, are given.
    pub(super) fn of(
        principal: &Principal,
        server: &str,
        session: Option<&str>,
        id: String,
        ends: u64,
    ) -> Self {
        let attributes = principal.attributes();
        Self {
            id,
            kind: attributes.kind.as_str().to_owned(),
            tenant: attributes.tenant.to_string(),
            issuer: attributes.issuer.clone(),
            subject: attributes.subject.clone(),
            server: server.to_owned(),
            session: session.map(str::to_owned),
            besides: String::new(),
            ends,
        }
    }

    /// What it is called in pages and in the log.
    pub(super) fn reference(&self) -> String {
        reference(&self.id)
    }

    /// What a link is called that may have ended.
    pub(super) fn reference_of(sealer: &Sealer, token: &str) -> Option<String> {
        let link: Self = open(sealer, Purpose::ConnectLink, "", token)?;
        Some(link.reference())
    }

    /// The same, with more scopes to be asked for.
    pub(super) fn with(self, besides: &str) -> Self {
        Self {
            besides: besides.to_owned(),
            ..self
        }
    }

    /// Who has asked for it.
    pub(super) fn principal(&self) -> Option<Principal> {
        let kind = PrincipalKind::parse(&self.kind)?;
        let attributes = Attributes::new(kind, &self.tenant, &self.issuer, &self.subject);
        Some(attributes.into())
    }

    /// Whether it was made for this one.
    pub(crate) fn is_of(&self, principal: &Principal) -> bool {
        self.principal()
            .is_some_and(|own| own.id() == principal.id())
    }

    pub(super) fn seal(&self, sealer: &Sealer) -> Option<String> {
        seal(sealer, Purpose::ConnectLink, "", self)
    }

    /// The link, if it is one that has not ended.
    pub(super) fn open(sealer: &Sealer, token: &str, now: Duration) -> Option<Self> {
        let link: Self = open(sealer, Purpose::ConnectLink, "", token)?;
        (link.ends > now.as_secs()).then_some(link)
    }
}

/// Where a person is in connecting a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Step {
    /// They show who they are.
    Login,
    /// They grant access to the server.
    Grant,
}

/// What is kept in the browser while a person is at an authorization server. The verifier is sealed
/// in it, and is of use only with the code that comes back to the same browser.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Flow {
    pub link: Link,
    pub step: Step,
    /// The authorization server that the browser is sent to, and the gateway's client there. Both
    /// may be others in the configuration when it comes back: a code goes to no other than to whom
    /// it was asked of (RFC 9700, 4.4).
    asked: (String, String),
    /// What the `state` of this step names.
    pub state: String,
    /// `code_verifier` (RFC 7636).
    pub verifier: String,
    /// `nonce`, where an identity token is asked for.
    pub nonce: Option<String>,
    /// The scopes that are asked for, separated by spaces; what is configured may be others when the
    /// browser comes back.
    pub wanted: String,
    pub ends: u64,
}

impl Flow {
    pub(super) fn new(
        link: Link,
        step: Step,
        endpoint: &TokenEndpoint,
        verifier: &str,
        now: Duration,
    ) -> Self {
        Self {
            link,
            step,
            asked: asked(endpoint),
            state: random::identifier(),
            verifier: verifier.to_owned(),
            nonce: None,
            wanted: String::new(),
            ends: (now + LIFETIME).as_secs(),
        }
    }

    /// Whether the browser was sent to this authorization server, in the name of this client.
    pub(super) fn was_asked(&self, endpoint: &TokenEndpoint) -> bool {
        self.asked == asked(endpoint)
    }

    pub(super) fn seal(&self, sealer: &Sealer, browser: &str) -> Option<String> {
        seal(sealer, Purpose::ConnectFlow, browser, self)
    }

    pub(super) fn open(sealer: &Sealer, browser: &str, token: &str, now: Duration) -> Option<Self> {
        let flow: Self = open(sealer, Purpose::ConnectFlow, browser, token)?;
        (flow.ends > now.as_secs()).then_some(flow)
    }

    /// `state` of the authorization request.
    pub(super) fn state(&self, sealer: &Sealer, browser: &str) -> Option<String> {
        let state = State {
            flow: self.link.id.clone(),
            step: self.state.clone(),
            ends: self.ends,
        };
        seal(sealer, Purpose::ConnectState, browser, &state)
    }
}

/// What the link of this identifier is called where people read it: short, and of no use to whoever
/// knows it. The letters are those that nobody takes for others (Crockford's base 32).
pub(super) fn reference(id: &str) -> String {
    const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let digest = digest(&SHA256, format!("connect reference {id}").as_bytes());
    let letter = |byte: &u8| char::from(LETTERS[usize::from(byte % 32)]);
    let mut text: String = digest.as_ref().iter().take(8).map(letter).collect();
    text.insert(4, '-');
    text
}

fn asked(endpoint: &TokenEndpoint) -> (String, String) {
    let issuer = endpoint.issuer().unwrap_or_default();
    (issuer.to_owned(), endpoint.client_id().to_owned())
}

/// `state`: which flow and step an answer belongs to.
#[derive(Serialize, Deserialize)]
pub(super) struct State {
    /// The link's identifier.
    pub flow: String,
    /// The step's.
    pub step: String,
    ends: u64,
}

impl State {
    pub(super) fn open(sealer: &Sealer, browser: &str, token: &str, now: Duration) -> Option<Self> {
        let state: Self = open(sealer, Purpose::ConnectState, browser, token)?;
        (state.ends > now.as_secs()).then_some(state)
    }
}

/// That whoever has this browser has read what the link is for, and goes on.
pub(super) fn consent(sealer: &Sealer, browser: &str, link: &Link) -> Option<String> {
    seal(sealer, Purpose::ConnectConsent, browser, &link.id)
}

pub(super) fn is_consent(sealer: &Sealer, browser: &str, link: &Link, token: &str) -> bool {
    let id: Option<String> = open(sealer, Purpose::ConnectConsent, browser, token);
    id.is_some_and(|id| id == link.id)
}

fn seal(sealer: &Sealer, purpose: Purpose, holder: &str, what: &impl Serialize) -> Option<String> {
    let text = serde_json::to_vec(what).ok()?;
    sealer.seal(purpose, holder, &text).ok()
}

fn open<T: DeserializeOwned>(
    sealer: &Sealer,
    purpose: Purpose,
    holder: &str,
    token: &str,
) -> Option<T> {
    let text = sealer.open(purpose, holder, token).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mcp_ultra_domain::SystemClock;
    use mcp_ultra_edge::{
        credentials::{ClientAuth, ClientSettings, EndpointPlace},
        outbound::{Outbound, OutboundConfig},
    };

    use super::*;

    const NOW: Duration = Duration::from_secs(1_000_000);

    fn link() -> Link {
        let ana = Attributes::new(
            PrincipalKind::User,
            "acme",
            "https://idp.example.com",
            "ana",
        );
        Link::new(&ana.into(), "tickets", None, NOW)
    }

    fn endpoint(client: &str) -> TokenEndpoint {
        let settings = ClientSettings {
            place: EndpointPlace::Issuer("https://as.example.com".into()),
            id: client.to_owned(),
            secret: None,
            auth: ClientAuth::Basic,
            timeout: Duration::from_secs(1),
        };
        let outbound = Outbound::new(&OutboundConfig::default()).unwrap();
        TokenEndpoint::new(settings, outbound, Arc::new(SystemClock))
    }

    #[test]
    fn a_link_is_of_one_principal_and_ends() {
        let sealer = Sealer::random().unwrap();
        let link = link();
        let token = link.seal(&sealer).unwrap();
        assert!(!token.contains("ana"), "it tells nobody whose it is");
        let soon = NOW + LIFETIME.saturating_sub(Duration::from_secs(1));
        let opened = Link::open(&sealer, &token, soon).unwrap();
        let ana = Attributes::new(
            PrincipalKind::User,
            "acme",
            "https://idp.example.com",
            "ana",
        );
        assert_eq!(opened.principal().unwrap().id(), Principal::from(ana).id());
        assert_eq!(Link::open(&sealer, &token, NOW + LIFETIME), None);
        let other = Sealer::random().unwrap();
        assert_eq!(Link::open(&other, &token, NOW), None);
    }

    #[test]
    fn a_flow_is_of_one_browser_and_one_step() {
        let sealer = Sealer::random().unwrap();
        let flow = Flow::new(link(), Step::Login, &endpoint("web"), "v", NOW);
        let (sealed, state) = (
            flow.seal(&sealer, "b1").unwrap(),
            flow.state(&sealer, "b1").unwrap(),
        );
        assert!(Flow::open(&sealer, "b1", &sealed, NOW).is_some());
        assert!(Flow::open(&sealer, "b2", &sealed, NOW).is_none());
        assert!(Flow::open(&sealer, "b1", &sealed, NOW + LIFETIME).is_none());
        assert!(State::open(&sealer, "b2", &state, NOW).is_none());
        assert!(State::open(&sealer, "b1", &state, NOW + LIFETIME).is_none());
        let state = State::open(&sealer, "b1", &state, NOW).unwrap();
        assert_eq!((&state.flow, &state.step), (&flow.link.id, &flow.state));
        assert!(flow.was_asked(&endpoint("web")));
        assert!(!flow.was_asked(&endpoint("another")));
        let next = Flow::new(flow.link.clone(), Step::Grant, &endpoint("web"), "v", NOW);
        assert_ne!(next.state, state.step);
        // None of them is taken for another.
        assert!(State::open(&sealer, "b1", &sealed, NOW).is_none());
        assert!(Link::open(&sealer, &sealed, NOW).is_none());
    }

    #[test]
    fn a_consent_is_to_one_link_in_one_browser() {
        let sealer = Sealer::random().unwrap();
        let (one, other) = (link(), link());
        let token = consent(&sealer, "b1", &one).unwrap();
        assert!(is_consent(&sealer, "b1", &one, &token));
        assert!(!is_consent(&sealer, "b2", &one, &token));
        assert!(!is_consent(&sealer, "b1", &other, &token));
        assert!(!is_consent(
            &sealer,
            "b1",
            &one,
            &one.seal(&sealer).unwrap()
        ));
    }
}
