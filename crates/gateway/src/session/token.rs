//! The sealed session id: what was negotiated, so that any replica can serve the session.

use std::time::Duration;

use bytestring::ByteString;
use mcp_ultra_domain::Principal;
use mcp_ultra_protocol::{Version, json, seal};
use serde::{Deserialize, Serialize};

use crate::{Gateway, random};

/// How long a session id can be used. A client that comes later is asked to initialize again.
pub(crate) const VALID_FOR: Duration = mcp_ultra_domain::ports::SESSION_VALID_FOR;

/// What `initialize` has settled.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Negotiated {
    /// The session's own id, which never leaves the gateway in the clear.
    pub id: String,
    /// The revision.
    pub version: String,
    /// The text of the client's capabilities.
    pub capabilities: String,
    /// The text of the client's name and version, where it is short enough to travel.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub client_info: Option<String>,
    /// When it was issued, in seconds since the Unix epoch.
    pub issued: u64,
}

impl Negotiated {
    pub(crate) fn new(
        gateway: &Gateway,
        version: Version,
        capabilities: &str,
        client_info: Option<&ByteString>,
    ) -> Self {
        Self {
            id: random::identifier(),
            version: version.as_str().to_owned(),
            capabilities: compact(capabilities),
            client_info: client_info.map(|info| compact(info)),
            issued: gateway.clock.now().as_secs(),
        }
    }

    /// Whether its session id is no longer good at `now`, since the Unix epoch.
    fn is_over(&self, now: Duration) -> bool {
        now.saturating_sub(Duration::from_secs(self.issued)) >= VALID_FOR
    }

    pub(crate) fn version(&self) -> Version {
        Version::negotiate(&self.version)
    }

    /// The session id for the client; `None` where it can't be sealed.
    ///
    /// A token has at most [`seal::MAX_TOKEN`] characters. What does not fit is left out in the
    /// order in which it is missed least: the client's name first, then all capabilities but
    /// those that decide which requests it can answer.
    pub(crate) fn seal(&mut self, gateway: &Gateway, principal: &Principal) -> Option<String> {
        let token = self.seal_as_is(gateway, principal)?;
        if token.len() <= seal::MAX_TOKEN {
            return Some(token);
        }
        self.client_info = None;
        let token = self.seal_as_is(gateway, principal)?;
        if token.len() <= seal::MAX_TOKEN {
            return Some(token);
        }
        self.capabilities = essential(&self.capabilities);
        self.seal_as_is(gateway, principal)
    }

    fn seal_as_is(&self, gateway: &Gateway, principal: &Principal) -> Option<String> {
        let content = serde_json::to_vec(self).ok()?;
        gateway
            .sealer
            .seal(seal::Purpose::Session, principal.id(), &content)
            .ok()
    }
}

/// Opens a session id of this principal, if it is one and has not expired.
pub(super) fn open(gateway: &Gateway, token: &str, principal: &Principal) -> Option<Negotiated> {
    if token.len() > seal::MAX_TOKEN {
        return None;
    }
    let content = gateway
        .sealer
        .open(seal::Purpose::Session, principal.id(), token)
        .ok()?;
    let negotiated: Negotiated = serde_json::from_slice(&content).ok()?;
    let now = gateway.clock.now();
    (!negotiated.is_over(now)).then_some(negotiated)
}

fn compact(text: &str) -> String {
    json::to_line(&text.to_owned().into()).to_string()
}

/// Which server-to-client requests the client answers, and no more.
fn essential(capabilities: &str) -> String {
    let can = mcp_ultra_protocol::capabilities::ClientCapabilities::parse(capabilities);
    let mut parts = Vec::new();
    if can.roots {
        parts.push(r#""roots":{"listChanged":true}"#);
    }
    if can.sampling {
        parts.push(r#""sampling":{}"#);
    }
    match (can.elicitation_form, can.elicitation_url) {
        (true, true) => parts.push(r#""elicitation":{"form":{},"url":{}}"#),
        (true, false) => parts.push(r#""elicitation":{"form":{}}"#),
        (false, true) => parts.push(r#""elicitation":{"url":{}}"#),
        (false, false) => {}
    }
    format!("{{{}}}", parts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_ends() {
        let negotiated = Negotiated {
            id: "s".into(),
            version: "2025-11-25".into(),
            capabilities: "{}".into(),
            client_info: None,
            issued: 1_800_000_000,
        };
        let issued = Duration::from_secs(negotiated.issued);
        assert!(!negotiated.is_over(issued));
        assert!(!negotiated.is_over(issued + VALID_FOR.saturating_sub(Duration::from_millis(1))));
        assert!(negotiated.is_over(issued + VALID_FOR));
    }
}
