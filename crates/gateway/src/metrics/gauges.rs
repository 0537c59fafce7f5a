//! What is only looked at when the metrics are read.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use mcp_ultra_domain::{
    breaker::{State, Status},
    limits::Bound,
    pinning::Standing,
    ports::{AnnouncementState, Leases, SecretState, Tracked},
    scan::FindingKind,
};
use mcp_ultra_edge::listener::Refusal;
use prometheus_client::metrics::counter::{Atomic, Counter};

use super::{
    Metrics,
    labels::{
        AnnouncementLabels, BreakerLabels, DependencyLabel, DependencyLabels, FindingLabels,
        FlagLabel, LimitLabel, ListLabel, ReasonLabel, ResultLabel, RetryLabels, SecretLabel,
        StandingLabels, StateLabel, UpstreamLabel,
    },
};
use crate::{gateway::FlagTally, pinning::Tally};

/// A counter whose value is counted elsewhere and copied when the metrics are read.
#[derive(Debug, Default)]
pub(crate) struct Mirror(AtomicU64);

impl Atomic<u64> for Mirror {
    fn inc(&self) -> u64 {
        self.inc_by(1)
    }

    fn inc_by(&self, by: u64) -> u64 {
        self.0.fetch_add(by, Ordering::Relaxed)
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub(super) fn mirror(counter: &Counter<u64, Mirror>, value: u64) {
    counter.inner().0.store(value, Ordering::Relaxed);
}

/// What is there at the moment.
pub(crate) struct Gauges {
    pub sessions: usize,
    pub streams: usize,
    pub parked: usize,
    pub tracked: Tracked,
    /// `None` where limits are of this process alone.
    pub leases: Option<Leases>,
    pub listed: [(&'static str, usize); 4],
    pub upstreams: Vec<UpstreamGauges>,
    pub secrets: Vec<SecretState>,
    /// Whether what gateways share answers, where something is shared.
    pub shared: Option<bool>,
    /// `None` where there are no others.
    pub announcements: Option<AnnouncementState>,
    /// The breakers of what the gateway needs besides its upstreams.
    pub dependencies: Vec<(&'static str, Status, Option<u64>)>,
    pub pins: Vec<(Arc<str>, Tally)>,
    /// How many answers are kept, and in how many bytes.
    pub cache: (usize, usize),
    /// How many were let go, by why.
    pub evicted: [(&'static str, u64); 3],
    pub flags: FlagTally,
}

/// What is looked at of one upstream.
pub(crate) struct UpstreamGauges {
    pub name: Arc<str>,
    pub sessions: usize,
    /// How its breaker is, where it has one.
    pub breaker: Option<Status>,
    /// How many calls were made again, and how many were not for want of budget.
    pub retries: Option<[u64; 2]>,
}

impl Metrics {
    fn announced(&self, state: &AnnouncementState) {
        self.announced.set(i64::from(state.connected));
        mirror(&self.announcements_missed, state.missed);
        for tally in &state.kinds {
            let kind = tally.kind;
            for (outcome, count) in [
                ("sent", tally.sent),
                ("heard", tally.heard),
                ("dropped", tally.dropped),
            ] {
                let labels = AnnouncementLabels { kind, outcome };
                mirror(&self.announcements.get_or_create(&labels), count);
            }
        }
    }

    fn depended(&self, dependencies: &[(&'static str, Status, Option<u64>)]) {
        for (dependency, status, _) in dependencies {
            let label = DependencyLabel { dependency };
            mirror(&self.dependency_opened.get_or_create(&label), status.opened);
            for state in State::ALL {
                let labels = DependencyLabels {
                    dependency,
                    state: state.as_str(),
                };
                let is_in = i64::from(status.state == state);
                self.dependencies.get_or_create(&labels).set(is_in);
            }
        }
    }

    fn leased(&self, leases: Leases) {
        self.limit_replicas.set(i64::from(leases.replicas));
        self.limit_apart.set(i64::from(leases.apart));
        for (outcome, count) in [
            ("asked", leases.asked),
            ("granted", leases.granted),
            ("returned", leases.returned),
        ] {
            let label = ResultLabel { outcome };
            mirror(&self.limit_leases.get_or_create(&label), count);
        }
    }

    /// Takes over what is there at the moment.
    pub(crate) fn gauges(&self, gauges: &Gauges) {
        self.sessions.set(number(gauges.sessions));
        self.streams.set(number(gauges.streams));
        self.parked.set(number(gauges.parked));
        self.tracked(gauges.tracked);
        self.leased(gauges.leases.unwrap_or(Leases {
            replicas: 1,
            ..Leases::default()
        }));
        for (list, count) in gauges.listed {
            self.listed
                .get_or_create(&ListLabel { list })
                .set(number(count));
        }
        self.secrets(&gauges.secrets);
        self.redis_up.set(i64::from(gauges.shared.unwrap_or(true)));
        if let Some(state) = &gauges.announcements {
            self.announced(state);
        }
        self.depended(&gauges.dependencies);
        self.pinned(&gauges.pins);
        self.cache.gauges(gauges.cache, &gauges.evicted);
        self.flagged(&gauges.flags);
        self.upstreams(&gauges.upstreams);
        self.listener();
    }

    fn tracked(&self, tracked: Tracked) {
        let Tracked {
            rates,
            quotas,
            concurrency,
        } = tracked;
        for (bound, keys) in Bound::ALL.into_iter().zip([rates, quotas, concurrency]) {
            let limit = bound.as_str();
            self.tracked
                .get_or_create(&LimitLabel { limit })
                .set(number(keys));
        }
    }

    fn secrets(&self, secrets: &[SecretState]) {
        self.secret_read.clear();
        self.secret_failing.clear();
        for state in secrets {
            let label = SecretLabel {
                secret: state.name.clone(),
            };
            let seconds = i64::try_from(state.read_ago.as_secs()).unwrap_or(i64::MAX);
            self.secret_read.get_or_create(&label).set(seconds);
            let failing = i64::from(state.failing);
            self.secret_failing.get_or_create(&label).set(failing);
        }
    }

    /// What the listener counts itself.
    fn listener(&self) {
        self.connections
            .set(i64::try_from(self.listener.open()).unwrap_or(i64::MAX));
        mirror(&self.accepted, self.listener.accepted());
        let tls = self.listener.tls();
        let ends = tls.map_or(0, |tls| tls.not_after().as_secs());
        self.certificate_ends
            .set(i64::try_from(ends).unwrap_or(i64::MAX));
        let (applied, refused) = tls.map_or((0, 0), |tls| tls.reloads());
        for (outcome, count) in [("applied", applied), ("refused", refused)] {
            let label = ResultLabel { outcome };
            mirror(&self.certificate_reloads.get_or_create(&label), count);
        }
        for kind in Refusal::ALL {
            let label = ReasonLabel {
                reason: kind.as_str(),
            };
            mirror(
                &self.refused.get_or_create(&label),
                self.listener.refused(kind),
            );
        }
    }

    /// Flags that are not expired, or gone, have no series of their own.
    fn flagged(&self, flags: &FlagTally) {
        for (state, count) in [("enabled", flags.enabled), ("disabled", flags.disabled)] {
            let count = number(count);
            self.flags.get_or_create(&StateLabel { state }).set(count);
        }
        self.flags_expired.clear();
        for flag in &flags.expired {
            let label = FlagLabel { flag: flag.clone() };
            self.flags_expired.get_or_create(&label).set(1);
        }
    }

    /// Upstreams that are gone from the configuration have no series.
    fn upstreams(&self, upstreams: &[UpstreamGauges]) {
        self.upstream_sessions.clear();
        self.breakers.clear();
        self.breaker_opened.clear();
        self.retries.clear();
        for one in upstreams {
            let upstream = one.name.to_string();
            let label = UpstreamLabel {
                upstream: upstream.clone(),
            };
            let sessions = number(one.sessions);
            self.upstream_sessions.get_or_create(&label).set(sessions);
            for (outcome, count) in ["made", "no_budget"]
                .into_iter()
                .zip(one.retries.iter().flatten())
            {
                let labels = RetryLabels {
                    upstream: upstream.clone(),
                    outcome,
                };
                mirror(&self.retries.get_or_create(&labels), *count);
            }
            let Some(breaker) = one.breaker else { continue };
            mirror(&self.breaker_opened.get_or_create(&label), breaker.opened);
            for state in State::ALL {
                let labels = BreakerLabels {
                    upstream: upstream.clone(),
                    state: state.as_str(),
                };
                let is_in = i64::from(breaker.state == state);
                self.breakers.get_or_create(&labels).set(is_in);
            }
        }
    }

    /// Upstreams that are gone from the configuration have no series.
    fn pinned(&self, pins: &[(Arc<str>, Tally)]) {
        self.pins.clear();
        self.findings.clear();
        for (upstream, tally) in pins {
            for (standing, count) in Standing::ALL.into_iter().zip(tally.standings) {
                let labels = StandingLabels {
                    upstream: upstream.clone(),
                    standing: standing.as_str(),
                };
                self.pins.get_or_create(&labels).set(number(count));
            }
            for (kind, count) in FindingKind::ALL.into_iter().zip(tally.findings) {
                let labels = FindingLabels {
                    upstream: upstream.clone(),
                    kind: kind.as_str(),
                };
                self.findings.get_or_create(&labels).set(number(count));
            }
        }
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
