//! What callers have open is listed and ended: sessions, and the streams of modern callers.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a caller has open at the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ClientSession)]
pub struct SessionView {
    /// Its identifier here, which opens nothing.
    pub id: String,
    /// `session`, or `stream` of a caller of a revision without sessions.
    pub kind: String,
    /// Whose it is.
    pub tenant: String,
    /// Who vouches for the caller.
    pub issuer: String,
    /// Who the caller is for the issuer.
    pub subject: String,
    /// The revision of MCP that was negotiated; null for a stream.
    pub version: Option<String>,
    /// When it was opened (RFC 3339).
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// When its caller was last heard of; null for a stream.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used: Option<Timestamp>,
}

/// Where sessions are.
#[async_trait]
pub trait ClientSessions: Send + Sync {
    /// What the callers of a tenant have open, in the order of the ids.
    fn list(&self, tenant: &str) -> Vec<SessionView>;

    /// Who is blocked is another one now: what they have open ends, and they are refused from now on.
    async fn blocks_changed(&self);

    /// Ends one of them; `false` where there is none.
    async fn end(&self, tenant: &str, id: &str) -> bool;
}

/// Which callers.
#[derive(Debug, Clone, Default)]
pub struct Whose {
    /// Who vouches for them; anybody where it is `None`.
    pub issuer: Option<String>,
    /// Who they are for the issuer; anybody where it is `None`.
    pub subject: Option<String>,
}

impl Whose {
    /// Whether a session is theirs.
    pub fn has(&self, session: &SessionView) -> bool {
        let is = |wanted: &Option<String>, there: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == there)
        };
        is(&self.issuer, &session.issuer) && is(&self.subject, &session.subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namesakes_of_two_issuers_are_two_callers() {
        let session = SessionView {
            id: "s".into(),
            kind: "session".into(),
            tenant: "acme".into(),
            issuer: "https://one.example".into(),
            subject: "ana".into(),
            version: None,
            since: Timestamp::UNIX_EPOCH,
            last_used: None,
        };
        let has = |issuer: Option<&str>, subject: Option<&str>| {
            let (issuer, subject) = (issuer.map(Into::into), subject.map(Into::into));
            Whose { issuer, subject }.has(&session)
        };
        let one = Some("https://one.example");
        assert!(has(None, None) && has(one, Some("ana")) && has(None, Some("ana")));
        assert!(!has(Some("https://other.example"), Some("ana")));
        assert!(!has(one, Some("bea")) && !has(None, Some("bea")));
    }
}
