//! Whether the gateway, the tenant and the principal have room for one more request.

use std::{sync::Arc, time::Duration};

use mcp_ultra_domain::{
    Principal,
    limits::{Key, Place, Scope},
};
use mcp_ultra_protocol::WireError;

use crate::{
    Gateway,
    call::Places,
    limits::{Exceeded, NoPlace, Rules, Subject},
    pipeline::Refusal,
};

/// Places for a request of `principal`. Of principal and tenant, the principal is asked first: what
/// it is refused does not count for its tenant.
pub(crate) fn call(gateway: &Gateway, principal: &Principal) -> Result<Places, Refusal> {
    let now = || gateway.clock.now();
    let place = gateway.calls.enter(principal.tenant(), now).map_err(busy)?;
    let settings = gateway.settings();
    let caller = limited(gateway, &settings.limits, principal)
        .map_err(|exceeded| gateway.refused_by_limit(exceeded))?;
    Ok(Places::new(place, caller))
}

fn limited(
    gateway: &Gateway,
    rules: &Rules,
    principal: &Principal,
) -> Result<[Option<Place>; 2], Exceeded> {
    let caller = principal.attributes();
    let subject = Subject {
        caller,
        tool: None,
        server: None,
    };
    let (own, tenant) = (Key::Principal(principal.id()), Key::Tenant(&caller.tenant));
    // Places first: what finds none has used up nothing.
    let most = &rules.concurrency;
    let places = [
        enter(gateway, &own, most.principal.of(subject))?,
        enter(gateway, &tenant, most.tenant.of(subject))?,
    ];
    let rates = [
        (own, Scope::Principal, rules.rates.principal.of(subject)),
        (tenant, Scope::Tenant, rules.rates.tenant.of(subject)),
    ];
    let mut now: Option<Duration> = None;
    for (key, scope, rate) in rates {
        let Some(rate) = rate else { continue };
        let now = *now.get_or_insert_with(|| gateway.clock.now());
        let counted = gateway.limits.rate(&key, &rate, now);
        counted.map_err(|wait| Exceeded::rate(scope, &rate, wait))?;
    }
    Ok(places)
}

/// A place among `most`, where there is a limit.
pub(super) fn enter(
    gateway: &Gateway,
    key: &Key<'_>,
    most: Option<u32>,
) -> Result<Option<Place>, Exceeded> {
    let Some(most) = most else { return Ok(None) };
    match gateway.limits.enter(key, most) {
        Some(id) => Ok(Some(Place::new(Arc::clone(&gateway.limits), id))),
        None => Err(Exceeded::concurrency(key.scope(), most)),
    }
}

fn busy(why: NoPlace) -> Refusal {
    let message = match why {
        NoPlace::Full => "the gateway is at its limit of calls (limits.calls); try again",
        NoPlace::Share => {
            "the gateway is near its limit of calls (limits.calls), and this tenant has its share; try again"
        }
    };
    Refusal::with_status(WireError::internal(message), 503)
}
