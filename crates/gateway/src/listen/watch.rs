//! What is watched with upstreams for one stream of a modern client: subscriptions with legacy
//! ones, streams of modern ones.

use std::{collections::HashMap, sync::Arc};

use mcp_ultra_protocol::{
    Era, Id, Method, Notification, Outcome, Request,
    json::{self, Object},
    meta,
};

use super::{Feed, Heard, UPDATED, legacy::watched as watched_by, stream::updated};
use crate::{
    Gateway,
    access::Viewer,
    call::{Call, Routed},
    era::ForCall,
    pipeline::Refusal,
    snapshot::Snapshot,
    stages::{authorize, route},
    upstream::{Behalf, OnBehalf, UpstreamError},
};

/// What is watched upstream for one stream.
#[derive(Default)]
pub(super) struct Watched {
    /// The public URIs that upstreams agreed to.
    pub agreed: Vec<String>,
    /// The sealed ids of tasks that upstreams agreed to.
    pub tasks: Vec<String>,
    /// Streams of modern upstreams.
    pub feeds: Vec<Watch>,
    /// Subscriptions with legacy upstreams: public URI and how to end it.
    pub subscribed: Vec<(String, Box<Routed>)>,
}

/// A stream of a modern upstream, and the names that its client knows things by.
pub(super) struct Watch {
    feed: Feed<Behalf>,
    naming: mcp_ultra_protocol::names::Naming,
    /// The public URIs of the resources that the upstream agreed to.
    resources: Vec<String>,
    /// The upstream's ids of tasks and the sealed ones that the client knows them by.
    tasks: HashMap<String, String>,
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
                let told = self.public_update(gateway, viewer, id, update);
                told.into_iter().collect()
            }
            // Each of them may be another one by now. Clients poll tasks, so nothing is lost there.
            Heard::Again => self
                .resources
                .iter()
                .filter(|uri| authorize::hears_of_resource(gateway, viewer, uri))
                .map(|uri| updated(id, uri))
                .collect(),
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
            "notifications/tasks" => {
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

/// Watches resources and tasks with the upstreams that have them. What can't be watched is left
/// out.
pub(super) async fn watch(
    gateway: &Arc<Gateway>,
    snapshot: &Snapshot,
    call: &Call,
    uris: &[String],
    tasks: &[String],
) -> Watched {
    let mut watched = Watched::default();
    let mut modern: Vec<Group> = Vec::new();
    for uri in uris {
        let Ok(routed) = permitted(gateway, snapshot, watch_of(call, uri)) else {
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
        if let Ok(routed) = permitted(gateway, snapshot, task_of(call, task)) {
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
        let behalf = of_call.known();
        let naming = routed.upstream.naming().clone();
        let ids: Vec<String> = tasks.keys().cloned().collect();
        match Feed::of_resources(routed.upstream.clone(), behalf, &uris, &ids).await {
            Ok((feed, agreed)) => {
                let public = |uri: &String| naming.public_uri(uri).into_owned();
                let resources: Vec<String> = agreed.resources.iter().map(public).collect();
                watched.agreed.extend(resources.iter().cloned());
                let sealed = |id: &String| tasks.get(id).cloned();
                watched.tasks.extend(agreed.tasks.iter().filter_map(sealed));
                watched.feeds.push(Watch {
                    feed,
                    naming,
                    resources,
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

/// Where a call leads that may be made.
fn permitted(
    gateway: &Gateway,
    snapshot: &Snapshot,
    call: Box<Call>,
) -> Result<Box<Routed>, Refusal> {
    let routed = route::call(gateway, snapshot, call)?;
    Ok(authorize::call(gateway, snapshot, routed)?.into_inner())
}

/// The call as it would subscribe to the resource: routing needs the URI and who asks.
fn watch_of(call: &Call, uri: &str) -> Box<Call> {
    call_of(call, Method::ResourcesSubscribe, "uri", uri)
}

/// The call as it would poll the task.
fn task_of(call: &Call, task: &str) -> Box<Call> {
    call_of(call, Method::TasksGet, "taskId", task)
}

fn call_of(call: &Call, method: Method, key: &str, name: &str) -> Box<Call> {
    let params = format!("{{\"{key}\":{}}}", json::quote(name));
    let request = Request::new(call.request.id.clone(), method.as_str(), Some(&params));
    Box::new(Call {
        name: Some(name.to_owned().into()),
        peer: call.peer,
        ..Call::new(call.caller.clone(), request, method)
    })
}

/// Ends a subscription with a legacy upstream, unless another stream of this principal has it too.
pub(super) async fn unsubscribe(gateway: &Arc<Gateway>, routed: &Routed, uri: &str) {
    tracing::trace!(uri, "a resource is not watched any more");
    if let Err(error) = watched_by(gateway, routed, false).await {
        tracing::debug!(upstream = %routed.upstream.name(), %error, "a subscription could not be ended");
    }
}
