/// Why nobody was identified. For metrics and logs: a client is told less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refused {
    /// No `Authorization` header, or one of another scheme than `Bearer` and `DPoP`.
    #[error("no token was sent")]
    Missing,
    /// More than one `Authorization` header (RFC 6750, 2: one method only).
    #[error("more than one Authorization header was sent")]
    Several,
    /// Longer than [`super::LONGEST_TOKEN`].
    #[error("the token is too long")]
    TooLarge,
    /// No JWT, of another type, or with claims that can't be read.
    #[error("the token can't be read")]
    Malformed,
    /// `none`, an algorithm that is not allowed, or one that the key is not for.
    #[error("the token is signed by an algorithm that is not allowed")]
    Algorithm,
    /// The issuer is not one that is trusted.
    #[error("the token is from an issuer that is not trusted")]
    Issuer,
    /// It is meant for another resource (RFC 8707, RFC 9068).
    #[error("the token is for another audience")]
    Audience,
    /// The issuer has no such key, as far as is known.
    #[error("the token is signed by a key that the issuer does not have")]
    UnknownKey,
    /// The signature is wrong.
    #[error("the signature of the token is wrong")]
    Signature,
    /// It has ended, or does not say when it ends.
    #[error("the token has expired")]
    Expired,
    /// It is of an API key that was ended before its time.
    #[error("the API key has been revoked")]
    Revoked,
    /// An administrator has blocked its principal for a time.
    #[error("the caller is blocked")]
    Blocked,
    /// It begins in the future, or was made there.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// It lacks a subject or tenant, or has one that can't be used.
    #[error("the token lacks a claim that is needed")]
    Claim,
    /// It is bound to a key or certificate (RFC 7800, `cnf`) which was not shown to be the
    /// caller's: sent as a bearer token, over another connection, or bound in a way that is not known.
    #[error("the token is bound to a key and can't be used as a bearer token")]
    Bound,
    /// It is bound to no key, where that is needed: sent with the scheme `DPoP`, or
    /// `auth.dpop.required`.
    #[error("the token is not bound to a key")]
    Unbound,
    /// The proof that goes with the token is missing, can't be read, or is none for this request
    /// (RFC 9449, 4.3).
    #[error("the DPoP proof is none for this token and request")]
    Proof,
    /// The proof was used before.
    #[error("the DPoP proof was used before")]
    Replayed,
    /// Whether the proof was used before is not known.
    #[error("whether the DPoP proof was used before can't be found out")]
    ReplayStore,
    /// The client certificate has no name that is known.
    #[error("the client certificate is of nobody who is known")]
    Certificate,
    /// No key of the issuer is at hand, and the issuer gives none.
    #[error("the keys of the issuer can't be had")]
    Unavailable,
    /// The token is good, and lacks scopes that every call needs.
    #[error("the token lacks scopes that are needed")]
    Scope,
    /// The token is good, and its login is not as strong or as recent as every call needs (RFC 9470).
    #[error("the login of the token is not strong or recent enough")]
    Login,
}

impl Refused {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::Missing,
        Self::Several,
        Self::TooLarge,
        Self::Malformed,
        Self::Algorithm,
        Self::Issuer,
        Self::Audience,
        Self::UnknownKey,
        Self::Signature,
        Self::Expired,
        Self::Revoked,
        Self::Blocked,
        Self::NotYetValid,
        Self::Claim,
        Self::Bound,
        Self::Unbound,
        Self::Proof,
        Self::Replayed,
        Self::ReplayStore,
        Self::Certificate,
        Self::Unavailable,
        Self::Scope,
        Self::Login,
    ];

    /// The value of a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Several => "several",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Blocked => "blocked",
            Self::NotYetValid => "not_yet_valid",
            Self::Claim => "claim",
            Self::Bound => "bound",
            Self::Unbound => "unbound",
            Self::Proof => "proof",
            Self::Replayed => "replayed",
            Self::ReplayStore => "replay_store",
            Self::Certificate => "certificate",
            Self::Unavailable => "unavailable",
            Self::Scope => "scope",
            Self::Login => "login",
        }
    }

    /// Whether the same token gets the same answer for a while, whatever happens elsewhere.
    pub(super) fn is_final(self) -> bool {
        !matches!(
            self,
            Self::Blocked
                | Self::UnknownKey
                | Self::NotYetValid
                | Self::Unavailable
                | Self::ReplayStore
        )
    }
}
