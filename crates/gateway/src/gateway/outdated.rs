//! What marks answers that are kept as outdated.

use std::{collections::HashSet, sync::Arc, time::Duration};

use mcp_ultra_domain::{
    Announcement, Principal,
    cache::{self, Kind, Outdated, Tag},
    catalog,
};
use mcp_ultra_protocol::{Notification, json::Object};

use tokio_util::sync::CancellationToken;

use super::Gateway;
use crate::{
    cache::{Others, Shared, Told},
    upstream::Upstream,
};

/// How long it is waited before what could not be told the store is told again.
const AGAIN: Duration = Duration::from_millis(500);
/// How long it is waited before more is told, so that many changes in a row are told together.
const PAUSE: Duration = Duration::from_millis(50);

impl Gateway {
    /// Where gateways keep answers and lists for each other, if they do.
    pub(crate) fn shared_cache(&self) -> Option<Arc<Shared>> {
        let shared = self.cache.shared.as_ref();
        shared.filter(|_| self.settings().cache.shared).cloned()
    }

    /// A server says that a list has changed: what it answers of that may be another thing now.
    pub(crate) fn list_outdated(&self, server: &Arc<str>, list: catalog::Kind) {
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

    /// Somebody may have changed something at a server: what they could see that by is outdated.
    pub(crate) fn written(&self, server: &Arc<str>, principal: &Principal) {
        let what = Outdated::Written {
            subject: cache::bucket(principal.id()),
            tenant: cache::bucket(principal.tenant()),
        };
        self.outdate(server, what);
    }

    /// A server tells somebody of their task, which may have changed something since they asked for it.
    pub(crate) fn task_changed(&self, server: &Arc<str>, principal: &Principal) {
        let settings = self.settings();
        let freshness = settings.cache.of(server);
        if freshness.is_some_and(|freshness| freshness.writes_outdate) {
            self.written(server, principal);
        }
    }

    /// Answers of a server are outdated, here and at all other gateways, unless nothing of it is kept.
    pub(crate) fn outdate(&self, server: &Arc<str>, what: Outdated) {
        if self.settings().cache.of(server).is_some() {
            self.outdate_in_any_case(server, what);
        }
    }

    /// The same for what may have been kept before, too.
    pub(super) fn outdate_in_any_case(&self, server: &Arc<str>, what: Outdated) {
        self.outdate_here(server, what);
        if let Some(others) = &self.cache.others {
            others.note(server, what);
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
/// gone. What the store can't be told is told it again; gateways are told at once all the same, and again
/// when it knows, since they may have taken from there what is outdated.
pub(super) fn tell(gateway: &Arc<Gateway>, stop: &CancellationToken) {
    let Some(others) = gateway.cache.others.clone() else {
        return;
    };
    let shared = gateway.cache.shared.clone();
    let gateway = Arc::downgrade(gateway);
    let task = async move {
        loop {
            others.noted().await;
            loop {
                let (announce, all) = tell_store(&others, shared.as_deref()).await;
                let Some(gateway) = gateway.upgrade() else {
                    return;
                };
                for (server, what) in announce {
                    gateway.announce_outdated(&server, what);
                }
                drop(gateway);
                tokio::time::sleep(if all { PAUSE } else { AGAIN }).await;
                if all {
                    break;
                }
            }
        }
    };
    tokio::spawn(stop.clone().run_until_cancelled_owned(task));
}

/// Tells the store, if there is one. What gateways are to be told now, and whether the store knows all.
async fn tell_store(others: &Others, shared: Option<&Shared>) -> (Vec<Told>, bool) {
    let news = others.news();
    let mut away = HashSet::new();
    if let Some(shared) = shared {
        for (server, what) in news.by_server() {
            if !shared.outdate(&server, &what).await {
                away.insert(server);
            }
        }
    }
    others.told(news, |server| !away.contains(server))
}
