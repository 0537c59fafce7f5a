//! Subscriptions and the server-to-client stream of legacy clients.

use std::{collections::BTreeSet, sync::Arc};

use futures_util::{StreamExt as _, stream};
use mcp_ultra_domain::{
    cache::{self, Outdated, Tag},
    catalog::Kind,
};
use mcp_ultra_protocol::{
    Era, Method, Notification, Outcome, Request, WireError,
    json::{self, Object},
};
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use super::{Change, Feed, Heard, UPDATED, list_changed};
use crate::{
    Gateway,
    access::Seen,
    call::{Call, Caller, Routed},
    era::ForCall,
    reply::Down,
    session::Live,
    snapshot::Snapshot,
    stages::{
        authorize::{self, Permitted},
        route,
    },
    upstream::{Behalf, OnBehalf, Upstream, UpstreamError},
};

/// How many resources one session may be subscribed to.
const MAX_SUBSCRIPTIONS: usize = 1000;
/// How many subscriptions with a server that is configured anew are made again at once.
const RENEWED_AT_ONCE: usize = 8;

/// Subscribes the session to a resource of the routed call's upstream, or ends that.
pub(crate) async fn subscribe(
    gateway: &Arc<Gateway>,
    session: &Arc<Live>,
    permitted: &Permitted<Box<Routed>>,
    public: &str,
    wanted: bool,
) -> Result<(), WireError> {
    let routed = permitted.get();
    if wanted && session.subscriptions().len() >= MAX_SUBSCRIPTIONS {
        return Err(WireError::invalid_params(
            "the session has 1000 subscriptions, and may not have more",
        ));
    }
    let name = routed.upstream.name();
    let failed = |error: crate::upstream::UpstreamError| error.to_wire(name);
    let target = in_time(routed, routed.upstream.era_for(Era::Legacy));
    let target = target.await.map_err(failed)?;
    let watch = async |wanted| match watched(gateway, routed, wanted).await.map_err(failed)? {
        Outcome::Result(_) => Ok(()),
        Outcome::Error(error) => Err(upstream_error(&error)),
    };
    if !wanted {
        // What relays a modern upstream's updates ends with the subscription.
        let ended = session.unsubscribe(public);
        return match target {
            Era::Legacy if ended => watch(false).await,
            _ => Ok(()),
        };
    }
    let Some(subscription) = session.subscribe(public) else {
        return Ok(());
    };
    let opened = match target {
        Era::Legacy => watch(true).await,
        Era::Modern => relayed(gateway, session, routed, public, subscription.clone()).await,
    };
    // Where it has been taken back meanwhile, there may be another one already.
    if opened.is_err() && !subscription.is_cancelled() {
        session.unsubscribe(public);
    }
    opened
}

/// Opens a stream of a resource of a modern upstream for as long as the session is subscribed to
/// it.
async fn relayed(
    gateway: &Arc<Gateway>,
    session: &Arc<Live>,
    routed: &Routed,
    public: &str,
    subscription: CancellationToken,
) -> Result<(), WireError> {
    let behalf = ForCall { gateway, routed }.known();
    let uris = [routed.original.to_string()];
    let opening = Feed::of_resources(routed.upstream.clone(), behalf, &uris, &[]);
    let (feed, agreed) = in_time(routed, opening)
        .await
        .map_err(|error| error.to_wire(routed.upstream.name()))?;
    if agreed.resources.is_empty() {
        feed.close().await;
        return Err(WireError::invalid_params(
            "the resource can't be subscribed to",
        ));
    }
    let (gateway, session, public) = (gateway.clone(), session.clone(), public.to_owned());
    tokio::spawn(relay(gateway, feed, session, public, subscription));
    Ok(())
}

/// Within the time that a call of the upstream has.
async fn in_time<T>(
    routed: &Routed,
    asking: impl Future<Output = Result<T, UpstreamError>>,
) -> Result<T, UpstreamError> {
    let limit = routed.upstream.settings().call_timeout;
    tokio::time::timeout(limit, asking)
        .await
        .unwrap_or(Err(UpstreamError::Timeout(limit.as_secs())))
}

/// Subscribes to a resource with a legacy upstream, or ends that.
pub(super) async fn watched(
    gateway: &Arc<Gateway>,
    routed: &Routed,
    wanted: bool,
) -> Result<Outcome, UpstreamError> {
    let behalf = ForCall { gateway, routed };
    let uri = &*routed.original;
    if wanted {
        routed.upstream.subscribe(&behalf, uri).await
    } else {
        routed.upstream.unsubscribe(&behalf.holder(), uri).await
    }
}

fn upstream_error(error: &str) -> WireError {
    let object = Object::parse(error).ok();
    let code = object
        .as_ref()
        .and_then(|error| error.get("code")?.parse().ok());
    let message = object
        .and_then(|error| error.get_str("message").map(std::borrow::Cow::into_owned))
        .unwrap_or_default();
    WireError::new(
        code.unwrap_or(mcp_ultra_protocol::error::INTERNAL_ERROR),
        message,
    )
}

/// Brings the updates of one resource of a modern upstream to a legacy session.
async fn relay(
    gateway: Arc<Gateway>,
    mut feed: Feed<Behalf>,
    session: Arc<Live>,
    public: String,
    subscription: CancellationToken,
) {
    loop {
        let heard = tokio::select! {
            biased;
            () = subscription.cancelled() => break,
            () = gateway.draining() => break,
            heard = feed.next() => heard,
        };
        if outdates(&gateway, feed.upstream(), &heard) {
            tell_updated(&gateway, &session, &public);
        }
    }
    feed.close().await;
}

/// Marks what is kept of a resource as outdated, before anybody is told, where it may be another one by
/// what was heard; whether it may.
fn outdates(gateway: &Gateway, upstream: &Upstream, heard: &Heard) -> bool {
    match heard {
        Heard::Notification(update) if update.method == UPDATED => {
            gateway.resource_outdated(upstream, update);
            true
        }
        Heard::Notification(_) => false,
        // What it was told meanwhile was told to nobody.
        Heard::Again => {
            let any = Outdated::Tagged(Tag::Kind(cache::Kind::Resource));
            gateway.outdate(upstream.name(), any);
            true
        }
    }
}

fn tell_updated(gateway: &Arc<Gateway>, session: &Arc<Live>, public: &str) {
    if authorize::hears_of_resource(gateway, &session.viewer(), public) {
        let params = format!("{{\"uri\":{}}}", json::quote(public));
        session.push(Notification::new(UPDATED, Some(&params)).text);
    }
}

/// The request of a session that nobody has sent: `method` of one resource.
fn routed(
    gateway: &Arc<Gateway>,
    session: &Arc<Live>,
    public: &str,
    method: Method,
) -> Option<(Arc<Snapshot>, Box<Routed>)> {
    let params = format!("{{\"uri\":{}}}", json::quote(public));
    let caller = Caller {
        principal: session.principal.clone(),
        token: session.shown.token(),
        version: session.version,
        capabilities: session.capabilities.clone(),
        client_info: session.client_info.clone(),
        session: Some(session.clone()),
    };
    let request = Request::new(0.into(), method.as_str(), Some(&params));
    let call = Box::new(Call {
        name: Some(public.to_owned().into()),
        peer: session.viewer().address,
        ..Call::new(caller, request, method)
    });
    let snapshot = gateway.snapshot();
    let routed = route::call(gateway, &snapshot, call).ok()?;
    Some((snapshot, routed))
}

/// Ends a subscription that the client has ended at another replica.
pub(crate) fn unsubscribe_too(gateway: &Arc<Gateway>, session: &Arc<Live>, public: &str) {
    if !session.subscriptions().contains(public) {
        return;
    }
    let method = Method::ResourcesUnsubscribe;
    let Some((_, routed)) = routed(gateway, session, public, method) else {
        return;
    };
    let permitted = authorize::ending(routed);
    let (gateway, session, public) = (gateway.clone(), session.clone(), public.to_owned());
    tokio::spawn(async move {
        if let Err(error) = subscribe(&gateway, &session, &permitted, &public, false).await {
            tracing::debug!(upstream = %permitted.get().upstream.name(), error = %error.message, "a subscription that was ended elsewhere could not be ended");
        }
    });
}

/// Takes over what a session is subscribed to through other replicas, where its server-to-client stream
/// is here: whoever has the stream serves the subscriptions, and so they last as long as it does,
/// whatever becomes of the replica that they were made through.
pub(crate) fn take_over(gateway: &Arc<Gateway>, session: &Arc<Live>, stored: &BTreeSet<String>) {
    if session.has_stream() {
        for uri in stored.difference(&session.subscriptions()) {
            subscribe_again(gateway, session, uri);
        }
    }
}

/// The same for a session whose stream has just been opened here.
pub(crate) async fn take_over_stored(gateway: Arc<Gateway>, session: Arc<Live>) {
    // Where it can't be read, the task that looks for changes of sessions comes back to it.
    if let Ok(state) = gateway.store.load(&session.id).await {
        take_over(&gateway, &session, &state.subscriptions);
    }
}

/// Ends what relays the updates of a resource here, where another replica does: the client would hear of
/// everything twice. With a legacy server both stay subscribed: it may be one session of both, in which
/// one of them hears of it.
pub(crate) fn served_elsewhere(gateway: &Arc<Gateway>, session: &Arc<Live>, public: &str) {
    if session.has_stream() || !session.subscriptions().contains(public) {
        return;
    }
    let method = Method::ResourcesUnsubscribe;
    let Some((_, routed)) = routed(gateway, session, public, method) else {
        return;
    };
    let (session, public) = (session.clone(), public.to_owned());
    tokio::spawn(async move {
        let target = routed.upstream.era_for(Era::Legacy).await;
        if matches!(target, Ok(Era::Modern)) && !session.has_stream() {
            session.unsubscribe(&public);
        }
    });
}

/// Makes the subscriptions of legacy sessions with a server again that is configured anew: what serves them
/// ends with the server as it was.
pub(crate) fn renew(gateway: &Arc<Gateway>, upstream: &Arc<Upstream>) {
    let mut theirs = Vec::new();
    for session in gateway.sessions.of(|_| true) {
        for uri in session.subscriptions() {
            let routed = routed(gateway, &session, &uri, Method::ResourcesSubscribe);
            if routed.is_some_and(|(_, routed)| Arc::ptr_eq(&routed.upstream, upstream)) {
                theirs.push((session.clone(), uri));
            }
        }
    }
    if theirs.is_empty() {
        return;
    }
    let gateway = gateway.clone();
    tokio::spawn(async move {
        let renewing = stream::iter(&theirs);
        renewing
            .for_each_concurrent(RENEWED_AT_ONCE, |(session, uri)| {
                open_again(&gateway, session, uri, true)
            })
            .await;
    });
}

/// Opens the subscriptions of a session again that this process has taken over.
pub(crate) fn subscribe_again(gateway: &Arc<Gateway>, session: &Arc<Live>, public: &str) {
    let (gateway, session, public) = (gateway.clone(), session.clone(), public.to_owned());
    tokio::spawn(async move { open_again(&gateway, &session, &public, false).await });
}

/// `anew` says that it takes the place of one that may have told nobody of a change.
async fn open_again(gateway: &Arc<Gateway>, session: &Arc<Live>, public: &str, anew: bool) {
    let method = Method::ResourcesSubscribe;
    let Some((snapshot, routed)) = routed(gateway, session, public, method) else {
        return;
    };
    let Ok(permitted) = authorize::call(gateway, &snapshot, routed) else {
        return;
    };
    if anew {
        session.unsubscribe(public);
    }
    if let Err(error) = subscribe(gateway, session, &permitted, public, true).await {
        tracing::warn!(upstream = %permitted.get().upstream.name(), error = %error.message, "a subscription could not be opened again");
        return;
    }
    if let Some(replicas) = gateway.replicas.as_ref().filter(|_| session.has_stream()) {
        replicas.serves(session, public);
    }
    if anew {
        tell_updated(gateway, session, public);
    }
}

/// Tells the server-to-client stream of a session about changed lists, for as long as it is open.
pub(crate) async fn push_changes(
    gateway: Arc<Gateway>,
    mut changes: broadcast::Receiver<Change>,
    session: Arc<Live>,
    stream: mpsc::Sender<Down>,
) {
    let ended = session.streams_ended();
    let mut seen = Seen::new(&gateway, session.viewer());
    loop {
        let change = tokio::select! {
            () = ended.cancelled() => return,
            () = stream.closed() => return,
            change = changes.recv() => change,
            kinds = seen.changed_with_time() => {
                if session.pushes_on(&stream) {
                    tell_of_lists(&stream, kinds);
                }
                continue;
            }
        };
        // Another stream has taken over.
        if !session.pushes_on(&stream) {
            continue;
        }
        let kinds: &[_] = match change {
            Ok(Change::List(kind)) => &[kind],
            Ok(Change::Servers) => continue,
            Ok(Change::Resource { principal, uri }) => {
                let own = principal.is_none() && session.subscriptions().contains(&*uri);
                if own && authorize::hears_of_resource(&gateway, &session.viewer(), &uri) {
                    let params = format!("{{\"uri\":{}}}", json::quote(&uri));
                    let update = Notification::new(UPDATED, Some(&params));
                    drop(stream.try_send(Down::uncounted(update.text)));
                }
                continue;
            }
            // Some were missed: everything may have changed.
            Err(broadcast::error::RecvError::Lagged(_)) => &Kind::ALL,
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let differs = |kind: &Kind| seen.differs(&gateway, *kind);
        tell_of_lists(&stream, kinds.iter().copied().filter(differs));
    }
}

fn tell_of_lists(stream: &mpsc::Sender<Down>, kinds: impl IntoIterator<Item = Kind>) {
    for kind in kinds {
        let notification = Notification::new(list_changed(kind), None);
        drop(stream.try_send(Down::uncounted(notification.text)));
    }
}
