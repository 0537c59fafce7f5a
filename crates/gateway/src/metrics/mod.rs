//! What is counted and measured. Labels are bounded: statuses, methods that the protocol knows,
//! upstreams of the configuration, keys of flags that an operator has written, outcomes of a fixed
//! list. No name of a tool (but within the key of a flag), principal or session ever becomes one.

mod cache;
mod gauges;
mod labels;
mod register;
mod registry;
mod tally;
mod text;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mcp_ultra_domain::limits::{Bound, Scope};
use mcp_ultra_edge::{credentials::Fetched, identity::Refused, listener::ListenerMetrics};
use mcp_ultra_protocol::Method;
use prometheus_client::{
    encoding::text as open_metrics,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

pub use self::registry::RegistryState;
pub(crate) use self::{
    cache::CacheLevel,
    gauges::{Gauges, UpstreamGauges},
    tally::Tally,
};
use self::{
    cache::CacheMetrics,
    gauges::Mirror,
    labels::{
        AnnouncementLabels, AnswerLabel, BreakerLabels, CallLabels, DependencyLabel,
        DependencyLabels, ErrandLabels, FindingLabels, FlagLabel, LimitLabel, LimitLabels,
        ListLabel, MethodLabels, ReasonLabel, ResultLabel, RetryLabels, SecretLabel,
        StandingLabels, StateLabel, StatusLabel, SwitchLabels, TokenLabels, UpstreamLabel,
    },
    registry::RegistryGauges,
    text::prometheus_text,
};
use crate::{
    call::Ids,
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
    /// Those that were answered with 200.
    well: Counter,
    durations: Histogram,
    calls: Family<CallLabels, Counter>,
    call_durations: Family<MethodLabels, Histogram>,
    /// Of calls that the gateway answers itself: no upstream, and what is counted of them.
    own: (Arc<str>, Tally),
    upstream_up: Family<UpstreamLabel, Gauge>,
    upstream_sessions: Family<UpstreamLabel, Gauge>,
    breakers: Family<BreakerLabels, Gauge>,
    breaker_opened: Family<UpstreamLabel, Counter<u64, Mirror>>,
    dependencies: Family<DependencyLabels, Gauge>,
    dependency_opened: Family<DependencyLabel, Counter<u64, Mirror>>,
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
        let requests = Family::<StatusLabel, Counter>::default();
        let well = requests.get_or_create_owned(&StatusLabel { status: 200 });
        let mut metrics = Self {
            registry: Registry::default(),
            requests,
            well,
            durations: Histogram::new(BUCKETS),
            calls: Family::default(),
            call_durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            own: ("".into(), Tally::default()),
            upstream_up: Family::default(),
            upstream_sessions: Family::default(),
            breakers: Family::default(),
            breaker_opened: Family::default(),
            dependencies: Family::default(),
            dependency_opened: Family::default(),
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
        if status == 200 {
            self.well.inc();
        } else {
            self.requests.get_or_create(&StatusLabel { status }).inc();
        }
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

    /// The text of all metrics; `None` where it can't be written.
    pub(crate) fn encode(&self, open: bool) -> Option<String> {
        let mut out = String::new();
        open_metrics::encode(&mut out, &self.registry).ok()?;
        Some(if open { out } else { prometheus_text(&out) })
    }
}

impl Watch {
    /// The gateway has answered itself.
    pub(crate) fn done(self, method: Method) {
        let (name, tally) = &self.metrics.own;
        let seconds = self.start.elapsed().as_secs_f64();
        self.metrics.call((name, tally), method, "result", seconds);
    }

    /// An upstream was asked.
    pub(crate) fn forwarded(
        self,
        (upstream, tally): (&Arc<str>, &Tally),
        method: Method,
        outcome: Outcome,
        ids: Option<&Ids>,
    ) {
        let took = self.start.elapsed();
        let seconds = took.as_secs_f64();
        self.metrics
            .call((upstream, tally), method, outcome.as_str(), seconds);
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
