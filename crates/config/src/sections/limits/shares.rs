//! How much each address, tenant, principal, tool and server may use: rates, quotas, concurrency,
//! and who gets more or less.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    rate::{CountLimit, Rate, RateLimit},
    sections::nonzero,
    validate::Findings,
};

/// How often requests may come. What is too much is answered 429. Tools and servers are counted for
/// each tenant by itself, so that none can use up what another has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RatesSection {
    /// HTTP requests to `/mcp` of one client address (of IPv6: one /64 network), counted before
    /// anyone is identified. Without it: 1000/s burst 5000, but for loopback addresses.
    pub address: Option<RateLimit>,
    /// MCP requests of one tenant. Without it: no limit.
    pub tenant: Option<RateLimit>,
    /// MCP requests of one principal. Without it: no limit.
    pub principal: Option<RateLimit>,
    /// Calls of one tool by one tenant. Without it: no limit.
    pub tool: Option<RateLimit>,
    /// Requests for one server by one tenant, each new subscription to a resource among them.
    /// Without it: no limit.
    pub server: Option<RateLimit>,
}

/// How many requests may go to servers in a day (UTC), each new subscription to a resource among
/// them. What is too much is answered 429, or left out of what a stream watches; what is refused is
/// not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QuotasSection {
    /// Of one tenant. Without it: no limit.
    pub tenant: Option<CountLimit>,
    /// Of one principal. Without it: no limit.
    pub principal: Option<CountLimit>,
    /// Calls of one tool by one tenant. Without it: no limit.
    pub tool: Option<CountLimit>,
}

/// How many requests may be in flight at the same time. What is too much is answered 429. A call
/// that waits for an answer of its caller is in flight; an open notification stream is not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConcurrencySection {
    /// Of one tenant. Without it: no limit.
    pub tenant: Option<CountLimit>,
    /// Of one principal. Without it: no limit.
    pub principal: Option<CountLimit>,
    /// To one server by one tenant; `limits.calls_per_server` bounds those of all tenants. Without
    /// it: no limit.
    pub server: Option<CountLimit>,
}

/// Other limits for some. Of several that match and set the same limit, one that names the tenant
/// counts before one that does not, then the first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitOverride {
    /// For whom and what.
    #[serde(rename = "match")]
    pub matches: LimitMatch,
    /// Rates in the place of `limits.rates`.
    #[serde(default)]
    pub rates: OverriddenRates,
    /// Quotas in the place of `limits.quotas`.
    #[serde(default)]
    pub quotas: QuotasSection,
    /// Numbers in the place of `limits.concurrency`.
    #[serde(default)]
    pub concurrency: ConcurrencySection,
}

/// What an override is for: everything that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitMatch {
    /// The tenant.
    pub tenant: Option<String>,
    /// A role of the principal: for limits of principals.
    pub role: Option<String>,
    /// The public name of the tool, with `*` for any characters: for limits of tools.
    pub tool: Option<String>,
    /// The name of the server: for limits of servers and of its tools.
    pub server: Option<String>,
}

/// [`RatesSection`] without the address, which nobody has been identified for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OverriddenRates {
    /// As `limits.rates.tenant`.
    pub tenant: Option<RateLimit>,
    /// As `limits.rates.principal`.
    pub principal: Option<RateLimit>,
    /// As `limits.rates.tool`.
    pub tool: Option<RateLimit>,
    /// As `limits.rates.server`.
    pub server: Option<RateLimit>,
}

impl RatesSection {
    /// The rate of an address where none is configured. It is for strangers: programs on this
    /// machine, a reverse proxy among them, are not counted by it.
    pub const UNSET_ADDRESS: Rate = Rate {
        count: nonzero(1000),
        period: crate::rate::Period::Second,
        burst: nonzero(5000),
    };
}

/// What a limit is counted for, as far as an override can tell.
struct Limited {
    path: String,
    /// Whether it differs by role, tool and server.
    by: [bool; 3],
}

impl LimitOverride {
    pub(super) fn check(&self, at: &str, findings: &mut Findings) {
        let set = self.set(at);
        if set.is_empty() {
            findings.report(
                at,
                "it changes no limit",
                "set one in rates, quotas or concurrency, or remove it",
            );
        }
        let matches = &self.matches;
        let all = [
            &matches.tenant,
            &matches.role,
            &matches.tool,
            &matches.server,
        ];
        if all.iter().all(|given| given.is_none()) {
            findings.report(
                format!("{at}.match"),
                "it matches everything",
                "name a tenant, role, tool or server; what is for all stands in limits.rates, limits.quotas and limits.concurrency",
            );
        }
        let conditions = [
            ("role", &matches.role),
            ("tool", &matches.tool),
            ("server", &matches.server),
        ];
        for limited in &set {
            for ((name, given), allowed) in conditions.iter().zip(limited.by) {
                if given.is_some() && !allowed {
                    findings.report(
                        limited.path.clone(),
                        format!("this limit is not counted by {name}, so it can't depend on one"),
                        format!("move it to an override without match.{name}"),
                    );
                }
            }
        }
    }

    /// The limits that are set.
    fn set(&self, at: &str) -> Vec<Limited> {
        const TENANT: [bool; 3] = [false, false, false];
        const PRINCIPAL: [bool; 3] = [true, false, false];
        const TOOL: [bool; 3] = [false, true, true];
        const SERVER: [bool; 3] = [false, false, true];
        let (rates, quotas) = (&self.rates, &self.quotas);
        let concurrency = &self.concurrency;
        let all = [
            ("rates.tenant", rates.tenant.is_some(), TENANT),
            ("rates.principal", rates.principal.is_some(), PRINCIPAL),
            ("rates.tool", rates.tool.is_some(), TOOL),
            ("rates.server", rates.server.is_some(), SERVER),
            ("quotas.tenant", quotas.tenant.is_some(), TENANT),
            ("quotas.principal", quotas.principal.is_some(), PRINCIPAL),
            ("quotas.tool", quotas.tool.is_some(), TOOL),
            ("concurrency.tenant", concurrency.tenant.is_some(), TENANT),
            (
                "concurrency.principal",
                concurrency.principal.is_some(),
                PRINCIPAL,
            ),
            ("concurrency.server", concurrency.server.is_some(), SERVER),
        ];
        let set = all.into_iter().filter(|(_, is_set, _)| *is_set);
        set.map(|(name, _, by)| Limited {
            path: format!("{at}.{name}"),
            by,
        })
        .collect()
    }
}
