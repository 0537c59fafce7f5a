use std::borrow::Cow;

use mcp_ultra_edge::credentials::CredentialError;
use mcp_ultra_protocol::{WireError, json};

/// Why an upstream could not answer a call. The side is always the upstream's: what the caller
/// did wrong never becomes one of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// Nothing was sent: no connection, no process.
    #[error("it can't be reached: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("it did not answer within {0} s")]
    Timeout(u64),
    /// The connection, stream or process ended before the answer.
    #[error("it closed the connection before it answered")]
    Closed,
    /// It answered with something that is not MCP.
    #[error("its answer is not valid MCP: {0}")]
    Protocol(Cow<'static, str>),
    /// Its answer is larger than `limits.result`.
    #[error("its answer is larger than {0} bytes")]
    TooLarge(usize),
    /// It no longer knows the session that the call was sent in.
    #[error("it ended the session")]
    SessionLost,
    /// It has as many calls in flight as it may (`limits.calls_per_server`).
    #[error("it is at its limit of calls (limits.calls_per_server); try again")]
    Busy,
    /// All sessions that the gateway may have with it, so many, are in use.
    #[error("all {0} sessions that the gateway may have with it are in use; try again")]
    NoSession(usize),
    /// Its calls have failed too often, so it is not asked (`breaker`): for so many seconds, or
    /// until an operator lets it be asked again.
    #[error("its calls keep failing, so it is not asked for a while; try again{}", later(*.0))]
    CircuitOpen(Option<u64>),
    /// It refused with an HTTP status and nothing that could be passed on.
    #[error("it answered with HTTP status {0}")]
    Status(u16),
    /// It accepts the token, and asks for more than that allows (RFC 6750, `insufficient_scope`):
    /// these scopes, where it says which.
    #[error("it needs more than its access token allows{}: whoever runs the gateway adds what is missing to credentials.scopes of this server, or lets people be asked for it by credentials.step_up_scopes", asked(.0))]
    Scope(String),
    /// The same, though its caller was asked for these scopes already.
    #[error("it needs more than its access token allows{}, for which you were asked already: it was not granted to you, or the server and its authorization server do not agree; to be asked again, have your grant withdrawn (`mcp-ultra grant revoke`)", asked(.0))]
    ScopeInVain(String),
    /// What its caller has granted was withdrawn while the call was under way.
    #[error(
        "its access in your name was withdrawn while the call was under way; call again to connect it anew"
    )]
    Withdrawn,
    /// There is no token to speak to it with, so nothing was sent.
    #[error("{0}")]
    Credentials(#[from] CredentialError),
}

impl UpstreamError {
    /// A short name for metrics and for the `kind` of the error that the caller gets.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Timeout(_) => "timeout",
            Self::Closed => "closed",
            Self::Protocol(_) => "protocol",
            Self::TooLarge(_) => "too_large",
            Self::SessionLost => "session_lost",
            Self::Busy | Self::NoSession(_) => "busy",
            Self::CircuitOpen(_) => "circuit_open",
            Self::Status(_) => "status",
            Self::Scope(_) | Self::ScopeInVain(_) => "scope",
            Self::Withdrawn | Self::Credentials(_) => "credentials",
        }
    }

    /// Whether the same call may succeed when it is made again, because the upstream did not act
    /// on it.
    pub fn retry_helps(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::SessionLost
            | Self::Busy
            | Self::NoSession(_)
            | Self::CircuitOpen(_) => true,
            Self::Credentials(error) => error.retry_helps(),
            _ => false,
        }
    }

    /// Whether it says that the upstream does not work, and not that this call could not be made.
    pub(super) fn is_failure(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Timeout(_) | Self::Closed | Self::Protocol(_) => true,
            Self::Status(status) => *status >= 500,
            _ => false,
        }
    }

    /// Whether an answer of before may stand in for one that did not come.
    pub(crate) fn may_be_covered(&self) -> bool {
        let is_not_asked = matches!(
            self,
            Self::SessionLost | Self::Busy | Self::NoSession(_) | Self::CircuitOpen(_)
        );
        is_not_asked || self.is_failure()
    }

    /// Whether the upstream no longer works on the call, or never began to.
    pub(super) fn ends_call(&self) -> bool {
        !matches!(
            self,
            Self::Timeout(_) | Self::TooLarge(_) | Self::Protocol(_)
        )
    }

    /// The error as the caller gets it. Where an upstream is reached, and why not, is for the
    /// operator's log: it names hosts, ports and programs.
    pub fn to_wire(&self, upstream: &str) -> WireError {
        let data = format!(
            "{{\"upstream\":{},\"kind\":\"{}\",\"retryable\":{}}}",
            json::quote(upstream),
            self.kind(),
            self.retry_helps()
        );
        let what = match self {
            Self::Unreachable(_) => "it can't be reached at the moment".to_owned(),
            other => other.to_string(),
        };
        WireError::internal(format!("The upstream server \"{upstream}\" failed: {what}"))
            .with_data(data)
    }
}

fn later(seconds: Option<u64>) -> String {
    seconds.map_or_else(
        || " when an operator has closed its circuit breaker".to_owned(),
        |seconds| format!(" in {seconds} s"),
    )
}

fn asked(scopes: &str) -> String {
    if scopes.is_empty() {
        String::new()
    } else {
        format!(" (scope \"{scopes}\")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_not_told_where_an_upstream_is() {
        let error = UpstreamError::Unreachable("10.1.2.3:8443 refused the connection".into());
        let wire = error.to_wire("crm");
        assert!(!wire.to_json().contains("10.1.2.3"), "{}", wire.to_json());
        assert!(wire.message.contains("\"crm\" failed"));
        assert!(error.to_string().contains("10.1.2.3"), "the log says it");
    }
}
