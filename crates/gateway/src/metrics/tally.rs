//! What is counted of the calls to one upstream, found once: looking up labels takes longer than counting.

use std::sync::{Arc, OnceLock};

use mcp_ultra_protocol::Method;
use prometheus_client::metrics::{counter::Counter, histogram::Histogram};

use super::{
    Metrics,
    labels::{CallLabels, MethodLabels},
};

/// The outcome of nearly every call.
const RESULT: &str = "result";

/// What is counted of the calls to one upstream, by method.
#[derive(Default)]
pub(crate) struct Tally([OnceLock<Counted>; Method::ALL.len()]);

struct Counted {
    /// Calls that had a result.
    results: Counter,
    durations: Histogram,
}

impl Metrics {
    /// Counts a call of `method` that took `seconds`.
    pub(super) fn call(
        &self,
        (upstream, tally): (&Arc<str>, &Tally),
        method: Method,
        outcome: &'static str,
        seconds: f64,
    ) {
        let of = |outcome| CallLabels {
            upstream: upstream.clone(),
            method: method.as_str(),
            outcome,
        };
        let counted = tally.0[method as usize].get_or_init(|| {
            let labels = MethodLabels {
                upstream: upstream.clone(),
                method: method.as_str(),
            };
            Counted {
                results: self.calls.get_or_create_owned(&of(RESULT)),
                durations: self.call_durations.get_or_create_owned(&labels),
            }
        });
        if outcome == RESULT {
            counted.results.inc();
        } else {
            self.calls.get_or_create(&of(outcome)).inc();
        }
        counted.durations.observe(seconds);
    }
}
