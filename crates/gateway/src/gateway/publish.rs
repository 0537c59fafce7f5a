//! What the gateway takes over from keepers and configurations, and whom it tells of it.

use std::{collections::BTreeSet, sync::Arc};

use bytestring::ByteString;
use mcp_ultra_domain::catalog::{Kind, Offer};
use mcp_ultra_protocol::{Era, Notification, json::Object};

use crate::{
    access::Rules, catalog::Unread, connect::Link, era, listen::Change, session::Live,
    upstream::Upstream,
};

use super::Gateway;

impl Gateway {
    /// Upstreams, policies and flags change together: nobody sees those of one configuration with those of
    /// another.
    pub(super) fn set(&self, upstreams: Vec<Arc<Upstream>>, rules: Rules) {
        let page_size = self.settings().page_size;
        let published = self.board.set(upstreams, page_size, rules, &self.snapshot);
        if published.other_rules {
            self.failed_policies.lock().clear();
            self.failed_flags.lock().clear();
        }
        // Each stream finds out whether its own list is another one now.
        let told: &[Kind] = if published.other_rules {
            &Kind::ALL
        } else {
            &[]
        };
        self.announce(&published.changed, told);
    }

    /// Takes over what a keeper has found out; lists in `told` are announced in any case.
    pub(crate) fn publish(
        &self,
        upstream: &Arc<Upstream>,
        found: Result<Offer, Unread>,
        told: &[Kind],
    ) {
        self.metrics.upstream_up(upstream.name(), found.is_ok());
        if let Ok(offer) = &found {
            upstream.declares(&offer.capabilities);
        }
        if let Some(published) = self.board.report(upstream, found, &self.snapshot) {
            for kind in Kind::ALL {
                if published.changed.contains(&(kind as usize)) {
                    self.list_outdated_here(upstream.name(), kind);
                }
            }
            self.announce(&published.changed, told);
        }
        if self.board.is_settled() {
            self.warm.send_replace(true);
        }
    }

    /// Takes over what another gateway has read of an upstream. Whether that answers is not known.
    pub(crate) fn publish_kept(&self, upstream: &Arc<Upstream>, offer: Offer) {
        self.publish_again(upstream, offer);
        if self.board.is_offered() {
            self.warm.send_replace(true);
        }
    }

    /// Takes over that another part of what an upstream has is offered.
    pub(crate) fn publish_again(&self, upstream: &Arc<Upstream>, offer: Offer) {
        upstream.declares(&offer.capabilities);
        if let Some(published) = self.board.offer(upstream, offer, &self.snapshot) {
            self.announce(&published.changed, &[]);
        }
    }

    /// Tools were approved: what is offered is found anew.
    pub fn pins_changed(&self) {
        self.keepers.judge_again();
    }

    fn announce(&self, changed: &BTreeSet<usize>, told: &[Kind]) {
        for kind in Kind::ALL {
            if changed.contains(&(kind as usize)) || told.contains(&kind) {
                // Nobody may be listening.
                drop(self.changes.send(Change::List(kind)));
            }
        }
    }

    /// Tells streams that what they watch with servers may be watched with others now.
    pub(crate) fn servers_changed(&self) {
        drop(self.changes.send(Change::Servers));
    }

    /// Tells the streams of one principal, or of everyone, that a resource was updated.
    pub(crate) fn announce_update(&self, principal: Option<Arc<str>>, update: &Notification) {
        let uri = update
            .params
            .as_deref()
            .and_then(|params| Object::parse(params).ok())
            .and_then(|params| {
                params
                    .get_str("uri")
                    .map(|uri| ByteString::from(uri.into_owned()))
            });
        if let Some(uri) = uri {
            drop(self.changes.send(Change::Resource { principal, uri }));
        }
    }

    /// Passes a notification of a client on to the upstream sessions of its session.
    pub(crate) fn tell_upstreams(&self, session: &Live, notification: &Notification) {
        let holder = session.holder();
        for upstream in &self.snapshot().upstreams {
            let Some(open) = upstream.open_session(&holder) else {
                continue;
            };
            // A session that all callers share is nobody's to speak for.
            if upstream.settings().shared || open.era() == Era::Modern {
                continue;
            }
            // It counts as a call: a client must not have any number of them under way.
            let now = || self.clock.now();
            let Ok(place) = self.calls.enter(session.principal.tenant(), now) else {
                return;
            };
            let notification = notification.clone();
            tokio::spawn(async move {
                if let Err(error) = open.notify(notification).await {
                    tracing::debug!(%error, "an upstream was not told of changed roots");
                }
                drop(place);
            });
        }
    }

    /// Tells the client of a session that its person has connected a server.
    pub(crate) fn tell_connected(&self, link: &Link) {
        let session = link.session.as_ref().and_then(|id| self.sessions.get(id));
        if let Some(session) = session.filter(|session| link.is_of(&session.principal)) {
            // A client without a stream asks again by itself.
            session.push(era::connect::complete(&link.id).text);
        }
    }
}
