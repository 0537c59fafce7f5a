//! Which answers of servers are given again without asking the server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{period::Period, size::Size, validate::Findings};

/// Answers that are kept for a while, in this process and, where `storage.redis` is configured, for
/// all gateways on it. Resources are kept as long as their server says (`ttlMs`; revision 2026-07-28),
/// for everyone of a tenant only where it says so (`cacheScope`). All else is kept where you say for
/// how long (`ttl`), and for its caller alone; tools, where they change nothing by your word
/// (`servers[].read_only`) or by that of a server you believe (`servers[].trust_annotations`). What a
/// caller may have is asked of the policies each time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSection {
    /// Whether anything is kept.
    pub enabled: bool,
    /// How much this process keeps in memory.
    pub memory: Size,
    /// The largest answer that is kept.
    pub largest: Size,
    /// How much of `memory` is one tenant's at most, in percent: 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub tenant_share: u8,
    /// How long answers are kept whose server does not say.
    pub ttl: CacheTtls,
    /// How long anything is kept at most, whatever its server says.
    pub ttl_at_most: Period,
    /// For how long after that an answer is still given where its server fails. 0s: never.
    pub stale: Period,
    /// Whether a call of a tool that may change something ends what is kept of its server for its
    /// caller, and for everyone of the tenant. What is kept for others alone stays until its time.
    pub writes_outdate: bool,
    /// Whether gateways on one `storage.redis` keep answers for each other, encrypted by a key of each
    /// tenant that is made from `session.keys`. Without these nothing is shared.
    pub shared: bool,
}

/// How long answers are kept whose server does not say; 0s: not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CacheTtls {
    /// Resources that were read.
    pub resources: Period,
    /// Prompts.
    pub prompts: Period,
    /// Completions of arguments.
    pub completions: Period,
    /// Results of tools that change nothing. So long they may show what was before somebody else has
    /// changed it.
    pub tools: Period,
}

/// What is kept of one server's answers, where it differs from the general `cache`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServerCacheSection {
    /// Whether anything is kept.
    pub enabled: Option<bool>,
    /// How long answers are kept whose server does not say. Replaces all of `cache.ttl`.
    pub ttl: Option<CacheTtls>,
    /// How long anything is kept at most.
    pub ttl_at_most: Option<Period>,
    /// For how long after that an answer is still given where the server fails.
    pub stale: Option<Period>,
    /// Whether a call of a tool that may change something ends what is kept for its caller, and for
    /// everyone of the tenant.
    pub writes_outdate: Option<bool>,
}

/// Nothing is kept for longer: what marks it as outdated lasts only a little longer itself.
const LONGEST: Period = Period::from_secs(24 * 3600);
const SMALLEST_MEMORY: Size = Size::mib(1);
const LARGEST_MEMORY: Size = Size::mib(64 * 1024);

impl Default for CacheTtls {
    fn default() -> Self {
        let never = Period::from_secs(0);
        Self {
            resources: never,
            prompts: never,
            completions: never,
            tools: never,
        }
    }
}

impl Default for CacheSection {
    fn default() -> Self {
        Self {
            enabled: true,
            memory: Size::mib(64),
            largest: Size::kib(512),
            tenant_share: 50,
            ttl: CacheTtls::default(),
            ttl_at_most: Period::from_secs(3600),
            stale: Period::from_secs(0),
            writes_outdate: true,
            shared: true,
        }
    }
}

impl CacheSection {
    pub(super) fn check(&self, findings: &mut Findings) {
        findings.size("cache.memory", self.memory, SMALLEST_MEMORY, LARGEST_MEMORY);
        findings.size("cache.largest", self.largest, Size::kib(1), self.memory);
        if !(1..=100).contains(&self.tenant_share) {
            findings.report(
                "cache.tenant_share",
                format!("{} is no share of the memory", self.tenant_share),
                "write a number of percent from 1 to 100",
            );
        }
        findings.not_zero("cache.ttl_at_most", self.ttl_at_most);
        not_too_long("cache.ttl_at_most", self.ttl_at_most, findings);
        not_too_long("cache.stale", self.stale, findings);
    }

    /// The general section with what differs for one server.
    pub fn for_server(&self, server: Option<&ServerCacheSection>) -> Self {
        let Some(server) = server else {
            return self.clone();
        };
        Self {
            enabled: server.enabled.unwrap_or(self.enabled),
            ttl: server.ttl.unwrap_or(self.ttl),
            ttl_at_most: server.ttl_at_most.unwrap_or(self.ttl_at_most),
            stale: server.stale.unwrap_or(self.stale),
            writes_outdate: server.writes_outdate.unwrap_or(self.writes_outdate),
            ..self.clone()
        }
    }
}

impl ServerCacheSection {
    pub(super) fn check(&self, path: &str, findings: &mut Findings) {
        if let Some(most) = self.ttl_at_most {
            let path = format!("{path}.ttl_at_most");
            findings.not_zero(&path, most);
            not_too_long(&path, most, findings);
        }
        if let Some(stale) = self.stale {
            not_too_long(&format!("{path}.stale"), stale, findings);
        }
    }
}

fn not_too_long(path: &str, period: Period, findings: &mut Findings) {
    if period > LONGEST {
        findings.report(
            path,
            format!("{period} is longer than anything is kept"),
            "use at most 24h",
        );
    }
}
