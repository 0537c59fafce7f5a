use std::time::Duration;

use mcp_ultra_domain::Principal;

/// A link by which one person connects one server.
#[derive(Clone)]
pub struct MadeLink {
    /// Where that person goes with a browser.
    pub url: String,
    /// What the link is called in pages and in the log.
    pub reference: String,
}

impl std::fmt::Debug for MadeLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MadeLink")
            .field("reference", &self.reference)
            .finish_non_exhaustive()
    }
}

/// Why there is no link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// There is no such server, or it is none that people connect.
    #[error(
        "there is no server `{0}` that people connect to their accounts (credentials of the kind authorization_code)"
    )]
    Server(String),
    /// They could not show who they are; why.
    #[error("{0}")]
    Person(String),
}

/// Makes links.
pub trait Links: Send + Sync {
    /// How long a link is good.
    fn lifetime(&self) -> Duration;

    /// An identifier for a link that is to be made.
    fn new_id(&self) -> String;

    /// Whether there can be a link by which `principal` connects `server`.
    ///
    /// # Errors
    /// [`LinkError`]
    fn check(&self, principal: &Principal, server: &str) -> Result<(), LinkError>;

    /// The link by which `principal`, and nobody else, connects `server`. The same `id` and end
    /// (since the Unix epoch) make the same link, which is good once.
    ///
    /// # Errors
    /// [`LinkError`]
    fn link(
        &self,
        principal: &Principal,
        server: &str,
        id: &str,
        ends: Duration,
    ) -> Result<MadeLink, LinkError>;
}
