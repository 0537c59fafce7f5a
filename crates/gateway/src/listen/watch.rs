//! What is watched with upstreams for one stream of a modern client: subscriptions with legacy
//! ones, streams of modern ones.

use std::{collections::HashMap, sync::Arc};

use futures_util::{StreamExt, stream};
use mcp_ultra_domain::cache::{self, Outdated, Tag};
use mcp_ultra_protocol::{Id, Notification, json::Object, meta, names::Naming};

use super::{Feed, Heard, UPDATED, legacy::watched as watched_by, stream::updated};
use crate::{
    Gateway,
    access::Viewer,
    call::Routed,
    pipeline::Refusal,
    stages::authorize,
    upstream::{Behalf, Upstream},
};

/// The notification that tells of a task.
const TASK: &str = "notifications/tasks";

/// How many requests one stream has in flight with one upstream for what it watches there.
pub(super) const AT_ONCE: usize = 4;

/// What is watched upstream for one stream.
#[derive(Default)]
pub(super) struct Watched {
    /// The public URIs that upstreams agreed to.
    pub agreed: Vec<String>,
    /// The sealed ids of tasks that upstreams agreed to.
    pub tasks: Vec<String>,
    /// Streams of modern upstreams.
    pub feeds: Vec<Watch>,
    /// Subscriptions with legacy upstreams.
    pub subscribed: Vec<Subscription>,
    /// The limit that some of it was left out by.
    pub over: Option<Refusal>,
}

impl Watched {
    /// The upstreams that it is watched with, each once.
    pub(super) fn upstreams(&self) -> Vec<Arc<Upstream>> {
        let feeds = self.feeds.iter().map(|watch| watch.feed.upstream());
        let routed = self.subscribed.iter().filter_map(|one| one.routed.as_ref());
        let all = feeds.chain(routed.map(|routed| &routed.upstream));
        let mut upstreams: Vec<Arc<Upstream>> = Vec::new();
        for upstream in all {
            if !upstreams.iter().any(|known| Arc::ptr_eq(known, upstream)) {
                upstreams.push(upstream.clone());
            }
        }
        upstreams
    }

    /// Adds what is watched with another upstream.
    pub(super) fn add(&mut self, other: Self) {
        self.agreed.extend(other.agreed);
        self.tasks.extend(other.tasks);
        self.feeds.extend(other.feeds);
        self.subscribed.extend(other.subscribed);
        self.over = self.over.take().or(other.over);
    }
}

/// A stream of a modern upstream, and the names that its client knows things by.
pub(super) struct Watch {
    pub feed: Feed<Behalf>,
    pub naming: Naming,
    /// The public URIs of the resources that the upstream agreed to.
    pub resources: Vec<String>,
    /// The upstream's ids of tasks and the sealed ones that the client knows them by.
    pub tasks: HashMap<String, String>,
}

impl Watch {
    /// What the stream `id` tells of what was heard: nothing of what its viewer may not hear of any
    /// more.
    pub(super) fn public(
        &self,
        gateway: &Gateway,
        viewer: &Viewer,
        id: &Id,
        heard: &Heard,
    ) -> Vec<Notification> {
        match heard {
            Heard::Notification(update) => {
                let upstream = self.feed.upstream();
                match &*update.method {
                    UPDATED => gateway.resource_outdated(upstream, update),
                    TASK => gateway.task_changed(upstream.name(), &viewer.principal),
                    _ => {}
                }
                let told = self.public_update(gateway, viewer, id, update);
                told.into_iter().collect()
            }
            // Each of them may be another one by now. Clients poll tasks, so nothing is lost there.
            Heard::Again => {
                let any = Outdated::Tagged(Tag::Kind(cache::Kind::Resource));
                gateway.outdate(self.feed.upstream().name(), any);
                self.resources
                    .iter()
                    .filter(|uri| authorize::hears_of_resource(gateway, viewer, uri))
                    .map(|uri| updated(id, uri))
                    .collect()
            }
        }
    }

    fn public_update(
        &self,
        gateway: &Gateway,
        viewer: &Viewer,
        id: &Id,
        update: &Notification,
    ) -> Option<Notification> {
        let params = Object::parse(update.params.as_deref()?).ok()?;
        match &*update.method {
            UPDATED => {
                let uri = params.get_str("uri")?;
                let uri = self.naming.public_uri(&uri);
                authorize::hears_of_resource(gateway, viewer, &uri).then(|| updated(id, &uri))
            }
            TASK => {
                let sealed = self.tasks.get(&*params.get_str("taskId")?)?;
                if !authorize::hears_of_task(gateway, viewer, sealed) {
                    return None;
                }
                let task = crate::era::public_task_result(&self.naming, update.params.as_deref()?);
                let params = match &task {
                    Some(task) => Object::parse(task).ok()?,
                    None => params,
                };
                let meta = Object::parse(params.get("_meta").unwrap_or("{}")).ok()?;
                let meta = meta.edit().set(meta::SUBSCRIPTION_ID, id.as_raw()).finish();
                let params = params.edit().set_str("taskId", sealed).set("_meta", meta);
                Some(update.with_params(params.finish()))
            }
            _ => None,
        }
    }
}

/// What a stream hears next, with the stream.
pub(super) async fn next_of(mut watch: Watch) -> (Watch, Heard) {
    let heard = watch.feed.next().await;
    (watch, heard)
}

/// A subscription with a legacy upstream, for one stream. It ends with this.
pub(super) struct Subscription {
    gateway: Arc<Gateway>,
    /// `None` once it has been ended.
    routed: Option<Box<Routed>>,
}

impl Subscription {
    pub(super) fn new(gateway: Arc<Gateway>, routed: Box<Routed>) -> Self {
        Self {
            gateway,
            routed: Some(routed),
        }
    }

    async fn end(mut self) {
        if let Some(routed) = self.routed.take() {
            unsubscribe(&self.gateway, &routed).await;
        }
    }
}

impl Drop for Subscription {
    /// Of one that nobody has ended: its stream was gone before it was open.
    fn drop(&mut self) {
        let Some(routed) = self.routed.take() else {
            return;
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let gateway = self.gateway.clone();
            runtime.spawn(async move { unsubscribe(&gateway, &routed).await });
        }
    }
}

/// Ends all of them.
pub(super) async fn end(subscribed: Vec<Subscription>) {
    stream::iter(subscribed)
        .for_each_concurrent(AT_ONCE, Subscription::end)
        .await;
}

/// Ends a subscription with a legacy upstream, unless another stream of this principal has it too.
async fn unsubscribe(gateway: &Arc<Gateway>, routed: &Routed) {
    tracing::trace!(
        uri = &*routed.original,
        "a resource is not watched any more"
    );
    if let Err(error) = watched_by(gateway, routed, false).await {
        tracing::debug!(upstream = %routed.upstream.name(), %error, "a subscription could not be ended");
    }
}
