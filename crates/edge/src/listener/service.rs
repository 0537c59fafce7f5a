//! What wraps the caller's service: the peer as an extension, the bound on header fields, and the
//! note of how many requests are in flight.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{
    TryFutureExt,
    future::{Either, Ready, ready},
};
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, service::Service};

use super::{
    headers,
    metrics::{ListenerMetrics, Refusal},
    pace::Pace,
};
use crate::tls::PeerCertificate;

/// Who is at the other end of a connection: an extension of every request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Peer {
    /// The address of the socket's other end, which may be a proxy.
    pub addr: SocketAddr,
    /// The certificate that it has shown, which has been verified.
    pub certificate: Option<Arc<PeerCertificate>>,
}

impl Peer {
    /// A peer at `addr`. An IPv4 address that comes as an IPv6 one, as on a socket that listens to both, is
    /// the IPv4 address.
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr: SocketAddr::new(addr.ip().to_canonical(), addr.port()),
            certificate: None,
        }
    }
}

/// What every request of one connection shares.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    pub(super) peer: Peer,
    pub(super) pace: Arc<Pace>,
    pub(super) metrics: Arc<ListenerMetrics>,
    pub(super) max_headers: usize,
    /// `Strict-Transport-Security`, on connections with TLS.
    pub(super) hsts: Option<HeaderValue>,
}

impl Requests {
    /// Calls the service with one request. Nothing is boxed here: the future of the service is
    /// stored in the connection as it is.
    pub(super) fn call<S, B>(
        &self,
        service: &S,
        mut request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Answer<B>>, S::Error>> + use<S, B>
    where
        S: Service<Request<Incoming>, Response = Response<B>>,
    {
        let in_flight = InFlight::new(&self.pace);
        if request.headers().len() > self.max_headers {
            self.metrics.count_refused(Refusal::HeadersTooLarge);
            let hsts = self.hsts.as_ref();
            return Either::Left(too_many_headers(request.version(), in_flight, hsts));
        }
        request.extensions_mut().insert(self.peer.clone());
        let hsts = self.hsts.clone();
        let is_http1 = request.version() < Version::HTTP_2;
        Either::Right(service.call(request).map_ok(move |mut response| {
            headers::complete(response.headers_mut(), hsts.as_ref());
            if is_http1 && in_flight.0.is_leaving() {
                close_after(&mut response);
            }
            response.map(|body| Answer {
                body: Some(body),
                _in_flight: in_flight,
            })
        }))
    }
}

/// hyper refuses more than a hundred fields by itself; a lower bound, and HTTP/2, are refused here.
fn too_many_headers<B, E>(
    version: Version,
    in_flight: InFlight,
    hsts: Option<&HeaderValue>,
) -> Ready<Result<Response<Answer<B>>, E>> {
    let mut response = Response::new(Answer {
        body: None,
        _in_flight: in_flight,
    });
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    headers::complete(response.headers_mut(), hsts);
    if version < Version::HTTP_2 {
        close_after(&mut response);
    }
    ready(Ok(response))
}

/// Ends an HTTP/1 connection with this answer. The connection has no place in HTTP/2's headers (RFC
/// 9113 section 8.2.2).
fn close_after<B>(response: &mut Response<B>) {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
}

/// Counts as a request in flight until dropped.
#[derive(Debug)]
struct InFlight(Arc<Pace>);

impl InFlight {
    fn new(pace: &Arc<Pace>) -> Self {
        pace.request_started();
        Self(Arc::clone(pace))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.request_ended();
    }
}

/// The body of a response, in flight until it is dropped.
#[derive(Debug)]
pub(super) struct Answer<B> {
    /// None for an answer of the listener itself.
    body: Option<B>,
    _in_flight: InFlight,
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
