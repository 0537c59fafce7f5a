//! `subscriptions/listen` of modern clients (2026-07-28, Subscriptions).

use std::sync::Arc;

use futures_util::{StreamExt, stream::FuturesUnordered};
use mcp_ultra_domain::catalog::Kind;
use mcp_ultra_protocol::{
    Era, Id, Method, Notification, Outcome, Request, WireError,
    json::{self, Object},
    meta,
};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{Change, Feed, list_changed};
use crate::{
    Gateway,
    call::{Call, CallHeaders, Routed},
    era::ForCall,
    http::StreamSlot,
    reply::Reply,
    snapshot::Snapshot,
    stages::route,
    upstream::{Behalf, Event, Holder, OnBehalf, Outgoing, UpstreamError},
};

/// What a client wants to hear of.
#[derive(Debug, Default)]
struct Filter {
    lists: Vec<Kind>,
    /// Public URIs.
    resources: Vec<String>,
}

impl Filter {
    fn parse(params: Option<&str>) -> Result<Self, WireError> {
        let unreadable = |error: json::ObjectError| {
            WireError::invalid_params(format!("params.notifications: {error}"))
        };
        let Some(params) = params else {
            return Ok(Self::default());
        };
        let params = Object::parse(params).map_err(unreadable)?;
        let Some(wanted) = params.get_object("notifications").map_err(unreadable)? else {
            return Err(WireError::invalid_params(
                "params needs the object \"notifications\"",
            ));
        };
        let flags = [
            ("toolsListChanged", Kind::Tool),
            ("promptsListChanged", Kind::Prompt),
            ("resourcesListChanged", Kind::Resource),
        ];
        let lists = flags
            .into_iter()
            .filter(|(key, _)| wanted.get(key) == Some("true"))
            .map(|(_, kind)| kind)
            .collect();
        let resources = match wanted.get("resourceSubscriptions") {
            None => Vec::new(),
            Some(raw) => json::elements(raw)
                .and_then(|uris| {
                    uris.into_iter()
                        .map(|raw| json::as_str(raw).map(std::borrow::Cow::into_owned))
                        .collect::<Option<Vec<_>>>()
                })
                .ok_or_else(|| {
                    WireError::invalid_params("resourceSubscriptions must be an array of URIs")
                })?,
        };
        Ok(Self { lists, resources })
    }

    /// The text of the filter.
    fn to_json(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        for kind in &self.lists {
            let key = match kind {
                Kind::Tool => "toolsListChanged",
                Kind::Prompt => "promptsListChanged",
                Kind::Resource | Kind::Template => "resourcesListChanged",
            };
            parts.push(format!("\"{key}\":true"));
        }
        if !self.resources.is_empty() {
            let uris: Vec<String> = self.resources.iter().map(|uri| json::quote(uri)).collect();
            parts.push(format!("\"resourceSubscriptions\":[{}]", uris.join(",")));
        }
        format!("{{{}}}", parts.join(","))
    }

    fn wants(&self, kind: Kind) -> bool {
        // Templates have no notification of their own.
        let kind = if kind == Kind::Template {
            Kind::Resource
        } else {
            kind
        };
        self.lists.contains(&kind)
    }
}

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
    let limit = gateway.settings().max_streams_per_client;
    let Some(slot) = gateway.streams.enter(call.peer, limit) else {
        let error =
            WireError::internal("too many streams are open for this client; close one first");
        return reply.error_with_status(&error, 429).await;
    };
    // Before anything is opened upstream, so that no change is missed in between.
    let changes = gateway.changes.subscribe();
    let capabilities = &snapshot.capabilities;
    let lists = asked
        .lists
        .into_iter()
        .filter(|kind| capabilities.lists(*kind))
        .collect();
    let watched = watch(gateway, snapshot, &call, &asked.resources).await;
    let listener = Listener {
        gateway: gateway.clone(),
        agreed: Filter {
            lists,
            resources: watched.agreed,
        },
        subscribed: watched.subscribed,
        id: call.request.id.detached(),
        principal: call.caller.principal.shared_id(),
        changes,
        reply: reply.detached(),
        _slot: slot,
    };
    let acknowledged = tagged(
        "notifications/subscriptions/acknowledged",
        &listener.id,
        &format!("\"notifications\":{}", listener.agreed.to_json()),
    );
    if listener.reply.message(acknowledged.text).await {
        tokio::spawn(listener.keep(watched.feeds));
    }
}

/// One open stream.
struct Listener {
    gateway: Arc<Gateway>,
    agreed: Filter,
    /// Subscriptions with legacy upstreams, to be ended with the stream.
    subscribed: Vec<(String, Box<Routed>)>,
    id: Id,
    principal: Arc<str>,
    changes: Receiver<Change>,
    reply: Reply,
    _slot: StreamSlot,
}

impl Listener {
    /// Keeps the stream until the client goes or the gateway drains.
    async fn keep(mut self, feeds: Vec<Watch>) {
        if feeds.is_empty() {
            self.keep_lists().await;
        } else {
            Box::pin(self.keep_all(feeds)).await;
        }
        for (uri, routed) in std::mem::take(&mut self.subscribed) {
            Box::pin(unsubscribe(&self.gateway, &routed, &uri)).await;
        }
        if self.gateway.is_draining() {
            let closing = closing(&self.id);
            self.reply.result(&closing).await;
        }
    }

    /// Tells of what the gateway itself knows: nothing is read from upstreams for this stream.
    async fn keep_lists(&mut self) {
        loop {
            let change = tokio::select! {
                () = self.reply.gone() => return,
                () = self.gateway.draining() => return,
                change = self.changes.recv() => change,
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
                Some((watch, update)) = feeds.next(), if !feeds.is_empty() => {
                    let uri = public_uri_of(&watch, &update);
                    feeds.push(next_of(watch));
                    let Some(uri) = uri else { continue };
                    if !self.reply.message(updated(&self.id, &uri).text).await {
                        return;
                    }
                    continue;
                }
            };
            if !self.tell(change).await {
                return;
            }
        }
    }

    /// Tells the client of a change that it wants to hear of; `false` where it is gone.
    async fn tell(&self, change: Result<Change, RecvError>) -> bool {
        let notification = match change {
            Ok(Change::List(kind)) if self.agreed.wants(kind) => {
                tagged(list_changed(kind), &self.id, "")
            }
            Ok(Change::Resource { principal, uri })
                if principal.as_ref().is_none_or(|of| *of == self.principal)
                    && self.agreed.resources.iter().any(|known| *known == *uri) =>
            {
                updated(&self.id, &uri)
            }
            Ok(_) => return true,
            // Some were missed: everything may have changed.
            Err(RecvError::Lagged(_)) => {
                for kind in &self.agreed.lists {
                    self.reply
                        .message(tagged(list_changed(*kind), &self.id, "").text)
                        .await;
                }
                return true;
            }
            Err(RecvError::Closed) => return false,
        };
        self.reply.message(notification.text).await
    }
}

/// The public URI that an upstream's stream tells of.
fn public_uri_of(watch: &Watch, update: &Notification) -> Option<String> {
    if update.method != "notifications/resources/updated" {
        return None;
    }
    let params = Object::parse(update.params.as_deref()?).ok()?;
    let uri = params.get_str("uri")?;
    Some(watch.naming.public_uri(&uri).into_owned())
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

fn updated(id: &Id, uri: &str) -> Notification {
    tagged(
        "notifications/resources/updated",
        id,
        &format!("\"uri\":{}", json::quote(uri)),
    )
}

/// The result of a stream that the gateway ends (2026-07-28, Subscriptions, Graceful Closure).
fn closing(id: &Id) -> String {
    format!(
        "{{\"resultType\":\"complete\",\"_meta\":{{\"{}\":{id}}}}}",
        meta::SUBSCRIPTION_ID
    )
}

/// What is watched upstream for one stream.
#[derive(Default)]
struct Watched {
    /// The public URIs that upstreams agreed to.
    agreed: Vec<String>,
    /// Streams of modern upstreams.
    feeds: Vec<Watch>,
    /// Subscriptions with legacy upstreams: public URI and how to end it.
    subscribed: Vec<(String, Box<Routed>)>,
}

struct Watch {
    feed: Feed<Behalf>,
    naming: mcp_ultra_protocol::names::Naming,
}

async fn next_of(mut watch: Watch) -> (Watch, Notification) {
    let notification = watch.feed.next().await;
    (watch, notification)
}

/// Watches resources with the upstreams that have them. What can't be watched is left out.
async fn watch(
    gateway: &Arc<Gateway>,
    snapshot: &Snapshot,
    call: &Call,
    uris: &[String],
) -> Watched {
    let mut watched = Watched::default();
    let mut modern: Vec<(Box<Routed>, Vec<String>)> = Vec::new();
    for uri in uris {
        let Ok(routed) = route::call(gateway, snapshot, read_of(call, uri)) else {
            continue;
        };
        match routed.upstream.era_for(Era::Modern).await {
            Ok(Era::Modern) => {
                let group = modern
                    .iter_mut()
                    .find(|(other, _)| Arc::ptr_eq(&other.upstream, &routed.upstream));
                if let Some((_, uris)) = group {
                    uris.push(routed.original.to_string());
                } else {
                    let original = routed.original.to_string();
                    modern.push((routed, vec![original]));
                }
            }
            Ok(Era::Legacy) => match legacy(gateway, &routed, Method::ResourcesSubscribe).await {
                Ok(true) => {
                    let holder = holder_of(gateway, &routed);
                    routed.upstream.watch(holder, &routed.original);
                    watched.agreed.push(uri.clone());
                    watched.subscribed.push((uri.clone(), routed));
                }
                Ok(false) => {}
                Err(error) => tell(&routed, &error),
            },
            Err(error) => tell(&routed, &error),
        }
    }
    for (routed, uris) in modern {
        let of_call = ForCall {
            gateway,
            routed: &routed,
        };
        let behalf = Behalf {
            holder: of_call.holder(),
            hello: of_call.hello(),
            sink: of_call.sink(),
        };
        let naming = routed.upstream.naming().clone();
        match Feed::of_resources(routed.upstream.clone(), behalf, &uris).await {
            Ok((feed, agreed)) => {
                watched
                    .agreed
                    .extend(agreed.iter().map(|uri| naming.public_uri(uri).into_owned()));
                watched.feeds.push(Watch { feed, naming });
            }
            Err(error) => tell(&routed, &error),
        }
    }
    watched
}

fn tell(routed: &Routed, error: &UpstreamError) {
    tracing::warn!(upstream = %routed.upstream.name(), %error, "a resource could not be watched");
}

/// The call as it would read the resource: routing needs the URI and who asks.
fn read_of(call: &Call, uri: &str) -> Box<Call> {
    let params = format!("{{\"uri\":{}}}", json::quote(uri));
    Box::new(Call {
        caller: call.caller.clone(),
        request: Request::new(
            call.request.id.clone(),
            Method::ResourcesRead.as_str(),
            Some(&params),
        ),
        method: Method::ResourcesRead,
        progress_token: None,
        log_level: None,
        headers: CallHeaders::default(),
        name: Some(uri.to_owned().into()),
        arguments: None,
        continues: false,
        peer: call.peer,
        place: None,
    })
}

/// Subscribes or unsubscribes with a legacy upstream; `false` where it refuses.
async fn legacy(
    gateway: &Arc<Gateway>,
    routed: &Routed,
    method: Method,
) -> Result<bool, UpstreamError> {
    let outgoing = Outgoing {
        method: method.as_str(),
        params: Some(format!("{{\"uri\":{}}}", json::quote(&routed.original)).into()),
        ..Outgoing::default()
    };
    let behalf = ForCall { gateway, routed };
    let mut exchange = routed.upstream.call(Era::Legacy, &behalf, outgoing).await?;
    loop {
        if let Event::Response(response) = exchange.next().await? {
            return Ok(matches!(response.outcome, Outcome::Result(_)));
        }
    }
}

/// Through whose session the resource is watched.
fn holder_of(gateway: &Arc<Gateway>, routed: &Routed) -> Holder {
    ForCall { gateway, routed }.holder()
}

/// Ends a subscription with a legacy upstream, unless another stream of this principal has it too.
async fn unsubscribe(gateway: &Arc<Gateway>, routed: &Routed, uri: &str) {
    let holder = holder_of(gateway, routed);
    if !routed.upstream.unwatch(holder, &routed.original) {
        return;
    }
    tracing::trace!(uri, "a resource is not watched any more");
    if let Err(error) = legacy(gateway, routed, Method::ResourcesUnsubscribe).await {
        tracing::debug!(upstream = %routed.upstream.name(), %error, "a subscription could not be ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_is_read_and_written() {
        let filter = Filter::parse(Some(
            r#"{"notifications":{"toolsListChanged":true,"promptsListChanged":false,"resourceSubscriptions":["a://1"]}}"#,
        ))
        .unwrap();
        assert!(filter.wants(Kind::Tool) && !filter.wants(Kind::Prompt));
        assert_eq!(
            filter.to_json(),
            r#"{"toolsListChanged":true,"resourceSubscriptions":["a://1"]}"#
        );
    }

    #[test]
    fn bad_filters_are_refused() {
        for params in [
            "{}",
            r#"{"notifications":[]}"#,
            r#"{"notifications":{"resourceSubscriptions":[1]}}"#,
        ] {
            assert!(Filter::parse(Some(params)).is_err(), "{params}");
        }
    }
}
