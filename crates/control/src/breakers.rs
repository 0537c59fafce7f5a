//! Circuit breakers of servers are shown, and forced open or closed.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What the name of something begins with that the gateway itself needs, and that is no server behind
/// it. No server is called so.
pub const DEPENDENCY: &str = "dependency:";

/// What an operator has decided for a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Force {
    /// No call passes.
    Open,
    /// All calls pass.
    Closed,
}

impl Force {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

/// The circuit breaker of a server, as this gateway has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Breaker)]
pub struct BreakerView {
    /// The server's name in the configuration; or what the gateway itself needs, as
    /// `dependency:redis`.
    pub server: String,
    /// `closed`, `open` or `half_open`.
    pub state: String,
    /// What an operator has decided; null where it decides by itself. It lasts until it is taken
    /// back: of all gateways that share a Redis; else of this one, until the server is configured anew
    /// or the gateway ends. That of a dependency is of this gateway, and ends after an hour.
    pub forced: Option<Force>,
    /// In how many seconds a call is let through to see how the server is; null where it is not open
    /// by itself.
    pub retry_after: Option<u64>,
    /// The calls of the window.
    pub calls: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that were slow.
    pub slow: u64,
    /// How often it has opened by itself.
    pub opened: u64,
}

/// Where breakers are.
pub trait Breakers: Send + Sync {
    /// All of them, in the order of the servers' names. A server may be configured to have none.
    fn list(&self) -> Vec<BreakerView>;

    /// An operator decides, or no more; `false` where there is no such breaker.
    fn force(&self, server: &str, force: Option<Force>) -> bool;
}
