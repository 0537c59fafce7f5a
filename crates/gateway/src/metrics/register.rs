use mcp_ultra_domain::{Announcement, limits::Bound};
use mcp_ultra_edge::identity::Refused;

use super::{
    Answer, Metrics,
    labels::{AnnouncementLabels, AnswerLabel, ErrandLabels, LimitLabels, ReasonLabel},
};
use crate::replicas::{Errand, Outcome};

impl Metrics {
    /// Gives every metric its name and description.
    pub(super) fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "tls_certificate_not_after_seconds",
            "when the certificate of the listener ends, in seconds since 1970; 0 without TLS",
            self.certificate_ends.clone(),
        );
        registry.register(
            "tls_certificate_reloads",
            "changed files of the listener's TLS, by what became of them",
            self.certificate_reloads.clone(),
        );
        registry.register(
            "http_requests",
            "HTTP requests to the MCP endpoint, by status",
            self.requests.clone(),
        );
        registry.register(
            "http_request_duration_seconds",
            "Time from an HTTP request to the MCP endpoint until the head of its response",
            self.durations.clone(),
        );
        registry.register(
            "mcp_requests",
            "MCP requests, by upstream (empty: answered by the gateway), method and outcome",
            self.calls.clone(),
        );
        registry.register(
            "mcp_request_duration_seconds",
            "Time from an MCP request until its answer",
            self.call_durations.clone(),
        );
        registry.register(
            "mcp_upstream_up",
            "Whether the lists of an upstream could be read the last time",
            self.upstream_up.clone(),
        );
        registry.register(
            "mcp_upstream_sessions",
            "Open sessions and child processes, by upstream",
            self.upstream_sessions.clone(),
        );
        registry.register(
            "mcp_upstream_breaker",
            "What the circuit breaker of an upstream does: 1 for its state",
            self.breakers.clone(),
        );
        registry.register(
            "mcp_upstream_breaker_opened",
            "How often the circuit breaker of an upstream has opened",
            self.breaker_opened.clone(),
        );
        registry.register(
            "mcp_dependency_breaker",
            "What the circuit breaker of something that the gateway needs does: 1 for its state",
            self.dependencies.clone(),
        );
        registry.register(
            "mcp_dependency_breaker_opened",
            "How often the circuit breaker of something that the gateway needs has opened",
            self.dependency_opened.clone(),
        );
        registry.register(
            "mcp_upstream_retries",
            "Calls of an upstream that failed and could be made again: made, or not for want of budget",
            self.retries.clone(),
        );
        registry.register(
            "mcp_catalog_items",
            "Listed items, by list",
            self.listed.clone(),
        );
        registry.register(
            "mcp_sessions",
            "Legacy sessions in memory",
            self.sessions.clone(),
        );
        registry.register(
            "mcp_streams",
            "Open notification streams",
            self.streams.clone(),
        );
        registry.register(
            "mcp_parked_calls",
            "Calls that wait for input of their caller",
            self.parked.clone(),
        );
        registry.register(
            "http_connections",
            "Open connections",
            self.connections.clone(),
        );
        registry.register(
            "http_connections_accepted",
            "Accepted connections",
            self.accepted.clone(),
        );
        registry.register(
            "http_connections_refused",
            "Connections and requests that were refused or cut off by a limit",
            self.refused.clone(),
        );
        registry.register(
            "mcp_secret_read_age_seconds",
            "Time since a secret was last read from its source",
            self.secret_read.clone(),
        );
        registry.register(
            "mcp_secret_failing",
            "Whether a secret can't be read, so that its last value stays in use",
            self.secret_failing.clone(),
        );
        registry.register(
            "mcp_redis_up",
            "Whether the Redis that gateways share answers; 1 where there is none",
            self.redis_up.clone(),
        );
        registry.register(
            "mcp_pinning_tools",
            "Tools by upstream and standing: approved, unknown to the lock file or the store, changed since they were approved, suspicious at first sight",
            self.pins.clone(),
        );
        registry.register(
            "mcp_pinning_findings",
            "What the scan finds in the definitions that an upstream offers, by kind",
            self.findings.clone(),
        );
        registry.register(
            "mcp_auth_refused",
            "HTTP requests to the MCP endpoint that nobody was identified for, by reason",
            self.auth_refused.clone(),
        );
        registry.register(
            "mcp_token_requests",
            "Requests for access tokens for upstreams, by how they came out: token, refused by the authorization server, or unavailable",
            self.token_requests.clone(),
        );
        registry.register(
            "mcp_policy_decisions",
            "Decisions of the policies on calls, by answer: permitted, forbidden by a policy, unmatched by any, failed to be evaluated",
            self.policy.clone(),
        );
        registry.register(
            "mcp_policy_failures",
            "Policies that could not be evaluated for a call; it is refused then",
            self.policy_failures.clone(),
        );
        for answer in Answer::ALL {
            let answer = answer.as_str();
            drop(self.policy.get_or_create(&AnswerLabel { answer }));
        }
        for why in Refused::ALL {
            let reason = why.as_str();
            drop(self.auth_refused.get_or_create(&ReasonLabel { reason }));
        }
        self.cache.register(&mut self.registry);
        self.register_announcements();
        self.register_replicas();
        self.changeable.register(&mut self.registry);
        self.register_flags();
        self.register_limits();
    }

    fn register_announcements(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "mcp_announcements_connected",
            "Whether this gateway hears what others have changed; 0 without messaging",
            self.announced.clone(),
        );
        registry.register(
            "mcp_announcements",
            "Changes of which gateways tell each other, by kind: sent, heard, or dropped since too many waited",
            self.announcements.clone(),
        );
        registry.register(
            "mcp_announcements_missed",
            "How often something may have been missed, so that everything was read again",
            self.announcements_missed.clone(),
        );
        for kind in Announcement::KINDS {
            for outcome in ["sent", "heard", "dropped"] {
                let labels = AnnouncementLabels { kind, outcome };
                drop(self.announcements.get_or_create(&labels));
            }
        }
    }

    fn register_replicas(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "mcp_replica_errands",
            "What this gateway has asked others to do for its clients, by what became of it",
            self.errands.clone(),
        );
        registry.register(
            "mcp_parked_calls_lost",
            "Parked calls that their callers can't come back to, by reason",
            self.parked_lost.clone(),
        );
        for errand in Errand::ALL {
            for outcome in Outcome::ALL {
                let (errand, outcome) = (errand.as_str(), outcome.as_str());
                let labels = ErrandLabels { errand, outcome };
                drop(self.errands.get_or_create(&labels));
            }
        }
        for reason in ["not_waiting", "lost", "drained"] {
            drop(self.parked_lost.get_or_create(&ReasonLabel { reason }));
        }
    }

    fn register_flags(&mut self) {
        let registry = &mut self.registry;
        registry.register("mcp_flags", "Feature flags, by state", self.flags.clone());
        registry.register(
            "mcp_flag_expired",
            "Feature flags whose day is over, by key; 1 for each",
            self.flags_expired.clone(),
        );
        registry.register(
            "mcp_switched_off",
            "Calls that a kill switch refused, by its key, and why: it is off, or failed to be evaluated",
            self.switched_off.clone(),
        );
    }

    fn register_limits(&mut self) {
        self.registry.register(
            "mcp_limited",
            "Requests that were refused by limits.rates, limits.quotas and limits.concurrency, by limit and by what it is counted",
            self.limited.clone(),
        );
        self.registry.register(
            "mcp_limit_keys",
            "Addresses, tenants, principals, tools and servers that are counted for limits, by limit",
            self.tracked.clone(),
        );
        self.registry.register(
            "mcp_limit_replicas",
            "Gateways that share limits, as far as this one knows; 1 without storage.redis",
            self.limit_replicas.clone(),
        );
        self.registry.register(
            "mcp_limit_apart",
            "Whether this gateway goes by its share of limits, since Redis does not answer",
            self.limit_apart.clone(),
        );
        self.registry.register(
            "mcp_limit_leases",
            "What was asked of Redis for limits: questions, events that were leased, and those of them that were given back",
            self.limit_leases.clone(),
        );
        for bound in Bound::ALL {
            for scope in bound.scopes() {
                let (limit, of) = (bound.as_str(), scope.as_str());
                drop(self.limited.get_or_create(&LimitLabels { limit, of }));
            }
        }
    }
}
