//! The HTTP client towards upstreams: pooled keep-alive connections, HTTP/2 where the upstream
//! offers it by ALPN, TLS with Mozilla's roots and an authority of your own.
//!
//! - `config`: every setting
//! - `connector`: how a connection is made
//! - `error`: what failed, on which side, and whether sending again is safe
//!
//! Not here: deadlines of a whole request, retries, breakers. The caller has them; dropping the
//! future of a request, or the body of its response, cancels it. Redirects are never followed.

mod config;
mod connector;
mod error;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, uri::Scheme};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};

use self::connector::Connector;
pub use self::{
    config::OutboundConfig,
    error::{OutboundConfigError, OutboundError, OutboundErrorKind, Side},
};
use crate::workers;

/// The most that is buffered of one HTTP/1.1 response, which also bounds its header.
const HTTP1_BUFFER: usize = 256 * 1024;
/// HTTP/2 receive windows: what an upstream may send ahead of being read. One stream that is read
/// slowly must not use up the connection's.
const HTTP2_STREAM_WINDOW: u32 = 512 * 1024;
const HTTP2_CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// An HTTP/2 connection in use is probed this often, and given up if the answer takes this long:
/// all requests to an upstream share it, and would all hang.
const HTTP2_PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// The client towards upstreams. Clones share its pools of connections.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// A pool for each worker, since a connection is driven where it was made, and behind them the
    /// one of all other threads.
    pools: Arc<[Client<Connector, Full<Bytes>>]>,
}

impl Outbound {
    /// A client with empty pools. Requests are to be sent within a tokio runtime.
    ///
    /// # Errors
    ///
    /// The file of extra authorities is not usable.
    pub fn new(config: &OutboundConfig) -> Result<Self, OutboundConfigError> {
        let connector = Connector::new(config)?;
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(config.pool_idle_timeout)
            .pool_max_idle_per_host(config.pool_max_idle_per_host)
            .http1_max_buf_size(HTTP1_BUFFER)
            .http2_initial_stream_window_size(HTTP2_STREAM_WINDOW)
            .http2_initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
            .http2_keep_alive_interval(HTTP2_PING.0)
            .http2_keep_alive_timeout(HTTP2_PING.1);
        let pools = (0..=config.workers).map(|_| builder.build(connector.clone()));
        Ok(Self {
            pools: pools.collect(),
        })
    }

    /// Sends a request, whose URI is absolute, and returns the response once its header is there.
    ///
    /// A pooled connection that turns out to be closed before anything of the request was sent is
    /// replaced by another one without the caller noticing; nothing else is ever sent twice.
    ///
    /// # Errors
    ///
    /// No response came. [`OutboundError::retry_is_safe`] tells if the request was not seen.
    pub async fn request(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, OutboundError> {
        let uri = request.uri().clone();
        let web = uri
            .scheme()
            .is_some_and(|s| *s == Scheme::HTTP || *s == Scheme::HTTPS);
        if !web || uri.host().is_none_or(str::is_empty) {
            return Err(OutboundError::invalid(&uri));
        }
        self.pool()
            .request(request)
            .await
            .map_err(|error| OutboundError::new(&uri, error))
    }

    fn pool(&self) -> &Client<Connector, Full<Bytes>> {
        let outside = self.pools.len() - 1;
        let at = workers::current().filter(|worker| *worker < outside);
        &self.pools[at.unwrap_or(outside)]
    }
}
