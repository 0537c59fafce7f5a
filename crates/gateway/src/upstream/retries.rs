use std::time::Duration;

use mcp_ultra_config::RetrySection;
use mcp_ultra_domain::retry::Budget;

use super::Upstream;

/// How calls to one upstream are made again.
#[derive(Debug)]
pub(crate) struct Retries {
    /// How often one call is made again at most.
    pub attempts: u32,
    /// How many are made again of all.
    pub budget: Budget,
    /// The first wait, and the longest.
    pub backoff: Duration,
    pub backoff_at_most: Duration,
}

impl Retries {
    pub(super) fn new(section: &RetrySection) -> Self {
        Self {
            attempts: section.attempts.into(),
            budget: Budget::new(section.budget.into()),
            backoff: section.backoff.get(),
            backoff_at_most: section.backoff_at_most.get(),
        }
    }
}

impl Upstream {
    /// How its calls are made again; `None`: never.
    pub(crate) fn retries(&self) -> Option<&Retries> {
        self.retries.as_ref()
    }
}
