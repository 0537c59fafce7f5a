//! The HTTP side: the endpoint `/mcp`, health, metrics, and where to log in.
//!
//! The way in is [`Service`]. What HTTP demands of a request before it is a call stands here
//! (names it may be asked under, sizes, methods, media types), and how the answer travels back.

mod body;
mod connect;
mod cors;
mod endpoint;
mod guard;
mod health;
mod identify;
mod in_flight;
mod metadata;
mod names;
mod post;
mod respond;
mod streams;

use std::{convert::Infallible, pin::Pin, sync::Arc, time::Instant};

use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use mcp_ultra_edge::listener::Peer;
use mcp_ultra_protocol::Request as McpRequest;

pub use body::Body;
pub(crate) use identify::Identified;
pub(crate) use streams::{StreamSlot, StreamSlots};

use crate::Gateway;

/// A request that has arrived over HTTP.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub request: McpRequest,
    pub headers: Arc<HeaderMap>,
    pub identified: Identified,
    /// The address it came from.
    pub peer: Option<std::net::IpAddr>,
}

/// Answers the HTTP requests of one listener.
#[derive(Clone)]
pub struct Service {
    gateway: Arc<Gateway>,
    ready: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

impl Service {
    /// The service of `gateway`; `ready` says whether the process wants new work.
    pub fn new(gateway: Arc<Gateway>, ready: Arc<dyn Fn() -> bool + Send + Sync>) -> Self {
        Self { gateway, ready }
    }

    /// Everything but the endpoint: answers are at hand.
    fn beside(&self, request: &Request<Incoming>) -> Response<Body> {
        match request.uri().path() {
            "/livez" | "/live" => health::live(),
            "/readyz" | "/ready" => health::ready(&self.gateway, (self.ready)()),
            "/healthz" | "/health" => health::health(&self.gateway, (self.ready)()),
            "/metrics" if self.gateway.settings().serve_metrics => {
                health::metrics(&self.gateway, request.headers())
            }
            path => metadata::answer(&self.gateway, request.method(), path)
                .unwrap_or_else(respond::not_found),
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        if request.uri().path() != "/mcp" {
            if let Some(own) = &self.gateway.connect
                && connect::is_page(&self.gateway, request.uri().path())
            {
                let (gateway, own) = (self.gateway.clone(), own.clone());
                return Box::pin(async move { Ok(connect::answer(&gateway, &own, request).await) });
            }
            return Box::pin(std::future::ready(Ok(self.beside(&request))));
        }
        let gateway = self.gateway.clone();
        Box::pin(async move {
            let start = Instant::now();
            let call = cors::call(&gateway, request.headers());
            let mut response = endpoint::answer(&gateway, request, call.as_ref()).await;
            if let Some(call) = call {
                call.complete(&mut response);
            }
            gateway
                .metrics
                .http(response.status().as_u16(), start.elapsed());
            Ok(response)
        })
    }
}

/// The address at the other end of the connection; whose request it is says [`guard`].
fn peer_of(request: &Request<Incoming>) -> Option<std::net::IpAddr> {
    request
        .extensions()
        .get::<Peer>()
        .map(|peer| peer.addr.ip())
}
