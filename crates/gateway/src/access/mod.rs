//! What policies and kill switches say of the catalog to each principal: which calls it may make, and
//! which lists it sees. The rules themselves are [`mcp_ultra_domain::policy`] and
//! [`mcp_ultra_domain::flags`]; here is what is kept of their answers, for as long as a snapshot
//! lasts.
//!
//! A [`View`] is good for all principals that the rules don't tell apart, and for one snapshot.
//! Answers that depend on time, network or arguments are found anew each time. Streams are told of
//! lists that are other ones for the time alone by [`clocked`].

mod clocked;
mod rules;
mod seen;
mod view;
mod views;

use std::{net::IpAddr, time::Duration};

use mcp_ultra_domain::{Principal, catalog::Kind, policy::Circumstances};

pub(crate) use clocked::{Watchers, follow};
pub(crate) use rules::Rules;
pub(crate) use seen::Seen;
pub(crate) use view::{Listing, View};
pub(crate) use views::Views;

use crate::{Gateway, call::Call, snapshot::Snapshot};

/// Who sees a list, and from where.
#[derive(Debug, Clone)]
pub(crate) struct Viewer {
    pub principal: Principal,
    pub address: Option<IpAddr>,
}

impl Viewer {
    /// Who made a call.
    pub(crate) fn of(call: &Call) -> Self {
        Self {
            principal: call.caller.principal.clone(),
            address: call.peer,
        }
    }

    /// The circumstances of something that has no arguments.
    pub(crate) fn circumstances(&self, gateway: &Gateway) -> Circumstances<'static> {
        self.circumstances_at(gateway.clock.now())
    }

    pub(crate) fn circumstances_at(&self, now: Duration) -> Circumstances<'static> {
        Circumstances {
            now,
            address: self.address,
            arguments: None,
        }
    }

    /// What tells the list of this viewer from another one.
    fn digest(&self, gateway: &Gateway, snapshot: &Snapshot, kind: Kind) -> u64 {
        match snapshot.view(&self.principal) {
            None => snapshot.catalog.digest(kind),
            Some(view) => view.digest(snapshot, kind, &self.circumstances(gateway)),
        }
    }
}
