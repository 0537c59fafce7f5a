/// Why there is no token for an upstream, as far as a caller may know it. What an authorization
/// server has said stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The authorization server is down, slow, or answers nonsense.
    #[error("no access token for it can be had at the moment; try again later")]
    Unavailable,
    /// The authorization server does not give the gateway what is configured.
    #[error(
        "the authorization server refuses the gateway an access token for it; its operator finds the reason in the log"
    )]
    Refused,
    /// The authorization server does not exchange the caller's token.
    #[error("the authorization server gives no access token for it in exchange for yours")]
    CallerRefused,
    /// The caller is known by something else than an access token, which can't be exchanged.
    #[error(
        "it is called on behalf of those who have an access token, and you are known by something else: send one of the authorization server"
    )]
    NoCallerToken,
    /// The caller has not let the gateway use the server in their name, or no longer does.
    #[error("you have not connected it to your account there")]
    NotGranted,
    /// Nobody has, and what nobody has asked for is asked with what one of the callers has granted.
    #[error("nobody has connected it to their account there, with which its lists could be read")]
    NobodyGranted,
    /// The caller's token has ended meanwhile.
    #[error("your access token has ended; get a new one")]
    CallerEnded,
}

impl CredentialError {
    /// Whether the same call may succeed when it is made again.
    pub fn retry_helps(self) -> bool {
        matches!(self, Self::Unavailable)
    }
}

/// How a request for a token came out, for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fetched {
    /// With a token.
    Token,
    /// The authorization server has refused (RFC 6749, 5.2).
    Refused,
    /// The authorization server could not be reached, or its answer could not be used.
    Unavailable,
}

impl Fetched {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Token, Self::Refused, Self::Unavailable];

    /// The value of a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        }
    }
}
