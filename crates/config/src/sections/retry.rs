//! Which calls are made again when a server fails them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{period::Period, validate::Findings};

/// A call is made again where that can do no harm: where nothing of it was sent; or where the server
/// broke off or answered 502, 503 or 504, and it reads a resource, a prompt or a completion, or
/// calls a tool that changes nothing, or nothing more the second time (`servers[].read_only`,
/// `servers[].trust_annotations`). What its caller was told of already is not made again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetrySection {
    /// How often one call is made again at most; 0: never.
    #[schemars(range(max = 10))]
    pub attempts: u8,
    /// How many calls are made again of a hundred to one server, in percent; a few more at first.
    #[schemars(range(max = 100))]
    pub budget: u8,
    /// The wait before the first time, of which half is random. Each time twice as long.
    pub backoff: Period,
    /// The longest wait.
    pub backoff_at_most: Period,
}

impl Default for RetrySection {
    fn default() -> Self {
        Self {
            attempts: 2,
            budget: 20,
            backoff: Period::from_millis(100),
            backoff_at_most: Period::from_secs(2),
        }
    }
}

impl RetrySection {
    pub(super) fn check(&self, findings: &mut Findings) {
        if self.attempts > 10 {
            findings.report(
                "retry.attempts",
                format!(
                    "{} times would keep a caller waiting for long",
                    self.attempts
                ),
                "use at most 10",
            );
        }
        if self.budget > 100 {
            findings.report(
                "retry.budget",
                format!("{} is no share of calls", self.budget),
                "write a number of percent up to 100",
            );
        }
        findings.not_zero("retry.backoff", self.backoff);
        if self.backoff_at_most < self.backoff {
            findings.report(
                "retry.backoff_at_most",
                "it is shorter than backoff",
                "make it at least as long",
            );
        }
    }
}
