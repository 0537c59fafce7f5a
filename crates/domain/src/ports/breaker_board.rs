//! Where processes tell each other how their breakers are.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::breaker::Forced;

/// What one process tells of its breaker of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerNews {
    /// It has opened by itself, for so long from now.
    Opened(Duration),
    /// Its probes have closed it.
    Closed,
    /// It would probe, for so long at most.
    WantsProbes(Duration),
    /// An operator has decided here, for all of them.
    Forced(Option<Forced>),
}

/// What all processes know of the breaker of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The name of the server.
    pub server: String,
    /// Which change it was: another number is another change.
    pub number: u64,
    /// For how long it is open from now, where it has opened and did not close since.
    pub open_for: Option<Duration>,
    /// It was changed by this process.
    pub by_us: bool,
    /// Of all of them, this one may probe.
    pub may_probe: bool,
    /// What an operator has decided.
    pub decision: Decision,
}

/// What all processes know that an operator has decided for a breaker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Decision {
    /// Nothing is known: nobody has decided anything, or it was lost.
    #[default]
    Unknown,
    /// It decides by itself.
    ByItself,
    /// It is forced.
    Forced(Forced),
}

/// The board can't be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what other gateways say of their circuit breakers can't be read")]
pub struct NoBoard;

/// Where processes tell each other how their breakers are. No call waits for it.
#[async_trait]
pub trait BreakerBoard: Send + Sync {
    /// Tells the news of this process, and says what all of them know: every server of which there
    /// is anything to say.
    ///
    /// # Errors
    /// [`NoBoard`]; what was told may be told again.
    async fn exchange(&self, news: &[(Arc<str>, BreakerNews)]) -> Result<Vec<Posted>, NoBoard>;
}
