//! Upper bounds on what clients and servers may use. What each of them may use of it is in
//! [`shares`].

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod shares;

use super::nonzero;
pub use shares::{
    ConcurrencySection, LimitMatch, LimitOverride, OverriddenRates, QuotasSection, RatesSection,
};

use crate::{period::Period, size::Size, validate::Findings};

/// Every bound of the gateway itself has a value: there is no "unlimited". JSON nesting is fixed at
/// 128.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsSection {
    /// The largest body of a client's request; more is answered 413.
    pub body: Size,
    /// The most headers of a client's request; more is answered 431.
    pub headers: NonZeroU32,
    /// The most bytes of all headers of a client's request; more is answered 431.
    pub header_bytes: Size,
    /// How long a client may take to send its headers.
    pub header_timeout: Period,
    /// How long a client may take to send its body; longer is answered 408.
    pub body_timeout: Period,
    /// How long a connection without a request stays open.
    pub idle_timeout: Period,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Period,
    /// The most TLS handshakes at a time; more wait for their turn.
    pub handshakes: NonZeroU32,
    /// The most open connections of all clients.
    pub connections: NonZeroU32,
    /// The most open connections of one client address. Those of `server.trusted_proxies` carry
    /// many clients and count for `connections` alone.
    pub connections_per_client: NonZeroU32,
    /// The most open streams (SSE) of one client address.
    pub streams_per_client: NonZeroU32,
    /// The most live sessions of clients that speak 2025-11-25 or earlier.
    pub sessions: NonZeroU32,
    /// The most of them of one principal; nobody in particular, where callers are not asked who they
    /// are, has no bound of its own. As with `sessions`, the idlest makes room for another and is
    /// served again when its client comes back; where none is idle, the client is answered 429.
    pub sessions_per_principal: NonZeroU32,
    /// The most calls in flight in the whole gateway; more are answered 503. Of the last quarter a
    /// tenant gets none while it has its share: as many as there are, divided by the tenants that
    /// want any.
    pub calls: NonZeroU32,
    /// The most calls in flight to one server; more are answered 503.
    pub calls_per_server: NonZeroU32,
    /// The largest single message from a server; more is an error for that call only.
    pub result: Size,
    /// How long a connection to a server may take to open.
    pub connect_timeout: Period,
    /// How long a server may take to begin its answer. Without it: as long as the call may take.
    pub response_timeout: Option<Period>,
    /// The total deadline of a call, unless its server has its own.
    pub call_timeout: Period,
    /// How often requests may come.
    pub rates: RatesSection,
    /// How many requests may go to servers in a day.
    pub quotas: QuotasSection,
    /// How many requests may be in flight at the same time.
    pub concurrency: ConcurrencySection,
    /// Other rates, quotas and numbers for some tenants, roles, tools or servers.
    pub overrides: Vec<LimitOverride>,
    /// How many addresses, tenants, principals, tools and servers are counted at the same time, of
    /// each kind and for each limit; those that were not heard of for longest are forgotten first.
    pub tracked: NonZeroU32,
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            body: Size::mib(4),
            headers: nonzero(100),
            header_bytes: Size::kib(64),
            header_timeout: Period::from_secs(10),
            body_timeout: Period::from_secs(30),
            idle_timeout: Period::from_secs(75),
            handshake_timeout: Period::from_secs(10),
            handshakes: nonzero(256),
            connections: nonzero(10_000),
            connections_per_client: nonzero(1_000),
            streams_per_client: nonzero(256),
            sessions: nonzero(10_000),
            sessions_per_principal: nonzero(1_000),
            calls: nonzero(4_096),
            calls_per_server: nonzero(1_024),
            result: Size::mib(16),
            connect_timeout: Period::from_secs(5),
            response_timeout: None,
            call_timeout: Period::from_secs(300),
            rates: RatesSection::default(),
            quotas: QuotasSection::default(),
            concurrency: ConcurrencySection::default(),
            overrides: Vec::new(),
            tracked: nonzero(100_000),
        }
    }
}

impl LimitsSection {
    /// How long a server may take to begin its answer.
    pub fn response_timeout(&self) -> Period {
        self.response_timeout.unwrap_or(self.call_timeout)
    }

    pub(super) fn check(&self, findings: &mut Findings) {
        findings.size("limits.body", self.body, Size::kib(1), Size::mib(1024));
        // hyper needs a buffer of at least 8 KiB for the head of a request.
        findings.size(
            "limits.header_bytes",
            self.header_bytes,
            Size::kib(8),
            Size::mib(1),
        );
        findings.size("limits.result", self.result, Size::kib(1), Size::mib(1024));
        for (path, period) in [
            ("limits.header_timeout", self.header_timeout),
            ("limits.body_timeout", self.body_timeout),
            ("limits.idle_timeout", self.idle_timeout),
            ("limits.handshake_timeout", self.handshake_timeout),
            ("limits.connect_timeout", self.connect_timeout),
            ("limits.call_timeout", self.call_timeout),
        ] {
            findings.not_zero(path, period);
        }
        if let Some(period) = self.response_timeout {
            findings.not_zero("limits.response_timeout", period);
        }
        for (index, one) in self.overrides.iter().enumerate() {
            one.check(&format!("limits.overrides[{index}]"), findings);
        }
    }
}
