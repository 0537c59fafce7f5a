//! How the gateway is doing: what operators, probes and metrics are told.

use std::sync::Arc;

use mcp_ultra_domain::{
    breaker::{Forced, Status},
    catalog::{Kind, State},
    pinning::LockFile,
    policy::{Decision, Failure, Policies},
};

use crate::{
    limits::Exceeded,
    metrics::{Gauges, RegistryState, UpstreamGauges},
    pipeline::Refusal,
    upstream::{Upstream, seconds},
};

use super::Gateway;

impl Gateway {
    /// Whether the warm set has been loaded, or has had its time.
    pub fn is_warm(&self) -> bool {
        *self.warm.borrow()
    }

    /// Completes when [`Gateway::is_warm`].
    pub async fn warmed(&self) {
        let mut warm = self.warm.subscribe();
        // The sender lives as long as the gateway.
        drop(warm.wait_for(|warm| *warm).await);
    }

    /// The circuit breakers of all upstreams that have one: name, how it is, and in how many seconds it
    /// lets a call through where it is open.
    pub fn breakers(&self) -> Vec<(Arc<str>, Status, Option<u64>)> {
        let snapshot = self.snapshot();
        let upstreams = snapshot.upstreams.iter();
        let of = |upstream: &Arc<Upstream>| {
            let (status, seconds) = upstream.breaker_for()?;
            Some((upstream.name().clone(), status, seconds))
        };
        upstreams.filter_map(of).collect()
    }

    /// The circuit breakers of what the gateway needs besides its upstreams: the same of each.
    pub fn dependencies(&self) -> Vec<(&'static str, Status, Option<u64>)> {
        let all = self.dependencies.states();
        all.map(|(name, status, wait)| (name, status, wait.map(seconds)))
            .collect()
    }

    /// Forces the circuit breaker of what the gateway needs, or no more; `false` where there is none.
    /// It ends by itself after an hour: who would take it back may need what is left alone.
    pub fn force_dependency(&self, name: &str, forced: Option<Forced>) -> bool {
        self.dependencies.force(name, forced)
    }

    /// Forces the circuit breaker of an upstream, or no more; `false` where there is none.
    pub fn force_breaker(&self, upstream: &str, forced: Option<Forced>) -> bool {
        let snapshot = self.snapshot();
        let Some(upstream) = snapshot.upstream(upstream) else {
            return false;
        };
        let has_one = upstream.force_breaker(forced);
        if let Some(shared) = self.shared_breakers.as_ref().filter(|_| has_one) {
            shared.force(upstream.name(), forced);
        }
        has_one
    }

    /// Takes note of how the registry is doing, for the metrics.
    pub fn note_registry(&self, state: RegistryState) {
        self.metrics.note_registry(state);
    }

    /// How every upstream is doing: name, whether it answers, and why not.
    pub fn upstream_states(&self) -> Vec<(Arc<str>, State)> {
        let snapshot = self.snapshot();
        snapshot
            .catalog
            .sources()
            .iter()
            .map(|s| (s.name.clone(), s.state.clone()))
            .collect()
    }

    /// How many tools, prompts and resources are listed.
    pub fn listed(&self) -> [usize; 3] {
        let snapshot = self.snapshot();
        [Kind::Tool, Kind::Prompt, Kind::Resource].map(|kind| snapshot.catalog.items(kind).len())
    }

    /// The lock file of tools that is in force.
    pub fn lock_file(&self) -> Option<Arc<LockFile>> {
        self.settings().pinning.lock().cloned()
    }

    /// The policies that are in force; `None` where everything is permitted.
    pub fn policies(&self) -> Option<Arc<Policies>> {
        self.snapshot().rules.policies().cloned()
    }

    /// The revision of the policies that are in force; `None` where everything is permitted.
    pub fn policy_revision(&self) -> Option<Arc<str>> {
        let snapshot = self.snapshot();
        let policies = snapshot.rules.policies();
        policies.map(|policies| policies.revision().clone())
    }

    /// Counts policies that could not be evaluated, and logs each of them once.
    pub(crate) fn tell_of_failures(&self, decision: &Decision) {
        if decision.failures.is_empty() {
            return;
        }
        self.metrics.policy_failures(decision.failures.len());
        for Failure { policy, reason } in &decision.failures {
            if self.failed_policies.lock().insert(policy.clone()) {
                tracing::error!(%policy, %reason, "a policy can't be evaluated, so the call is refused");
            }
        }
    }

    pub(crate) fn gauge(&self) {
        let snapshot = self.snapshot();
        self.metrics.gauges(&Gauges {
            sessions: self.sessions.len(),
            streams: self.streams.open(),
            parked: self.parking.len(),
            tracked: self.limits.tracked(),
            leases: self.limits.leases(),
            listed: Kind::ALL.map(|kind| (kind.list_key(), snapshot.catalog.items(kind).len())),
            secrets: self.secrets.states(),
            shared: self.store.is_reachable(),
            announcements: self.announcements.state(),
            cache: self.cache.size(),
            evicted: self.cache.evicted(),
            dependencies: self.dependencies(),
            pins: self.pinning.tallies(),
            flags: self.tally_of_flags(),
            upstreams: snapshot
                .upstreams
                .iter()
                .map(|upstream| UpstreamGauges {
                    name: upstream.name().clone(),
                    sessions: upstream.sessions(),
                    breaker: upstream.breaker(),
                    retries: upstream
                        .retries()
                        .map(|retries| [retries.budget.made(), retries.budget.refused()]),
                })
                .collect(),
        });
    }

    /// Counts a refusal.
    pub(crate) fn count_limited(&self, exceeded: &Exceeded) {
        self.metrics.limited(exceeded.bound, exceeded.scope);
        tracing::debug!(
            limit = exceeded.bound.as_str(),
            of = exceeded.scope.as_str(),
            "a request is refused"
        );
    }

    /// The refusal of a request by a limit, counted.
    pub(crate) fn refused_by_limit(&self, exceeded: Exceeded) -> Refusal {
        self.count_limited(&exceeded);
        exceeded.into()
    }
}
