//! What operators are told of feature flags: what is switched off, and what should be gone.

use std::{collections::BTreeSet, sync::Arc};

use mcp_ultra_domain::flags::{Flags, SwitchedOff};

use super::Gateway;
use crate::call::Routed;

/// How many flags there are, and which of them have expired.
#[derive(Debug, Default)]
pub(crate) struct FlagTally {
    pub enabled: usize,
    pub disabled: usize,
    pub expired: Vec<Arc<str>>,
}

impl Gateway {
    /// The feature flags that are in force, where there are any.
    pub fn flags(&self) -> Option<Arc<Flags>> {
        self.snapshot().rules.flags().cloned()
    }

    /// Counts and logs a call that is refused because its tool or server is switched off. Who made
    /// it is told what is told of a name that leads nowhere.
    pub(crate) fn tell_of_switch(&self, off: &SwitchedOff<'_>, routed: &Routed) {
        let flag = off.flag.key();
        self.metrics.switched_off(off.flag.shared_key(), off.failed);
        self.tell_of_failed(off);
        if tracing::enabled!(tracing::Level::INFO) {
            let ids = routed.call.ids();
            tracing::info!(
                request_id = %ids.request,
                trace_id = %ids.trace,
                upstream = %routed.upstream.name(),
                method = routed.call.method.as_str(),
                flag,
                "a call is refused: a flag switches its server or tool off"
            );
        }
    }

    /// Logs a switch that can't be evaluated, once.
    fn tell_of_failed(&self, off: &SwitchedOff<'_>) {
        let flag = off.flag.shared_key();
        if off.failed && self.failed_flags.lock().insert(flag.clone()) {
            tracing::error!(
                %flag,
                "a kill switch can't be evaluated, so what it is for counts as switched off: its rules name no variant of it"
            );
        }
    }

    /// Logs the flags whose day is over, each once.
    pub(super) fn tell_of_expired_flags(&self) {
        let now = self.clock.now();
        let flags = self.flags();
        let all = flags.iter().flat_map(|flags| flags.iter());
        let mut told = self.expired_flags.lock();
        let mut still = BTreeSet::new();
        for flag in all.filter(|flag| flag.is_expired(now)) {
            if !told.contains(flag.key()) {
                tracing::warn!(
                    flag = flag.key(),
                    owner = flag.owner(),
                    expires = %flag.expires(),
                    "a flag has expired and is evaluated as before: its owner should remove or renew it"
                );
            }
            still.insert(flag.shared_key().clone());
        }
        *told = still;
    }

    pub(super) fn tally_of_flags(&self) -> FlagTally {
        let now = self.clock.now();
        let mut tally = FlagTally::default();
        for flag in self.flags().iter().flat_map(|flags| flags.iter()) {
            if flag.is_enabled() {
                tally.enabled += 1;
            } else {
                tally.disabled += 1;
            }
            if flag.is_expired(now) {
                tally.expired.push(flag.shared_key().clone());
            }
        }
        tally
    }
}
