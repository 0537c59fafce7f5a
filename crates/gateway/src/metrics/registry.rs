//! How the registry of servers, policies and flags is doing.

use prometheus_client::{metrics::gauge::Gauge, registry::Registry};

/// How the registry is doing, as this gateway has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RegistryState {
    /// Its revision that is in force here.
    pub in_force: u64,
    /// Whether it could be read when it was looked at last.
    pub readable: bool,
    /// Whether there is a newer revision that can't be used here.
    pub refused: bool,
    /// How many entries are not used since a file has others of their names.
    pub shadowed: usize,
}

/// The same as metrics.
#[derive(Debug, Default)]
pub(super) struct RegistryGauges {
    revision: Gauge,
    up: Gauge,
    refused: Gauge,
    shadowed: Gauge,
}

impl RegistryGauges {
    pub(super) fn register(&self, registry: &mut Registry) {
        for (name, help, gauge) in [
            (
                "mcp_registry_revision",
                "The revision of the registry that is in force at this gateway; 0 without one",
                &self.revision,
            ),
            (
                "mcp_registry_up",
                "Whether the registry could be read when it was looked at last; 0 without one",
                &self.up,
            ),
            (
                "mcp_registry_refused",
                "Whether the registry has a newer revision that this gateway can't use",
                &self.refused,
            ),
            (
                "mcp_registry_shadowed",
                "Entries of the registry that are not used, since a file has others of their names",
                &self.shadowed,
            ),
        ] {
            registry.register(name, help, gauge.clone());
        }
    }

    pub(super) fn set(&self, state: RegistryState) {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.revision.set(number(state.in_force));
        self.up.set(state.readable.into());
        self.refused.set(state.refused.into());
        self.shadowed
            .set(i64::try_from(state.shadowed).unwrap_or(i64::MAX));
    }
}
