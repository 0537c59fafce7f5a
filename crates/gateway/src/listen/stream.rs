//! `subscriptions/listen` of modern clients (2026-07-28, Subscriptions).

use std::{collections::HashMap, sync::Arc};

use futures_util::{StreamExt, stream::FuturesUnordered};
use mcp_ultra_domain::catalog::Kind;
use mcp_ultra_protocol::{
    Era, Id, Method, Notification, Outcome, Request, WireError,
    json::{self, Object},
    meta,
};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{
    Change, Feed,
    feed::{RESOURCES, TASKS},
    legacy::watched as watched_by,
    list_changed,
};
use crate::{
    Gateway,
    call::{Call, CallHeaders, Routed},
    era::ForCall,
    http::StreamSlot,
    reply::Reply,
    snapshot::Snapshot,
    stages::route,
    upstream::{Behalf, OnBehalf, UpstreamError},
};

/// What a client wants to hear of.
#[derive(Debug, Default)]
struct Filter {
    lists: Vec<Kind>,
    /// Public URIs.
    resources: Vec<String>,
    /// Sealed ids of tasks (Tasks extension, Task Status Notifications).
    tasks: Vec<String>,
}

/// How many resources and how many tasks one stream may be about.
const MAX_NAMES: usize = 1000;

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
        Ok(Self {
            lists,
            resources: names(&wanted, RESOURCES)?,
            tasks: names(&wanted, TASKS)?,
        })
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
        for (key, names) in [(RESOURCES, &self.resources), (TASKS, &self.tasks)] {
            if !names.is_empty() {
                let quoted: Vec<String> = names.iter().map(|name| json::quote(name)).collect();
                parts.push(format!("\"{key}\":[{}]", quoted.join(",")));
            }
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

/// The strings of an array of the filter; none where it is absent.
fn names(wanted: &Object<'_>, key: &str) -> Result<Vec<String>, WireError> {
    let Some(raw) = wanted.get(key) else {
        return Ok(Vec::new());
    };
    let names = json::elements(raw).and_then(|names| {
        names
            .into_iter()
            .map(|raw| json::as_str(raw).map(std::borrow::Cow::into_owned))
            .collect::<Option<Vec<_>>>()
    });
    match names {
        Some(names) if names.len() <= MAX_NAMES => Ok(names),
        Some(_) => Err(WireError::invalid_params(format!(
            "{key} has more than {MAX_NAMES} elements"
        ))),
        None => Err(WireError::invalid_params(format!(
            "{key} must be an array of strings"
        ))),
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
    let capabilities = &snapshot.capabilities;
    let lists = asked
        .lists
        .into_iter()
        .filter(|kind| capabilities.lists(*kind))
        .collect();
    let watched = watch(gateway, snapshot, &call, &asked.resources, &asked.tasks).await;
    let mut listener = Listener {
        gateway: gateway.clone(),
        agreed: Filter {
            lists,
            resources: watched.agreed,
            tasks: watched.tasks,
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
    } else {
        listener.leave().await;
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
        self.leave().await;
        if self.gateway.is_draining() {
            let closing = closing(&self.id);
            self.reply.result(&closing).await;
        }
    }

    /// Ends what is subscribed to for the stream alone.
    async fn leave(&mut self) {
        for (uri, routed) in std::mem::take(&mut self.subscribed) {
            Box::pin(unsubscribe(&self.gateway, &routed, &uri)).await;
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
                    let notification = watch.public(&self.id, &update);
                    feeds.push(next_of(watch));
                    let Some(notification) = notification else { continue };
                    if !self.reply.message(notification.text).await {
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
                for uri in &self.agreed.resources {
                    self.reply.message(updated(&self.id, uri).text).await;
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
    /// The sealed ids of tasks that upstreams agreed to.
    tasks: Vec<String>,
    /// Streams of modern upstreams.
    feeds: Vec<Watch>,
    /// Subscriptions with legacy upstreams: public URI and how to end it.
    subscribed: Vec<(String, Box<Routed>)>,
}

struct Watch {
    feed: Feed<Behalf>,
    naming: mcp_ultra_protocol::names::Naming,
    /// The upstream's ids of tasks and the sealed ones that the client knows them by.
    tasks: HashMap<String, String>,
}

impl Watch {
    /// A notification of the upstream as the stream `id` tells it; `None` where it does not.
    fn public(&self, id: &Id, update: &Notification) -> Option<Notification> {
        let params = Object::parse(update.params.as_deref()?).ok()?;
        match &*update.method {
            "notifications/resources/updated" => Some(updated(
                id,
                &self.naming.public_uri(&params.get_str("uri")?),
            )),
            "notifications/tasks" => {
                let sealed = self.tasks.get(&*params.get_str("taskId")?)?;
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

async fn next_of(mut watch: Watch) -> (Watch, Notification) {
    let notification = watch.feed.next().await;
    (watch, notification)
}

/// Watches resources and tasks with the upstreams that have them. What can't be watched is left
/// out.
async fn watch(
    gateway: &Arc<Gateway>,
    snapshot: &Snapshot,
    call: &Call,
    uris: &[String],
    tasks: &[String],
) -> Watched {
    let mut watched = Watched::default();
    let mut modern: Vec<Group> = Vec::new();
    for uri in uris {
        let Ok(routed) = route::call(gateway, snapshot, read_of(call, uri)) else {
            continue;
        };
        match routed.upstream.era_for(Era::Modern).await {
            Ok(Era::Modern) => {
                let original = routed.original.to_string();
                group(&mut modern, routed).uris.push(original);
            }
            Ok(Era::Legacy) => match watched_by(gateway, &routed, true).await {
                Ok(Outcome::Result(_)) => {
                    watched.agreed.push(uri.clone());
                    watched.subscribed.push((uri.clone(), routed));
                }
                Ok(Outcome::Error(_)) => {}
                Err(error) => tell(&routed, &error),
            },
            Err(error) => tell(&routed, &error),
        }
    }
    for task in tasks {
        if let Ok(routed) = route::call(gateway, snapshot, task_of(call, task)) {
            let original = routed.original.to_string();
            group(&mut modern, routed)
                .tasks
                .insert(original, task.clone());
        }
    }
    for group in modern {
        group.open(gateway, &mut watched).await;
    }
    watched
}

/// What is watched of one modern upstream.
struct Group {
    routed: Box<Routed>,
    uris: Vec<String>,
    /// Its own ids of tasks and the sealed ones.
    tasks: HashMap<String, String>,
}

fn group(groups: &mut Vec<Group>, routed: Box<Routed>) -> &mut Group {
    let known = groups
        .iter()
        .position(|group| Arc::ptr_eq(&group.routed.upstream, &routed.upstream));
    let at = known.unwrap_or_else(|| {
        groups.push(Group {
            routed,
            uris: Vec::new(),
            tasks: HashMap::new(),
        });
        groups.len() - 1
    });
    &mut groups[at]
}

impl Group {
    async fn open(self, gateway: &Arc<Gateway>, watched: &mut Watched) {
        let Self {
            routed,
            uris,
            tasks,
        } = self;
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
        let ids: Vec<String> = tasks.keys().cloned().collect();
        match Feed::of_resources(routed.upstream.clone(), behalf, &uris, &ids).await {
            Ok((feed, agreed)) => {
                let public = |uri: &String| naming.public_uri(uri).into_owned();
                watched.agreed.extend(agreed.resources.iter().map(public));
                let sealed = |id: &String| tasks.get(id).cloned();
                watched.tasks.extend(agreed.tasks.iter().filter_map(sealed));
                watched.feeds.push(Watch {
                    feed,
                    naming,
                    tasks,
                });
            }
            Err(error) => tell(&routed, &error),
        }
    }
}

fn tell(routed: &Routed, error: &UpstreamError) {
    tracing::warn!(upstream = %routed.upstream.name(), %error, "a resource could not be watched");
}

/// The call as it would read the resource: routing needs the URI and who asks.
fn read_of(call: &Call, uri: &str) -> Box<Call> {
    call_of(call, Method::ResourcesRead, "uri", uri)
}

/// The call as it would poll the task.
fn task_of(call: &Call, task: &str) -> Box<Call> {
    call_of(call, Method::TasksGet, "taskId", task)
}

fn call_of(call: &Call, method: Method, key: &str, name: &str) -> Box<Call> {
    let params = format!("{{\"{key}\":{}}}", json::quote(name));
    Box::new(Call {
        caller: call.caller.clone(),
        request: Request::new(call.request.id.clone(), method.as_str(), Some(&params)),
        method,
        progress_token: None,
        log_level: None,
        headers: CallHeaders::default(),
        name: Some(name.to_owned().into()),
        arguments: None,
        continues: false,
        peer: call.peer,
        place: None,
        trace: std::sync::OnceLock::new(),
    })
}

/// Ends a subscription with a legacy upstream, unless another stream of this principal has it too.
async fn unsubscribe(gateway: &Arc<Gateway>, routed: &Routed, uri: &str) {
    tracing::trace!(uri, "a resource is not watched any more");
    if let Err(error) = watched_by(gateway, routed, false).await {
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
            r#"{"notifications":{"taskIds":"all"}}"#,
        ] {
            assert!(Filter::parse(Some(params)).is_err(), "{params}");
        }
    }
}
