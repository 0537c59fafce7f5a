use std::collections::HashMap;

use mcp_ultra_config::{
    CountLimit, LimitMatch, LimitOverride, LimitsSection, RateLimit, RatesSection,
};
use mcp_ultra_domain::{Attributes, limits::Rate};

/// All limits of the configuration, ready to be asked.
pub(crate) struct Rules {
    pub address: Option<AddressRule>,
    pub rates: Rates,
    pub quotas: Quotas,
    pub concurrency: Concurrency,
}

/// The rate of an address.
pub(crate) struct AddressRule {
    pub rate: Rate,
    /// Whether it holds for programs on this machine as well.
    pub loopback: bool,
}

pub(crate) struct Rates {
    pub tenant: Choice<Rate>,
    pub principal: Choice<Rate>,
    pub tool: Choice<Rate>,
    pub server: Choice<Rate>,
}

pub(crate) struct Quotas {
    pub tenant: Choice<u32>,
    pub principal: Choice<u32>,
    pub tool: Choice<u32>,
}

pub(crate) struct Concurrency {
    pub tenant: Choice<u32>,
    pub principal: Choice<u32>,
    pub server: Choice<u32>,
}

/// Whom and what a limit is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub caller: &'a Attributes,
    /// The public name of a listed tool.
    pub tool: Option<&'a str>,
    /// The server.
    pub server: Option<&'a str>,
}

/// One limit, and those in its place for some.
pub(crate) struct Choice<L> {
    general: Option<L>,
    /// Those that name a tenant, so that any number of tenants can have their own.
    by_tenant: HashMap<String, Vec<Case<L>>>,
    any_tenant: Vec<Case<L>>,
}

struct Case<L> {
    matches: LimitMatch,
    limit: Option<L>,
}

impl Rules {
    pub(crate) fn new(limits: &LimitsSection) -> Self {
        let (rates, quotas, numbers) = (&limits.rates, &limits.quotas, &limits.concurrency);
        let rate = |general, of: fn(&LimitOverride) -> Option<RateLimit>| {
            Choice::new(general, limits, of, rate)
        };
        let count = |general, of: fn(&LimitOverride) -> Option<CountLimit>| {
            Choice::new(general, limits, of, |limit| {
                limit.count().map(std::num::NonZero::get)
            })
        };
        Self {
            address: address(limits),
            rates: Rates {
                tenant: rate(rates.tenant, |one| one.rates.tenant),
                principal: rate(rates.principal, |one| one.rates.principal),
                tool: rate(rates.tool, |one| one.rates.tool),
                server: rate(rates.server, |one| one.rates.server),
            },
            quotas: Quotas {
                tenant: count(quotas.tenant, |one| one.quotas.tenant),
                principal: count(quotas.principal, |one| one.quotas.principal),
                tool: count(quotas.tool, |one| one.quotas.tool),
            },
            concurrency: Concurrency {
                tenant: count(numbers.tenant, |one| one.concurrency.tenant),
                principal: count(numbers.principal, |one| one.concurrency.principal),
                server: count(numbers.server, |one| one.concurrency.server),
            },
        }
    }
}

fn address(limits: &LimitsSection) -> Option<AddressRule> {
    let (limit, loopback) = match limits.rates.address {
        Some(limit) => (limit, true),
        None => (RateLimit::At(RatesSection::UNSET_ADDRESS), false),
    };
    rate(limit).map(|rate| AddressRule { rate, loopback })
}

fn rate(limit: RateLimit) -> Option<Rate> {
    let rate = limit.rate()?;
    Some(Rate::new(rate.count, rate.period.get(), rate.burst))
}

impl<L: Copy> Choice<L> {
    fn new<C: Copy>(
        general: Option<C>,
        limits: &LimitsSection,
        of: fn(&LimitOverride) -> Option<C>,
        limit: fn(C) -> Option<L>,
    ) -> Self {
        let mut choice = Self {
            general: general.and_then(limit),
            by_tenant: HashMap::new(),
            any_tenant: Vec::new(),
        };
        for one in &limits.overrides {
            let Some(configured) = of(one) else { continue };
            let cases = match &one.matches.tenant {
                Some(tenant) => choice.by_tenant.entry(tenant.clone()).or_default(),
                None => &mut choice.any_tenant,
            };
            cases.push(Case {
                matches: one.matches.clone(),
                limit: limit(configured),
            });
        }
        choice
    }

    /// The limit that holds for `subject`; `None` where there is none.
    pub(crate) fn of(&self, subject: Subject<'_>) -> Option<L> {
        // Most gateways have no such limit, or one for all.
        if self.by_tenant.is_empty() && self.any_tenant.is_empty() {
            return self.general;
        }
        let by_tenant = self.by_tenant.get(&*subject.caller.tenant);
        let cases = by_tenant.into_iter().flatten().chain(&self.any_tenant);
        let mut cases = cases.filter(|case| case.holds(subject));
        cases.next().map_or(self.general, |case| case.limit)
    }
}

impl<L> Case<L> {
    fn holds(&self, subject: Subject<'_>) -> bool {
        let LimitMatch {
            // It was looked up by.
            tenant: _,
            role,
            tool,
            server,
        } = &self.matches;
        let has_role = |role: &String| subject.caller.roles.contains(role);
        role.as_ref().is_none_or(has_role)
            && server
                .as_ref()
                .is_none_or(|name| subject.server == Some(name))
            && tool
                .as_ref()
                .is_none_or(|pattern| subject.tool.is_some_and(|name| fits(pattern, name)))
    }
}

/// Whether `name` is `pattern` with any characters in the place of each `*`.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return name.ends_with(part);
        }
        let Some(at) = name.find(part) else {
            return false;
        };
        name = &name[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use mcp_ultra_domain::PrincipalKind;

    use super::*;

    fn rules(yaml: &str) -> Rules {
        let config = mcp_ultra_config::load_str(yaml, "test.yaml")
            .unwrap()
            .config;
        Rules::new(&config.limits)
    }

    fn caller(tenant: &str, roles: &[&str]) -> Attributes {
        let mut caller = Attributes::new(PrincipalKind::User, tenant, "idp", "ana");
        caller.roles = roles.iter().map(|role| (*role).to_owned()).collect();
        caller
    }

    #[test]
    fn patterns_fit_like_those_of_a_shell() {
        for (pattern, name, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("files_*", "files_read", true),
            ("files_*", "file_read", false),
            ("*_read", "files_read", true),
            ("*_read", "files_read_all", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "ac", false),
            ("a*a", "a", false),
            ("a**b", "ab", true),
            ("*é*", "xéy", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn the_one_that_names_the_tenant_counts_first_then_the_first() {
        let rules = rules(
            "limits:
  quotas: { principal: 1, tool: 1 }
  overrides:
    - { match: { role: batch }, quotas: { principal: 2 } }
    - { match: { role: admin }, quotas: { principal: off } }
    - { match: { tenant: acme }, quotas: { principal: 4 } }
    - { match: { tool: \"files_*\", server: files }, quotas: { tool: 5 } }
    - { match: { tenant: acme, tool: files_write }, quotas: { tool: off } }
",
        );
        let of = |tenant: &str, roles: &[&str]| {
            let caller = caller(tenant, roles);
            rules.quotas.principal.of(Subject {
                caller: &caller,
                tool: None,
                server: None,
            })
        };
        assert_eq!(of("other", &[]), Some(1));
        assert_eq!(of("other", &["batch", "admin"]), Some(2));
        assert_eq!(of("other", &["admin"]), None);
        assert_eq!(of("acme", &["batch"]), Some(4));
        let tool = |tenant: &str, tool, server| {
            let caller = caller(tenant, &[]);
            rules.quotas.tool.of(Subject {
                caller: &caller,
                tool,
                server: Some(server),
            })
        };
        assert_eq!(tool("other", Some("files_write"), "files"), Some(5));
        assert_eq!(tool("other", Some("files_write"), "else"), Some(1));
        assert_eq!(tool("other", None, "files"), Some(1), "not listed");
        assert_eq!(tool("acme", Some("files_write"), "files"), None);
        assert_eq!(tool("acme", Some("files_read"), "files"), Some(5));
    }

    #[test]
    fn addresses_are_limited_unless_that_is_switched_off() {
        let unset = rules("{}").address.unwrap();
        assert!(!unset.loopback);
        assert_eq!(unset.rate.count(), 1000);
        assert!(
            rules("limits: { rates: { address: off } }")
                .address
                .is_none()
        );
        let set = rules("limits: { rates: { address: 5/s } }")
            .address
            .unwrap();
        assert!(set.loopback && set.rate.count() == 5);
    }
}
