//! What is counted and measured. Labels are bounded: statuses, methods that the protocol knows,
//! upstreams of the configuration, keys of flags that an operator has written, outcomes of a fixed
//! list. No name of a tool (but within the key of a flag), principal or session ever becomes one.

mod cache;
mod labels;
mod register;
mod registry;
mod text;

use std::{
    sync::Arc,
    sync::atomic::AtomicU64,
    time::{Duration, Instant},
};

use mcp_ultra_domain::{
    breaker::{State, Status},
    limits::{Bound, Scope},
    pinning::Standing,
    ports::{AnnouncementState, Leases, SecretState, Tracked},
    scan::FindingKind,
};
use mcp_ultra_edge::{
    credentials::Fetched,
    identity::Refused,
    listener::{ListenerMetrics, Refusal},
};
use mcp_ultra_protocol::Method;
use prometheus_client::{
    encoding::text as open_metrics,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

pub(crate) use self::cache::CacheLevel;
pub use self::registry::RegistryState;
use self::{
    cache::CacheMetrics,
    labels::{
        AnnouncementLabels, AnswerLabel, BreakerLabels, CallLabels, ErrandLabels, FindingLabels,
        FlagLabel, LimitLabel, LimitLabels, ListLabel, MethodLabels, ReasonLabel, ResultLabel,
        RetryLabels, SecretLabel, StandingLabels, StateLabel, StatusLabel, SwitchLabels,
        TokenLabels, UpstreamLabel,
    },
    registry::RegistryGauges,
    text::prometheus_text,
};
use crate::{
    call::Ids,
    gateway::FlagTally,
    pinning::Tally,
    replicas::{self, Errand},
    stages::forward::Outcome,
};

/// Upper bounds in seconds. 0.2 and 0.5 are the thresholds of the service level objectives.
const BUCKETS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0, 60.0,
];

/// The metrics of the data plane.
pub struct Metrics {
    registry: Registry,
    requests: Family<StatusLabel, Counter>,
    durations: Histogram,
    calls: Family<CallLabels, Counter>,
    call_durations: Family<MethodLabels, Histogram>,
    upstream_up: Family<UpstreamLabel, Gauge>,
    upstream_sessions: Family<UpstreamLabel, Gauge>,
    breakers: Family<BreakerLabels, Gauge>,
    breaker_opened: Family<UpstreamLabel, Counter<u64, Mirror>>,
    retries: Family<RetryLabels, Counter<u64, Mirror>>,
    listed: Family<ListLabel, Gauge>,
    sessions: Gauge,
    streams: Gauge,
    parked: Gauge,
    connections: Gauge,
    accepted: Counter<u64, Mirror>,
    refused: Family<ReasonLabel, Counter<u64, Mirror>>,
    auth_refused: Family<ReasonLabel, Counter>,
    token_requests: Family<TokenLabels, Counter>,
    certificate_ends: Gauge,
    certificate_reloads: Family<ResultLabel, Counter<u64, Mirror>>,
    policy: Family<AnswerLabel, Counter>,
    policy_failures: Counter,
    flags: Family<StateLabel, Gauge>,
    flags_expired: Family<FlagLabel, Gauge>,
    switched_off: Family<SwitchLabels, Counter>,
    limited: Family<LimitLabels, Counter>,
    tracked: Family<LimitLabel, Gauge>,
    limit_replicas: Gauge,
    limit_apart: Gauge,
    limit_leases: Family<ResultLabel, Counter<u64, Mirror>>,
    secret_read: Family<SecretLabel, Gauge>,
    secret_failing: Family<SecretLabel, Gauge>,
    redis_up: Gauge,
    announced: Gauge,
    announcements: Family<AnnouncementLabels, Counter<u64, Mirror>>,
    announcements_missed: Counter<u64, Mirror>,
    errands: Family<ErrandLabels, Counter>,
    parked_lost: Family<ReasonLabel, Counter>,
    changeable: RegistryGauges,
    pins: Family<StandingLabels, Gauge>,
    findings: Family<FindingLabels, Gauge>,
    cache: CacheMetrics,
    listener: Arc<ListenerMetrics>,
}

/// A counter whose value is counted elsewhere and copied when the metrics are read.
#[derive(Debug, Default)]
pub(crate) struct Mirror(AtomicU64);

impl prometheus_client::metrics::counter::Atomic<u64> for Mirror {
    fn inc(&self) -> u64 {
        self.inc_by(1)
    }

    fn inc_by(&self, by: u64) -> u64 {
        self.0.fetch_add(by, std::sync::atomic::Ordering::Relaxed)
    }

    fn get(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

fn mirror(counter: &Counter<u64, Mirror>, value: u64) {
    counter
        .inner()
        .0
        .store(value, std::sync::atomic::Ordering::Relaxed);
}

/// How policy has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A policy permits, and none forbids.
    Permitted,
    /// A policy forbids.
    Forbidden,
    /// No policy permits.
    Unmatched,
    /// A policy could not be evaluated.
    Failed,
}

impl Answer {
    const ALL: [Self; 4] = [
        Self::Permitted,
        Self::Forbidden,
        Self::Unmatched,
        Self::Failed,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Permitted => "permitted",
            Self::Forbidden => "forbidden",
            Self::Unmatched => "unmatched",
            Self::Failed => "failed",
        }
    }
}

/// What is only looked at when the metrics are read.
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
    pub pins: Vec<(Arc<str>, Tally)>,
    /// How many answers are kept, and in how many bytes.
    pub cache: (usize, usize),
    /// How many were let go, by why.
    pub evicted: [(&'static str, u64); 2],
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

/// Measures one call.
pub(crate) struct Watch {
    metrics: Arc<Metrics>,
    start: Instant,
}

impl Metrics {
    /// Notes how the registry is doing.
    pub(crate) fn note_registry(&self, state: RegistryState) {
        self.changeable.set(state);
    }

    pub(crate) fn new(listener: Arc<ListenerMetrics>) -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            durations: Histogram::new(BUCKETS),
            calls: Family::default(),
            call_durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            upstream_up: Family::default(),
            upstream_sessions: Family::default(),
            breakers: Family::default(),
            breaker_opened: Family::default(),
            retries: Family::default(),
            listed: Family::default(),
            sessions: Gauge::default(),
            streams: Gauge::default(),
            parked: Gauge::default(),
            connections: Gauge::default(),
            accepted: Counter::default(),
            refused: Family::default(),
            auth_refused: Family::default(),
            token_requests: Family::default(),
            certificate_ends: Gauge::default(),
            certificate_reloads: Family::default(),
            policy: Family::default(),
            policy_failures: Counter::default(),
            flags: Family::default(),
            flags_expired: Family::default(),
            switched_off: Family::default(),
            limited: Family::default(),
            tracked: Family::default(),
            limit_replicas: Gauge::default(),
            limit_apart: Gauge::default(),
            limit_leases: Family::default(),
            secret_read: Family::default(),
            secret_failing: Family::default(),
            redis_up: Gauge::default(),
            announced: Gauge::default(),
            announcements: Family::default(),
            announcements_missed: Counter::default(),
            errands: Family::default(),
            parked_lost: Family::default(),
            changeable: RegistryGauges::default(),
            pins: Family::default(),
            findings: Family::default(),
            cache: CacheMetrics::new(),
            listener,
        };
        metrics.register();
        metrics
    }

    /// Counts a request that a limit refused.
    pub(crate) fn limited(&self, bound: Bound, scope: Scope) {
        let (limit, of) = (bound.as_str(), scope.as_str());
        self.limited.get_or_create(&LimitLabels { limit, of }).inc();
    }

    /// Counts what was wanted of another replica.
    pub(crate) fn errand(&self, errand: Errand, outcome: replicas::Outcome) {
        let (errand, outcome) = (errand.as_str(), outcome.as_str());
        let labels = ErrandLabels { errand, outcome };
        self.errands.get_or_create(&labels).inc();
    }

    /// Counts parked calls whose callers can't come back to them.
    pub(crate) fn parked_lost(&self, reason: &'static str, calls: usize) {
        let calls = u64::try_from(calls).unwrap_or(u64::MAX);
        let label = ReasonLabel { reason };
        self.parked_lost.get_or_create(&label).inc_by(calls);
    }

    /// Counts one HTTP request.
    pub(crate) fn http(&self, status: u16, took: Duration) {
        self.requests.get_or_create(&StatusLabel { status }).inc();
        self.durations.observe(took.as_secs_f64());
    }

    /// Counts a request that nobody was identified for.
    pub(crate) fn auth_refused(&self, why: Refused) {
        let reason = why.as_str();
        self.auth_refused
            .get_or_create(&ReasonLabel { reason })
            .inc();
    }

    /// What counts the requests for access tokens for one upstream.
    pub(crate) fn token_requests(
        &self,
        upstream: &Arc<str>,
    ) -> impl Fn(Fetched) + Send + Sync + use<> {
        let count = Fetched::ALL.map(|outcome| {
            let labels = TokenLabels {
                upstream: upstream.clone(),
                outcome: outcome.as_str(),
            };
            (outcome, self.token_requests.get_or_create_owned(&labels))
        });
        move |outcome| {
            for (_, counter) in count.iter().filter(|(of, _)| *of == outcome) {
                counter.inc();
            }
        }
    }

    /// Counts a decision of the policies.
    pub(crate) fn policy(&self, answer: Answer) {
        let answer = answer.as_str();
        self.policy.get_or_create(&AnswerLabel { answer }).inc();
    }

    /// Counts policies that could not be evaluated.
    pub(crate) fn policy_failures(&self, count: usize) {
        self.policy_failures
            .inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// Counts a call that is refused by a kill switch; `failed` where that could not be evaluated.
    pub(crate) fn switched_off(&self, flag: &Arc<str>, failed: bool) {
        let labels = SwitchLabels {
            flag: flag.clone(),
            reason: if failed { "failed" } else { "off" },
        };
        self.switched_off.get_or_create(&labels).inc();
    }

    /// Starts measuring one call.
    pub(crate) fn start(self: &Arc<Self>) -> Watch {
        Watch {
            metrics: self.clone(),
            start: Instant::now(),
        }
    }

    pub(crate) fn upstream_up(&self, upstream: &str, up: bool) {
        let label = UpstreamLabel {
            upstream: upstream.to_owned(),
        };
        self.upstream_up.get_or_create(&label).set(i64::from(up));
    }

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

    pub(crate) fn gauges(&self, gauges: &Gauges) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.sessions.set(number(gauges.sessions));
        self.streams.set(number(gauges.streams));
        self.parked.set(number(gauges.parked));
        let Tracked {
            rates,
            quotas,
            concurrency,
        } = gauges.tracked;
        for (bound, keys) in Bound::ALL.into_iter().zip([rates, quotas, concurrency]) {
            let limit = bound.as_str();
            self.tracked
                .get_or_create(&LimitLabel { limit })
                .set(number(keys));
        }
        self.leased(gauges.leases.unwrap_or(Leases {
            replicas: 1,
            ..Leases::default()
        }));
        for (list, count) in gauges.listed {
            self.listed
                .get_or_create(&ListLabel { list })
                .set(number(count));
        }
        self.secret_read.clear();
        self.secret_failing.clear();
        for state in &gauges.secrets {
            let label = SecretLabel {
                secret: state.name.clone(),
            };
            let seconds = i64::try_from(state.read_ago.as_secs()).unwrap_or(i64::MAX);
            self.secret_read.get_or_create(&label).set(seconds);
            let failing = i64::from(state.failing);
            self.secret_failing.get_or_create(&label).set(failing);
        }
        self.redis_up.set(i64::from(gauges.shared.unwrap_or(true)));
        if let Some(state) = &gauges.announcements {
            self.announced(state);
        }
        self.pinned(&gauges.pins);
        self.cache.gauges(gauges.cache, &gauges.evicted);
        self.flagged(&gauges.flags);
        self.upstreams(&gauges.upstreams);
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
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
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
            let sessions = i64::try_from(one.sessions).unwrap_or(i64::MAX);
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
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
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

    /// The text of all metrics; `None` where it can't be written.
    pub(crate) fn encode(&self, open: bool) -> Option<String> {
        let mut out = String::new();
        open_metrics::encode(&mut out, &self.registry).ok()?;
        Some(if open { out } else { prometheus_text(&out) })
    }

    fn call(&self, upstream: &Arc<str>, method: Method, outcome: &'static str, took: Duration) {
        let method = method.as_str();
        let labels = CallLabels {
            upstream: upstream.clone(),
            method,
            outcome,
        };
        self.calls.get_or_create(&labels).inc();
        let labels = MethodLabels {
            upstream: upstream.clone(),
            method,
        };
        self.call_durations
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }
}

impl Watch {
    /// The gateway has answered itself.
    pub(crate) fn done(self, method: Method) {
        self.metrics
            .call(&Arc::from(""), method, "result", self.start.elapsed());
    }

    /// An upstream was asked.
    pub(crate) fn forwarded(
        self,
        upstream: &Arc<str>,
        method: Method,
        outcome: Outcome,
        ids: Option<&Ids>,
    ) {
        let took = self.start.elapsed();
        self.metrics.call(upstream, method, outcome.as_str(), took);
        let Some(ids) = ids else { return };
        tracing::info!(
            request_id = %ids.request,
            trace_id = %ids.trace,
            %upstream,
            method = method.as_str(),
            outcome = outcome.as_str(),
            micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            "call"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_texts_name_what_the_dashboards_ask_for() {
        let metrics = Arc::new(Metrics::new(Arc::default()));
        metrics.http(200, Duration::from_millis(150));
        metrics.start().done(Method::ToolsList);
        let plain = metrics.encode(false).unwrap();
        assert!(
            plain.contains("# TYPE http_requests_total counter"),
            "{plain}"
        );
        assert!(
            plain.contains("http_requests_total{status=\"200\"} 1"),
            "{plain}"
        );
        for bound in ["0.2", "0.5"] {
            let bucket = format!("http_request_duration_seconds_bucket{{le=\"{bound}\"}} 1");
            assert!(plain.contains(&bucket), "{plain}");
        }
        assert!(!plain.contains("# EOF"));
        let open = metrics.encode(true).unwrap();
        assert!(open.contains("# TYPE http_requests counter") && open.ends_with("# EOF\n"));
    }
}
