//! When a server that keeps failing is left alone for a while.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::nonzero;
use crate::{period::Period, validate::Findings};

/// A circuit breaker for each server: when too many of its calls fail or are slow, calls to it are
/// answered 503 at once, until a few of them, let through as probes, are answered in time again. An
/// error that the server answers with is an answer; a server fails where it can't be reached, does
/// not answer in time, breaks off, or answers with a status of 500 or more or with what is not MCP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerSection {
    /// Whether there is one.
    pub enabled: bool,
    /// The time whose calls are counted.
    pub window: Period,
    /// It does not open for fewer calls than these in the window.
    pub least_calls: NonZeroU32,
    /// So many failures one after the other open it too, however few calls there are, once nothing
    /// has been answered for a second; 0: never.
    pub failures_in_a_row: u32,
    /// The share of calls that fail, in percent, that opens it: 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub failed: u8,
    /// A call that takes longer is slow. The time that people are asked for something does not
    /// count.
    pub slow_after: Period,
    /// The share of calls that are slow, in percent, that opens it: 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub slow: u8,
    /// How long it stays open the first time. Each time in a row it is twice as long.
    pub open_for: Period,
    /// How long it stays open at most.
    pub open_at_most: Period,
    /// How many calls are let through then, and decide together.
    pub probes: NonZeroU32,
}

impl Default for BreakerSection {
    fn default() -> Self {
        Self {
            enabled: true,
            window: Period::from_secs(30),
            least_calls: nonzero(20),
            failures_in_a_row: 5,
            failed: 50,
            slow_after: Period::from_secs(60),
            slow: 90,
            open_for: Period::from_secs(5),
            open_at_most: Period::from_secs(60),
            probes: nonzero(3),
        }
    }
}

impl BreakerSection {
    pub(super) fn check(&self, path: &str, findings: &mut Findings) {
        for (key, period) in [
            ("window", self.window),
            ("slow_after", self.slow_after),
            ("open_for", self.open_for),
            ("open_at_most", self.open_at_most),
        ] {
            findings.not_zero(&format!("{path}.{key}"), period);
        }
        for (key, percent) in [("failed", self.failed), ("slow", self.slow)] {
            if !(1..=100).contains(&percent) {
                findings.report(
                    format!("{path}.{key}"),
                    format!("{percent} is no share of calls"),
                    "write a number of percent from 1 to 100",
                );
            }
        }
        if self.open_at_most < self.open_for {
            findings.report(
                format!("{path}.open_at_most"),
                "it is shorter than open_for",
                "make it at least as long",
            );
        }
    }
}
