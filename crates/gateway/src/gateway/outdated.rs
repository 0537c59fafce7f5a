//! What marks answers that are kept as outdated.

use std::sync::Arc;

use mcp_ultra_domain::{
    Announcement,
    cache::{self, Kind, Outdated, Tag},
    catalog,
};
use mcp_ultra_protocol::{Notification, json::Object};

use tokio_util::sync::CancellationToken;

use super::Gateway;
use crate::{
    cache::{AGAIN, Shared},
    upstream::Upstream,
};

impl Gateway {
    /// Where gateways keep answers and lists for each other, if they do.
    pub(crate) fn shared_cache(&self) -> Option<Arc<Shared>> {
        let shared = self.cache.shared.as_ref();
        shared.filter(|_| self.settings().cache.shared).cloned()
    }

    /// A server says that a list has changed: what it answers of that may be another thing now.
    pub(crate) fn list_outdated(&self, server: &str, list: catalog::Kind) {
        for what in of_list(list) {
            self.outdate(server, what);
        }
    }

    /// A list of a server was found to be another one, as all gateways find out.
    pub(super) fn list_outdated_here(&self, server: &str, list: catalog::Kind) {
        for what in of_list(list) {
            self.outdate_here(server, what);
        }
    }

    /// A server says that a resource was updated; the notification has its own URI.
    pub(crate) fn resource_outdated(&self, upstream: &Upstream, update: &Notification) {
        let params = update.params.as_deref().unwrap_or("{}");
        let uri = Object::parse(params)
            .ok()
            .and_then(|params| params.get_str("uri").map(|uri| cache::bucket(&uri)));
        // Without one, any may be meant.
        let what = uri.map_or(Tag::Kind(Kind::Resource), Tag::Resource);
        self.outdate(upstream.name(), Outdated::Tagged(what));
    }

    /// Nothing is left of what was answered to a principal, by its id, or is about a person.
    pub fn forget_subject(&self, subject: &str) {
        let what = Outdated::Tagged(Tag::Subject(cache::bucket(subject)));
        for upstream in &self.snapshot().upstreams {
            self.outdate(upstream.name(), what);
        }
    }

    /// Answers of a server are outdated, here and at all other gateways.
    pub(crate) fn outdate(&self, server: &str, what: Outdated) {
        self.outdate_here(server, what);
        if self.settings().cache.of(server).is_none() {
            return;
        }
        match &self.cache.shared {
            // Others are told once nothing can be found there any more.
            Some(shared) => shared.outdate(&server.into(), what),
            None => self.announce_outdated(server, what),
        }
    }

    /// Answers of a server are outdated; the others find it out themselves.
    pub(crate) fn outdate_here(&self, server: &str, what: Outdated) {
        self.cache.outdate(server, what);
    }

    fn announce_outdated(&self, server: &str, what: Outdated) {
        self.announcements.announce(Announcement::AnswersOutdated {
            server: server.to_owned(),
            what: what.to_string(),
        });
    }

    /// Another gateway says that answers of a server are outdated.
    pub(super) fn heard_of_outdated(&self, server: &str, what: &str) {
        // What a later version says may be anything.
        let what = Outdated::parse(what).unwrap_or(Outdated::All);
        if self.snapshot().upstream(server).is_some() {
            self.outdate_here(server, what);
        }
    }
}

fn of_list(list: catalog::Kind) -> impl Iterator<Item = Outdated> {
    let kinds = Kind::ALL.into_iter();
    let kinds = kinds.filter(move |kind| kind.is_of_list(list));
    kinds.map(|kind| Outdated::Tagged(Tag::Kind(kind)))
}

/// Tells the store that gateways share what is outdated, and then the gateways, until the gateway is
/// gone. What the store can't be told is told it again; gateways are told at once all the same.
pub(super) fn tell(gateway: &Arc<Gateway>, stop: &CancellationToken) {
    let Some(shared) = gateway.cache.shared.clone() else {
        return;
    };
    let gateway = Arc::downgrade(gateway);
    let task = async move {
        loop {
            shared.told.notified().await;
            loop {
                let untold = shared.untold();
                let all = shared.tell().await;
                let Some(gateway) = gateway.upgrade() else {
                    return;
                };
                for (server, what) in untold {
                    gateway.announce_outdated(&server, what);
                }
                drop(gateway);
                if all {
                    break;
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
    };
    tokio::spawn(stop.clone().run_until_cancelled_owned(task));
}
