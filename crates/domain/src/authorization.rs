/// One thing that a principal was allowed in detail by who vouches for it (RFC 9396): an action at a
/// location. A detail that names several of either is several of these.
///
/// What a detail does not say is an empty text here, and not "any": what that means is agreed upon
/// with the issuer, for each type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorizationDetail {
    /// The `type`.
    pub kind: String,
    /// One of the `actions`.
    pub action: String,
    /// One of the `locations`.
    pub location: String,
    /// The `identifier`.
    pub identifier: String,
    /// Whether the detail says more than that, which may narrow what is allowed: `datatypes`,
    /// `privileges`, or members of its type, such as an amount.
    pub more: bool,
}
