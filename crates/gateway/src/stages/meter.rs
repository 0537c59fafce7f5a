//! Limits of tools and servers, and the quotas of the day.

use std::time::Duration;

use mcp_ultra_domain::limits::{Key, Place};
use mcp_ultra_protocol::Method;

use super::{admit::enter, authorize::Permitted};
use crate::{
    Gateway,
    call::Routed,
    limits::{Exceeded, Rules, Subject},
    pipeline::Refusal,
};

/// Counts a call that is about to be forwarded; the place among those to its server, where they are
/// limited.
pub(crate) fn call(
    gateway: &Gateway,
    call: &Permitted<Box<Routed>>,
) -> Result<Option<Place>, Refusal> {
    // What can be given back is counted last, so that what is refused by a rate is of no quota.
    let place = places(gateway, call.get(), 1)?.pop().flatten();
    count(gateway, call.get())?;
    Ok(place)
}

/// Counts a request that is about to be forwarded and has a place already.
pub(crate) fn count(gateway: &Gateway, routed: &Routed) -> Result<(), Refusal> {
    let settings = gateway.settings();
    let counted = Metered::new(gateway, &settings.limits, routed).count();
    counted.map_err(|exceeded| gateway.refused_by_limit(exceeded))
}

/// Places for several requests to a server at a time: at least one, and `most` where there are so
/// many.
pub(crate) fn places(
    gateway: &Gateway,
    routed: &Routed,
    most: usize,
) -> Result<Vec<Option<Place>>, Refusal> {
    let settings = gateway.settings();
    let metered = Metered::new(gateway, &settings.limits, routed);
    let first = metered.enter();
    let first = first.map_err(|exceeded| gateway.refused_by_limit(exceeded))?;
    let others = (1..most).map_while(|_| metered.enter().ok());
    Ok([first].into_iter().chain(others).collect())
}

/// One call and what is counted for it.
struct Metered<'c> {
    gateway: &'c Gateway,
    rules: &'c Rules,
    subject: Subject<'c>,
    principal: Key<'c>,
    tenant: Key<'c>,
    server: Key<'c>,
    /// For calls of tools.
    tool: Option<Key<'c>>,
}

impl<'c> Metered<'c> {
    fn new(gateway: &'c Gateway, rules: &'c Rules, routed: &'c Routed) -> Self {
        let principal = &routed.call.caller.principal;
        let caller = principal.attributes();
        let (tenant, server) = (&*caller.tenant, &**routed.upstream.name());
        let is_tool = routed.call.method == Method::ToolsCall;
        let listed = routed.item.as_ref().filter(|_| is_tool);
        Self {
            gateway,
            rules,
            subject: Subject {
                caller,
                tool: listed.map(|item| &*item.public),
                server: Some(server),
            },
            principal: Key::Principal(principal.id()),
            tenant: Key::Tenant(tenant),
            server: Key::Server { tenant, server },
            tool: is_tool.then(|| Key::Tool {
                tenant,
                server,
                tool: listed.map(|item| &*item.original),
            }),
        }
    }

    fn enter(&self) -> Result<Option<Place>, Exceeded> {
        let most = self.rules.concurrency.server.of(self.subject);
        enter(self.gateway, &self.server, most)
    }

    /// Quotas last: what a rate refuses is of none.
    fn count(&self) -> Result<(), Exceeded> {
        let Self { rules, subject, .. } = *self;
        let mut now: Option<Duration> = None;
        let mut now = || *now.get_or_insert_with(|| self.gateway.clock.now());
        let of_tool = self.tool.and_then(|_| rules.rates.tool.of(subject));
        let rates = [
            (self.tool, of_tool),
            (Some(self.server), rules.rates.server.of(subject)),
        ];
        for (key, rate) in rates {
            let (Some(key), Some(rate)) = (key, rate) else {
                continue;
            };
            let counted = self.gateway.limits.rate(&key, &rate, now());
            counted.map_err(|wait| Exceeded::rate(key.scope(), &rate, wait))?;
        }
        let of_tool = self.tool.and_then(|_| rules.quotas.tool.of(subject));
        let quotas = [
            (self.tool, of_tool),
            (Some(self.principal), rules.quotas.principal.of(subject)),
            (Some(self.tenant), rules.quotas.tenant.of(subject)),
        ];
        for (index, (key, most)) in quotas.iter().enumerate() {
            let (Some(key), Some(most)) = (key, *most) else {
                continue;
            };
            let Err(wait) = self.gateway.limits.quota(key, most, now()) else {
                continue;
            };
            for (counted, limit) in &quotas[..index] {
                if let (Some(counted), Some(_)) = (counted, limit) {
                    self.gateway.limits.give_back(counted, now());
                }
            }
            return Err(Exceeded::quota(key.scope(), most, wait));
        }
        Ok(())
    }
}
