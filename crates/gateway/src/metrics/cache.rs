//! Answers that are kept: what is counted of them.

use std::time::Duration;

use mcp_ultra_domain::cache::Kind;
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::{
    Metrics,
    gauges::{Mirror, mirror},
    labels::{CacheLabels, KindLabel, ReasonLabel},
};

/// Upper bounds of ages in seconds.
const AGES: [f64; 7] = [1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0];

/// By what a call was answered that no server was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CacheLevel {
    /// What this process keeps.
    Memory,
    /// The answer that another call was just waiting for.
    Flight,
    /// What another gateway has kept.
    Redis,
}

impl CacheLevel {
    const ALL: [Self; 3] = [Self::Memory, Self::Flight, Self::Redis];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Flight => "flight",
            Self::Redis => "redis",
        }
    }
}

/// The metrics of answers that are kept.
pub(super) struct CacheMetrics {
    hits: Family<CacheLabels, Counter>,
    /// The same by level and kind, so that none is looked up for each call.
    known_hits: [[Counter; Kind::ALL.len()]; CacheLevel::ALL.len()],
    misses: Family<KindLabel, Counter>,
    stale: Family<KindLabel, Counter>,
    ages: Histogram,
    entries: Gauge,
    bytes: Gauge,
    evictions: Family<ReasonLabel, Counter<u64, Mirror>>,
}

impl CacheMetrics {
    pub(super) fn new() -> Self {
        let hits = Family::<CacheLabels, Counter>::default();
        let known_hits = CacheLevel::ALL.map(|level| {
            Kind::ALL.map(|kind| {
                let (level, kind) = (level.as_str(), kind.as_str());
                hits.get_or_create_owned(&CacheLabels { level, kind })
            })
        });
        Self {
            hits,
            known_hits,
            misses: Family::default(),
            stale: Family::default(),
            ages: Histogram::new(AGES),
            entries: Gauge::default(),
            bytes: Gauge::default(),
            evictions: Family::default(),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "mcp_cache_hits",
            "Calls that were answered without asking the server, by what and of which kind",
            self.hits.clone(),
        );
        registry.register(
            "mcp_cache_misses",
            "Calls whose answer could have been kept, and was not there, by kind",
            self.misses.clone(),
        );
        registry.register(
            "mcp_cache_stale",
            "Calls that were answered by what was too old, since the server failed, by kind",
            self.stale.clone(),
        );
        registry.register(
            "mcp_cache_age_seconds",
            "How long ago answers were asked for that are given again",
            self.ages.clone(),
        );
        registry.register(
            "mcp_cache_entries",
            "Answers that are kept in memory",
            self.entries.clone(),
        );
        registry.register(
            "mcp_cache_bytes",
            "The bytes that they take",
            self.bytes.clone(),
        );
        registry.register(
            "mcp_cache_evictions",
            "Answers that were let go from memory, by why: for want of room, too old, or outdated",
            self.evictions.clone(),
        );
        for kind in Kind::ALL.map(Kind::as_str) {
            drop(self.misses.get_or_create(&KindLabel { kind }));
            drop(self.stale.get_or_create(&KindLabel { kind }));
        }
    }

    /// What is only looked at when the metrics are read.
    pub(super) fn gauges(&self, size: (usize, usize), evicted: &[(&'static str, u64)]) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.entries.set(number(size.0));
        self.bytes.set(number(size.1));
        for (reason, count) in evicted {
            let label = ReasonLabel { reason };
            mirror(&self.evictions.get_or_create(&label), *count);
        }
    }
}

impl Metrics {
    /// Counts a call that was answered by what is kept, and is so old.
    pub(crate) fn cache_hit(&self, level: CacheLevel, kind: Kind, age: Duration) {
        self.cache.known_hits[level as usize][kind as usize].inc();
        self.cache.ages.observe(age.as_secs_f64());
    }

    /// Counts a call that the server is asked for.
    pub(crate) fn cache_missed(&self, kind: Kind) {
        let kind = kind.as_str();
        self.cache.misses.get_or_create(&KindLabel { kind }).inc();
    }

    /// Counts a call that was answered by what is too old.
    pub(crate) fn cache_stale(&self, kind: Kind) {
        let kind = kind.as_str();
        self.cache.stale.get_or_create(&KindLabel { kind }).inc();
    }
}
