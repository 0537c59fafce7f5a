//! What policy says of the catalog to each principal: which calls it may make, and which lists it
//! sees. The rules themselves are [`mcp_ultra_domain::policy`]; here is what is kept of their
//! answers, for as long as a snapshot lasts.
//!
//! A [`View`] is good for all principals that the policies don't tell apart, and for one snapshot.
//! Answers that depend on time, network or arguments are found anew each time.

mod view;
mod views;

use std::net::IpAddr;

use mcp_ultra_domain::{Principal, catalog::Kind, policy::Circumstances};

pub(crate) use view::{Listing, View};
pub(crate) use views::Views;

use crate::{Gateway, snapshot::Snapshot};

/// Who sees a list, and from where.
#[derive(Debug, Clone)]
pub(crate) struct Viewer {
    pub principal: Principal,
    pub address: Option<IpAddr>,
}

impl Viewer {
    /// The circumstances of something that has no arguments.
    pub(crate) fn circumstances(&self, gateway: &Gateway) -> Circumstances<'static> {
        Circumstances {
            now: gateway.clock.now(),
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

/// The lists as one viewer saw them last, to tell it of those that changed and of no others.
#[derive(Debug)]
pub(crate) struct Seen {
    viewer: Viewer,
    governed: bool,
    digests: [u64; Kind::ALL.len()],
}

impl Seen {
    pub(crate) fn new(gateway: &Gateway, viewer: Viewer) -> Self {
        let snapshot = gateway.snapshot();
        Self {
            governed: snapshot.policies.is_some(),
            digests: Kind::ALL.map(|kind| viewer.digest(gateway, &snapshot, kind)),
            viewer,
        }
    }

    /// Whether the viewer is to be told that a list has changed. Without a policy every change is
    /// told of; with one, only what differs for this viewer.
    pub(crate) fn differs(&mut self, gateway: &Gateway, kind: Kind) -> bool {
        let snapshot = gateway.snapshot();
        let governed = snapshot.policies.is_some();
        let now = self.viewer.digest(gateway, &snapshot, kind);
        let before = std::mem::replace(&mut self.digests[kind as usize], now);
        let was_governed = std::mem::replace(&mut self.governed, governed);
        now != before || !(governed || was_governed)
    }

    /// As if all lists were seen now.
    pub(crate) fn refresh(&mut self, gateway: &Gateway) {
        *self = Self::new(gateway, self.viewer.clone());
    }
}
