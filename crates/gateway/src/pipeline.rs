//! The way of a call, all of it, a line a stage.

use std::sync::Arc;

use mcp_ultra_protocol::WireError;

use crate::{
    Gateway,
    http::Arrival,
    limits::Exceeded,
    reply::Reply,
    stages::{
        admit,
        authorize::{self, Grounds},
        cache, decode, forward, local, meter, protect, route,
    },
};

/// Brings one request to its answer. It runs in a task of its own, so that a client that goes
/// away ends it by the rules of its era and never half-way.
///
/// Connections, sizes and addresses have been guarded before ([`crate::http`], `http::guard`), and
/// the principal has been identified (`http::identify`).
pub(crate) async fn call(gateway: Arc<Gateway>, arrival: Arrival, reply: Reply) {
    let watch = gateway.metrics.start();
    // limits of the gateway, the tenant and the principal
    let places = match admit::call(&gateway, &arrival.identified.principal) {
        Ok(places) => places,
        Err(refusal) => return refuse(reply, refusal).await,
    };
    // envelope, era, headers against body
    let mut call = match decode::call(&gateway, arrival).await {
        Ok(call) => call,
        Err(refusal) => return refuse(reply, refusal).await,
    };
    call.places = places;
    let (method, reply) = (call.method, reply.in_era(call.caller.era()));
    // the snapshot that the whole call runs under
    let snapshot = gateway.snapshot();
    // what the gateway answers itself: handshakes, lists, subscriptions
    if local::answers(method) {
        Box::pin(local::answer(&gateway, &snapshot, call, reply)).await;
        return watch.done(method);
    }
    // public name -> upstream and original name
    let routed = match route::call(&gateway, &snapshot, call) {
        Ok(routed) => routed,
        Err(refusal) => return refuse(reply, refusal).await,
    };
    let upstream = routed.upstream.clone();
    // how log lines name the call, where there are any
    let ids = tracing::enabled!(tracing::Level::INFO).then(|| routed.call.ids());
    // may it be called: the same answer for list and call
    let permitted = match authorize::call(&gateway, &snapshot, routed) {
        Ok(permitted) => permitted,
        Err(refusal) => return refuse(reply, refusal).await,
    };
    if let Some(Grounds { decision, revision }) = permitted.grounds() {
        tracing::debug!(policies = ?decision.policies, %revision, method = method.as_str(), "permitted");
    }
    // headers that mirror arguments
    if let Err(refusal) = route::verify_params(&permitted) {
        return refuse(reply, refusal).await;
    }
    // limits of the tool and the upstream, and the quotas of the day
    let _place = match meter::call(&gateway, &permitted) {
        Ok(place) => place,
        Err(refusal) => return refuse(reply, refusal).await,
    };
    // personal data in the arguments
    let protected = protect::arguments(permitted);
    // an answer that may be given again; what each caller may see of it belongs here
    let outcome = match cache::call(&gateway, &snapshot, &protected, reply).await {
        cache::Looked::Given => forward::Outcome::Result,
        cache::Looked::Cancelled => forward::Outcome::Cancelled,
        // the conversation with the upstream in its era, and back in the caller's; boxed, so that
        // what is answered here carries no room for it
        cache::Looked::Ask(reply) => Box::pin(forward::call(&gateway, protected, reply)).await,
    };
    let counted = (upstream.name(), upstream.tally());
    watch.forwarded(counted, method, outcome, ids.as_ref());
}

/// A request that is refused before it reaches an upstream.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub error: WireError,
    /// The HTTP status, where it is not the one that goes with the error.
    pub status: Option<u16>,
    /// The limit that was reached, where that is why.
    pub limit: Option<Box<Exceeded>>,
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        Self {
            error,
            status: None,
            limit: None,
        }
    }
}

impl Refusal {
    pub(crate) fn with_status(error: WireError, status: u16) -> Self {
        Self {
            error,
            status: Some(status),
            limit: None,
        }
    }
}

impl From<Exceeded> for Refusal {
    fn from(exceeded: Exceeded) -> Self {
        Self {
            error: exceeded.to_wire(),
            status: Some(429),
            limit: Some(Box::new(exceeded)),
        }
    }
}

/// Answers a request that is refused.
pub(crate) async fn refuse(reply: Reply, refusal: Refusal) {
    match refusal.status {
        _ if refusal.limit.is_some() => reply.limited(&refusal.error, refusal.limit).await,
        Some(status) => reply.error_with_status(&refusal.error, status).await,
        None => reply.error(&refusal.error).await,
    }
}
