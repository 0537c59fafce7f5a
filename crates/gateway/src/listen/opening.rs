//! What a stream of a modern client watches is opened with the upstreams: several at once, each
//! request counted by its limits, all of it within the time that a call has.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt, stream};
use mcp_ultra_domain::limits::Place;
use mcp_ultra_protocol::{Era, Method, Outcome, Request, json};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Feed,
    legacy::watched as watched_by,
    watch::{AT_ONCE, Subscription, Watch, Watched},
};
use crate::{
    Gateway,
    call::{Call, Routed},
    era::ForCall,
    pipeline::Refusal,
    snapshot::Snapshot,
    stages::{authorize, meter, route},
    upstream::{OnBehalf, UpstreamError},
};

/// How many upstreams are asked at the same time.
const UPSTREAMS: usize = 8;

/// Until when something is opened: the time of a call, or the client's end.
pub(super) struct Patience {
    since: Instant,
    gone: CancellationToken,
}

impl Patience {
    /// Begins now, and ends with `gone`.
    pub(super) fn until(gone: CancellationToken) -> Self {
        Self {
            since: Instant::now(),
            gone,
        }
    }

    /// What comes of `opening` within `limit` from the beginning.
    async fn within<T>(
        &self,
        limit: Duration,
        opening: impl Future<Output = T>,
    ) -> Result<T, Left> {
        tokio::select! {
            biased;
            () = self.gone.cancelled() => Err(Left::Gone),
            done = tokio::time::timeout_at(self.since + limit, opening) => {
                done.map_err(|_| Left::Failed(UpstreamError::Timeout(limit.as_secs())))
            }
        }
    }
}

/// Watches resources and tasks with the upstreams that have them. What can't be watched is left
/// out, and so is what is too much for a limit or not open in time.
pub(super) async fn watch(
    gateway: &Arc<Gateway>,
    snapshot: &Snapshot,
    call: &Call,
    uris: &[String],
    tasks: &[String],
    patience: &Patience,
) -> Watched {
    let mut groups: Vec<Group> = Vec::new();
    for uri in uris {
        if let Ok(routed) = permitted(gateway, snapshot, watch_of(call, uri)) {
            group(&mut groups, &routed)
                .resources
                .push((uri.clone(), routed));
        }
    }
    for task in tasks {
        if let Ok(routed) = permitted(gateway, snapshot, task_of(call, task)) {
            group(&mut groups, &routed)
                .tasks
                .push((task.clone(), routed));
        }
    }
    let mut watched = Watched::default();
    let mut opening = stream::iter(groups)
        .map(|group| group.open(gateway, patience))
        .buffer_unordered(UPSTREAMS);
    while let Some(one) = opening.next().await {
        watched.add(one);
    }
    // In the order of the client's question, whoever answered first.
    let order: HashMap<&str, usize> = uris.iter().map(String::as_str).zip(0..).collect();
    let place = |uri: &String| order.get(uri.as_str()).copied().unwrap_or(usize::MAX);
    watched.agreed.sort_by_cached_key(place);
    watched
}

/// What is watched with one upstream: the client's names of it, and where they lead.
#[derive(Default)]
struct Group {
    resources: Vec<(String, Box<Routed>)>,
    tasks: Vec<(String, Box<Routed>)>,
}

impl Group {
    fn first(&self) -> Option<&Routed> {
        let mut all = self.resources.iter().chain(&self.tasks);
        all.next().map(|(_, routed)| &**routed)
    }

    async fn open(self, gateway: &Arc<Gateway>, patience: &Patience) -> Watched {
        let mut watched = Watched::default();
        let Some(first) = self.first() else {
            return watched;
        };
        let upstream = first.upstream.clone();
        let limit = upstream.settings().call_timeout;
        let era = patience.within(limit, upstream.era_for(Era::Modern)).await;
        let opened = match era.and_then(|era| Ok(era?)) {
            Ok(Era::Modern) => self.listen(gateway, patience, &mut watched).await,
            Ok(Era::Legacy) => self.subscribe(gateway, patience, &mut watched).await,
            Err(left) => Err(left),
        };
        match opened {
            Ok(()) | Err(Left::Gone) => {}
            Err(Left::Over(refusal)) => watched.over = Some(refusal),
            Err(Left::Failed(error)) => {
                tracing::warn!(upstream = %upstream.name(), %error, "resources could not be watched");
            }
        }
        watched
    }

    /// One stream for all of it.
    async fn listen(
        self,
        gateway: &Arc<Gateway>,
        patience: &Patience,
        watched: &mut Watched,
    ) -> Result<(), Left> {
        let Some(routed) = self.first() else {
            return Ok(());
        };
        let _place = meter::places(gateway, routed, 1)?;
        meter::count(gateway, routed)?;
        let upstream = &routed.upstream;
        let behalf = ForCall { gateway, routed }.known();
        let own = |named: &(String, Box<Routed>)| named.1.original.to_string();
        let uris: Vec<String> = self.resources.iter().map(own).collect();
        let ids: Vec<String> = self.tasks.iter().map(own).collect();
        let opening = Feed::of_resources(upstream.clone(), behalf, &uris, &ids);
        let limit = upstream.settings().call_timeout;
        let (feed, agreed) = patience.within(limit, opening).await??;
        let naming = upstream.naming().clone();
        let sealed = self.tasks.into_iter();
        let sealed = sealed.map(|(sealed, routed)| (routed.original.to_string(), sealed));
        let tasks: HashMap<String, String> = sealed.collect();
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
        Ok(())
    }

    /// A subscription for each resource; legacy upstreams have no tasks that could be watched.
    async fn subscribe(
        self,
        gateway: &Arc<Gateway>,
        patience: &Patience,
        watched: &mut Watched,
    ) -> Result<(), Left> {
        let Some((_, first)) = self.resources.first() else {
            return Ok(());
        };
        let limit = first.upstream.settings().call_timeout;
        let places = Arc::new(meter::places(gateway, first, AT_ONCE)?);
        let at_once = places.len();
        let mut over = Ok(());
        // The first one that is too much is the last one that is asked for.
        let asked = self.resources.into_iter().map_while(|(uri, routed)| {
            over = meter::count(gateway, &routed);
            over.is_ok().then(|| {
                let asking = subscription(gateway.clone(), routed, places.clone());
                asking.map(|subscription| (uri, subscription))
            })
        });
        let mut asking = stream::iter(asked).buffer_unordered(at_once);
        while let Some((uri, subscription)) = patience.within(limit, asking.next()).await? {
            if let Ok(Some(subscription)) = subscription {
                watched.agreed.push(uri);
                watched.subscribed.push(subscription);
            }
        }
        drop(asking);
        Ok(over?)
    }
}

/// Subscribes in a task of its own, so that what an upstream agrees to after nobody waits any more
/// is ended again.
fn subscription(
    gateway: Arc<Gateway>,
    routed: Box<Routed>,
    places: Arc<Vec<Option<Place>>>,
) -> JoinHandle<Option<Subscription>> {
    tokio::spawn(async move {
        let _places = places;
        match watched_by(&gateway, &routed, true).await {
            Ok(Outcome::Result(_)) => Some(Subscription::new(gateway, routed)),
            Ok(Outcome::Error(_)) => None,
            Err(error) => {
                tracing::warn!(upstream = %routed.upstream.name(), %error, "a resource could not be watched");
                None
            }
        }
    })
}

/// Why something is left out.
enum Left {
    /// It is too much for a limit.
    Over(Refusal),
    /// The upstream did not do it, or not in time.
    Failed(UpstreamError),
    /// Nobody waits any more.
    Gone,
}

impl From<Refusal> for Left {
    fn from(refusal: Refusal) -> Self {
        Self::Over(refusal)
    }
}

impl From<UpstreamError> for Left {
    fn from(error: UpstreamError) -> Self {
        Self::Failed(error)
    }
}

fn group<'g>(groups: &'g mut Vec<Group>, routed: &Routed) -> &'g mut Group {
    let known = groups.iter().position(|group| {
        let first = group.first();
        first.is_some_and(|first| Arc::ptr_eq(&first.upstream, &routed.upstream))
    });
    let at = known.unwrap_or_else(|| {
        groups.push(Group::default());
        groups.len() - 1
    });
    &mut groups[at]
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
