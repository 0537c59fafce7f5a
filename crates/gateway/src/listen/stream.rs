//! `subscriptions/listen` of modern clients (2026-07-28, Subscriptions).

use std::{pin::pin, sync::Arc};

use futures_util::{StreamExt, stream::FuturesUnordered};
use mcp_ultra_domain::catalog::{Kind, State};
use mcp_ultra_protocol::{Id, Notification, WireError, json, meta};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio_util::sync::CancellationToken;

use super::{
    Change, UPDATED,
    filter::Filter,
    list_changed,
    opening::{Patience, watch},
    watch::{Subscription, Watch, Watched, end, next_of},
};
use crate::{
    Gateway,
    access::{Seen, Viewer},
    call::Call,
    http::StreamSlot,
    pipeline::refuse,
    reply::Reply,
    session::OpenStream,
    snapshot::Snapshot,
    stages::{authorize, route},
    upstream::Upstream,
};

/// Opens the stream. It is kept in a task of its own, which holds only what a stream needs: a
/// gateway has many, and they are quiet most of the time.
pub(crate) async fn open(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    call: Box<Call>,
    reply: Reply,
) {
    let asked = match Filter::parse(call.request.params.as_deref()) {
        Ok(asked) => asked,
        Err(error) => return reply.error(&error).await,
    };
    if !asked.tasks.is_empty() && !call.caller.declares("tasks") {
        let error = WireError::missing_capability(route::TASKS_CAPABILITY);
        return reply.error(&error).await;
    }
    let limit = gateway.settings().max_streams_per_client;
    let Some(slot) = gateway.streams.enter(call.peer, limit) else {
        let error =
            WireError::internal("too many streams are open for this client; close one first");
        return reply.error_with_status(&error, 429).await;
    };
    // Before anything is opened upstream, so that no change is missed in between.
    let changes = gateway.changes.subscribe();
    let viewer = Viewer::of(&call);
    let capabilities = &snapshot.capabilities;
    let lists = asked
        .lists
        .into_iter()
        .filter(|kind| capabilities.lists(*kind))
        .collect();
    let watched = watched(
        gateway,
        snapshot,
        &call,
        &reply,
        &asked.resources,
        &asked.tasks,
    )
    .await;
    // Where nothing could be asked for because it is too much, the answer is as for any call.
    if watched.agreed.is_empty()
        && watched.tasks.is_empty()
        && let Some(refusal) = watched.over
    {
        return refuse(reply, refusal).await;
    }
    let mut listener = Listener {
        gateway: gateway.clone(),
        upstreams: watched.upstreams(),
        agreed: Filter {
            lists,
            resources: watched.agreed,
            tasks: watched.tasks,
        },
        subscribed: watched.subscribed,
        id: call.request.id.detached(),
        seen: Seen::new(gateway, viewer.clone()),
        viewer,
        changes,
        reply: reply.detached(),
        _slot: slot,
    };
    let open = gateway
        .open_streams
        .enter(&listener.viewer.principal, gateway.clock.now());
    let acknowledged = tagged(
        "notifications/subscriptions/acknowledged",
        &listener.id,
        &format!("\"notifications\":{}", listener.agreed.to_json()),
    );
    if listener.reply.message(acknowledged.text).await {
        tokio::spawn(listener.keep(watched.feeds, open));
    } else {
        listener.leave().await;
    }
}

/// What is watched upstream for the stream. Where the client goes before all of it is open, the
/// rest is left.
async fn watched(
    gateway: &Arc<Gateway>,
    snapshot: &Snapshot,
    call: &Call,
    reply: &Reply,
    uris: &[String],
    tasks: &[String],
) -> Watched {
    let gone = CancellationToken::new();
    let patience = Patience::until(gone.clone());
    let mut opening = pin!(watch(gateway, snapshot, call, uris, tasks, &patience));
    tokio::select! {
        watched = &mut opening => return watched,
        () = reply.gone() => gone.cancel(),
    }
    opening.await
}

/// One open stream.
struct Listener {
    gateway: Arc<Gateway>,
    /// What it watches upstream it watches with these.
    upstreams: Vec<Arc<Upstream>>,
    agreed: Filter,
    /// Subscriptions with legacy upstreams, to be ended with the stream.
    subscribed: Vec<Subscription>,
    id: Id,
    viewer: Viewer,
    /// The lists as it was told of them last.
    seen: Seen,
    changes: Receiver<Change>,
    reply: Reply,
    _slot: StreamSlot,
}

impl Listener {
    /// Keeps the stream until the client goes, an administrator ends it, the gateway drains or a server
    /// that it watches something with is gone, or configured anew: the client then opens another one.
    async fn keep(mut self, feeds: Vec<Watch>, open: OpenStream) {
        let kept = async {
            if self.is_outdated() {
                // Since the call was routed.
            } else if feeds.is_empty() {
                self.keep_lists().await;
            } else {
                Box::pin(self.keep_all(feeds)).await;
            }
        };
        tokio::select! {
            () = kept => {}
            () = open.ended() => {}
        }
        self.leave().await;
        if self.gateway.is_draining() || self.is_outdated() {
            let closing = closing(&self.id);
            self.reply.result(&closing).await;
        }
    }

    /// Whether one of the servers is gone, or has been configured anew and can be watched as it is now.
    fn is_outdated(&self) -> bool {
        let snapshot = self.gateway.snapshot();
        let sources = snapshot.catalog.sources();
        self.upstreams.iter().any(|own| {
            let mut all = snapshot.upstreams.iter().zip(sources);
            let now = all.find(|(upstream, _)| upstream.name() == own.name());
            now.is_none_or(|(upstream, source)| {
                !Arc::ptr_eq(upstream, own) && source.state == State::Ready
            })
        })
    }

    /// Ends what is subscribed to for the stream alone.
    async fn leave(&mut self) {
        let subscribed = std::mem::take(&mut self.subscribed);
        if !subscribed.is_empty() {
            Box::pin(end(subscribed)).await;
        }
    }

    /// Tells of what the gateway itself knows: nothing is read from upstreams for this stream.
    async fn keep_lists(&mut self) {
        loop {
            let change = tokio::select! {
                () = self.reply.gone() => return,
                () = self.gateway.draining() => return,
                change = self.changes.recv() => change,
                kinds = self.seen.changed_with_time() => {
                    if self.tell_of_lists(&kinds).await { continue }
                    return;
                }
            };
            if !self.tell(change).await {
                return;
            }
        }
    }

    /// As [`Listener::keep_lists`], and of what the streams of modern upstreams tell.
    async fn keep_all(&mut self, feeds: Vec<Watch>) {
        let mut feeds: FuturesUnordered<_> = feeds.into_iter().map(next_of).collect();
        loop {
            let change = tokio::select! {
                () = self.reply.gone() => return,
                () = self.gateway.draining() => return,
                change = self.changes.recv() => change,
                kinds = self.seen.changed_with_time() => {
                    if self.tell_of_lists(&kinds).await { continue }
                    return;
                }
                Some((watch, heard)) = feeds.next(), if !feeds.is_empty() => {
                    let told = watch.public(&self.gateway, &self.viewer, &self.id, &heard);
                    feeds.push(next_of(watch));
                    for notification in told {
                        if !self.reply.message(notification.text).await {
                            return;
                        }
                    }
                    continue;
                }
            };
            if !self.tell(change).await {
                return;
            }
        }
    }

    /// Tells the client of those of the lists that it wants to hear of; `false` where it is gone.
    async fn tell_of_lists(&self, kinds: &[Kind]) -> bool {
        for kind in kinds.iter().filter(|kind| self.agreed.wants(**kind)) {
            let notification = tagged(list_changed(*kind), &self.id, "");
            if !self.reply.message(notification.text).await {
                return false;
            }
        }
        true
    }

    /// Tells the client of a change that it wants to hear of; `false` where it is gone.
    async fn tell(&mut self, change: Result<Change, RecvError>) -> bool {
        let notification = match change {
            Ok(Change::List(kind))
                if self.agreed.wants(kind) && self.seen.differs(&self.gateway, kind) =>
            {
                tagged(list_changed(kind), &self.id, "")
            }
            Ok(Change::Resource { principal, uri })
                if principal
                    .as_ref()
                    .is_none_or(|of| **of == *self.viewer.principal.id())
                    && self.agreed.resources.iter().any(|known| *known == *uri)
                    && authorize::hears_of_resource(&self.gateway, &self.viewer, &uri) =>
            {
                updated(&self.id, &uri)
            }
            Ok(Change::Servers) => return !self.is_outdated(),
            Ok(_) => return true,
            // Some were missed: everything may have changed.
            Err(RecvError::Lagged(_)) => {
                if self.is_outdated() {
                    return false;
                }
                self.seen.refresh(&self.gateway);
                for kind in &self.agreed.lists {
                    self.reply
                        .message(tagged(list_changed(*kind), &self.id, "").text)
                        .await;
                }
                for uri in &self.agreed.resources {
                    if authorize::hears_of_resource(&self.gateway, &self.viewer, uri) {
                        self.reply.message(updated(&self.id, uri).text).await;
                    }
                }
                return true;
            }
            Err(RecvError::Closed) => return false,
        };
        self.reply.message(notification.text).await
    }
}

/// A notification of the subscription `id`; `members` is the text of further members of `params`.
fn tagged(method: &str, id: &Id, members: &str) -> Notification {
    let comma = if members.is_empty() { "" } else { "," };
    let params = format!(
        "{{\"_meta\":{{\"{}\":{id}}}{comma}{members}}}",
        meta::SUBSCRIPTION_ID
    );
    Notification::new(method, Some(&params))
}

/// `notifications/resources/updated` of the subscription `id`.
pub(super) fn updated(id: &Id, uri: &str) -> Notification {
    tagged(UPDATED, id, &format!("\"uri\":{}", json::quote(uri)))
}

/// The result of a stream that the gateway ends (2026-07-28, Subscriptions, Graceful Closure).
fn closing(id: &Id) -> String {
    format!(
        "{{\"resultType\":\"complete\",\"_meta\":{{\"{}\":{id}}}}}",
        meta::SUBSCRIPTION_ID
    )
}
