//! The HTTP client towards upstreams: pooled keep-alive connections, HTTP/2 where the upstream
//! offers it by ALPN, TLS with Mozilla's roots and an authority of your own.
//!
//! - `config`: every setting
//! - `client_certificate`: what it shows of itself
//! - `connector`: how a connection is made
//! - `guard`: where connections may lead
//! - `error`: what failed, on which side, and whether sending again is safe
//!
//! Not here: deadlines of a whole request, retries, breakers. The caller has them; dropping the
//! future of a request, or the body of its response, cancels it. Redirects are never followed.

mod client_certificate;
mod config;
mod connector;
mod error;
mod guard;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, Uri, uri::Scheme};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};

pub use self::{
    config::{OutboundConfig, UpstreamTls},
    error::{OutboundConfigError, OutboundError, OutboundErrorKind, Side},
    guard::{Class, Reach, class_of},
};
use self::{
    connector::{Connector, Resolve, System, tls_config},
    guard::Guard,
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

type Pool = Client<Connector, Full<Bytes>>;

/// The client towards upstreams. Clones share its pools of connections.
#[derive(Clone)]
pub struct Outbound(Arc<Shared>);

struct Shared {
    /// A pool for each worker, since a connection is driven where it was made, and behind them the
    /// one of all other threads.
    operator: Vec<Pool>,
    /// The same for hosts that data has named: of connections to the inside there are none here.
    found: Vec<Pool>,
    config: OutboundConfig,
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Outbound").field(&self.0.config).finish()
    }
}

impl Outbound {
    /// A client with empty pools. Requests are to be sent within a tokio runtime.
    ///
    /// # Errors
    ///
    /// The file of extra authorities is not usable.
    pub fn new(config: &OutboundConfig) -> Result<Self, OutboundConfigError> {
        let names: Arc<dyn Resolve> = Arc::new(System::new());
        Self::resolving(config, &UpstreamTls::default(), &names)
    }

    /// The same client for one upstream with TLS of its own: pools, certificates and authorities are
    /// shared with no other.
    ///
    /// # Errors
    ///
    /// One of the files is not usable.
    pub fn with_tls(&self, tls: &UpstreamTls) -> Result<Self, OutboundConfigError> {
        let names: Arc<dyn Resolve> = Arc::new(System::new());
        Self::resolving(&self.0.config, tls, &names)
    }

    /// The same client for an upstream that data has named, as the registry does: it reaches public
    /// addresses and those that the operator allows, and uses no connection that was made to the
    /// inside.
    #[must_use]
    pub fn for_named_by_data(&self) -> Self {
        Self(Arc::new(Shared {
            operator: self.0.found.clone(),
            found: self.0.found.clone(),
            config: self.0.config.clone(),
        }))
    }

    fn resolving(
        config: &OutboundConfig,
        upstream: &UpstreamTls,
        names: &Arc<dyn Resolve>,
    ) -> Result<Self, OutboundConfigError> {
        let tls = tls_config(config.extra_ca_file.as_deref(), upstream)?;
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
        let pools = |reach| {
            let guard = Guard::new(reach, &config.allowed_addresses);
            let connector = Connector::new(config, &tls, guard, names.clone());
            let pools = (0..=config.workers).map(|_| builder.build(connector.clone()));
            pools.collect()
        };
        Ok(Self(Arc::new(Shared {
            operator: pools(Reach::Operator),
            found: pools(Reach::Found),
            config: config.clone(),
        })))
    }

    /// Sends a request to an address of the operator's, and returns the response once its header
    /// is there. Its URI is absolute. Redirects are handed on and not followed.
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
        send(pool(&self.0.operator), request).await
    }

    /// The same for an address that data has named, which came from `origin`, an address of the
    /// operator's: the host must be the same, or one that the operator allows and that has public
    /// addresses only.
    ///
    /// # Errors
    ///
    /// As [`Self::request`], and [`OutboundErrorKind::Forbidden`].
    pub async fn request_found(
        &self,
        request: Request<Full<Bytes>>,
        origin: &Uri,
    ) -> Result<Response<Incoming>, OutboundError> {
        let Some(host) = request.uri().host() else {
            return Err(OutboundError::invalid(request.uri()));
        };
        let is = |other: &str| other.eq_ignore_ascii_case(host);
        if origin.host().is_some_and(is) {
            return self.request(request).await;
        }
        if self.0.config.allowed_hosts.iter().any(|other| is(other)) {
            return send(pool(&self.0.found), request).await;
        }
        Err(OutboundError::forbidden(request.uri()))
    }
}

async fn send(
    pool: &Pool,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, OutboundError> {
    let uri = request.uri().clone();
    let web = uri
        .scheme()
        .is_some_and(|s| *s == Scheme::HTTP || *s == Scheme::HTTPS);
    if !web || uri.host().is_none_or(str::is_empty) {
        return Err(OutboundError::invalid(&uri));
    }
    pool.request(request)
        .await
        .map_err(|error| OutboundError::new(&uri, error))
}

/// The pool of this thread.
fn pool(pools: &[Pool]) -> &Pool {
    let outside = pools.len() - 1;
    let at = workers::current().filter(|worker| *worker < outside);
    &pools[at.unwrap_or(outside)]
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        net::{IpAddr, SocketAddr},
        sync::atomic::{AtomicUsize, Ordering},
    };

    use futures_util::FutureExt;
    use hyper_util::client::legacy::connect::dns::Name;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// A name server that says something else each time, the last for ever.
    struct Fickle {
        answers: Vec<Vec<IpAddr>>,
        asked: AtomicUsize,
    }

    impl Resolve for Fickle {
        fn resolve(
            &self,
            _: Name,
        ) -> std::pin::Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>> {
            let turn = self.asked.fetch_add(1, Ordering::Relaxed);
            let answer = &self.answers[turn.min(self.answers.len() - 1)];
            let addresses = answer.iter().map(|ip| SocketAddr::new(*ip, 0)).collect();
            std::future::ready(Ok(addresses)).boxed()
        }
    }

    fn client(config: &OutboundConfig, answers: &[&[&str]]) -> (Outbound, Arc<Fickle>) {
        let parse = |list: &&[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        let names = Arc::new(Fickle {
            answers: answers.iter().map(parse).collect(),
            asked: AtomicUsize::new(0),
        });
        let shared: Arc<dyn Resolve> = names.clone();
        let outbound = Outbound::resolving(config, &UpstreamTls::default(), &shared).unwrap();
        (outbound, names)
    }

    fn get(uri: &str) -> Request<Full<Bytes>> {
        Request::get(uri).body(Full::default()).unwrap()
    }

    /// Answers every connection once, and closes it.
    async fn server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 1024]).await;
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                let _ = stream.write_all(answer).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_something_else_later_gains_nothing() {
        let port = server().await.port();
        let config = OutboundConfig::default();
        let (outbound, names) = client(&config, &[&["127.0.0.1"], &["169.254.169.254"]]);
        let uri = format!("http://mcp.example.com:{port}/");
        let answer = outbound.request(get(&uri)).await.unwrap();
        assert_eq!(answer.status(), 200);
        drop(answer);
        let error = loop {
            // The connection of the first may still be in the pool.
            if let Err(error) = outbound.request(get(&uri)).await
                && error.kind() != OutboundErrorKind::Closed
            {
                break error;
            }
        };
        assert_eq!(error.kind(), OutboundErrorKind::Forbidden, "{error}");
        assert_eq!(error.side(), Side::Gateway);
        assert!(error.to_string().contains("metadata"), "{error}");
        assert!(names.asked.load(Ordering::Relaxed) >= 2);
    }

    #[tokio::test]
    async fn one_forbidden_address_among_others_is_enough() {
        let port = server().await.port();
        let config = OutboundConfig::default();
        let (outbound, _) = client(&config, &[&["127.0.0.1", "fe80::1"]]);
        let uri = format!("http://mcp.example.com:{port}/");
        let error = outbound.request(get(&uri)).await.unwrap_err();
        assert_eq!(error.kind(), OutboundErrorKind::Forbidden, "{error}");
    }

    #[tokio::test]
    async fn addresses_in_a_uri_are_checked_in_every_spelling() {
        let outbound = Outbound::new(&OutboundConfig {
            connect_timeout: Duration::from_secs(2),
            ..OutboundConfig::default()
        })
        .unwrap();
        let literal = [
            "169.254.169.254",
            "[fe80::1]",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "[fd00:ec2::254]",
            "[::]",
            "0.0.0.0",
            "224.0.0.1",
        ];
        // What only the system reads as an address. TLS has no such names at all.
        let odd = [
            "2852039166",
            "0xa9fea9fe",
            "0xa9.0xfe.0xa9.0xfe",
            "0251.0376.0251.0376",
            "169.254.43518",
            "0",
        ];
        let plain = literal.iter().chain(&odd).map(|host| ("http", host));
        for (scheme, host) in plain.chain(literal.iter().map(|host| ("https", host))) {
            let uri = format!("{scheme}://{host}/latest/meta-data/");
            let error = outbound.request(get(&uri)).await.unwrap_err();
            assert_eq!(error.kind(), OutboundErrorKind::Forbidden, "{uri}: {error}");
        }
    }

    #[tokio::test]
    async fn what_data_names_is_allowed_by_host_and_public_only() {
        let port = server().await.port();
        let config = OutboundConfig {
            allowed_hosts: vec!["keys.example.com".into()],
            ..OutboundConfig::default()
        };
        let (outbound, names) = client(&config, &[&["127.0.0.1"]]);
        let origin = Uri::from_static("https://login.example.com");
        let found = |host: &str| get(&format!("http://{host}:{port}/"));
        let kind = |answer: Result<Response<Incoming>, OutboundError>| answer.map_err(|e| e.kind());

        let other = outbound.request_found(found("evil.example"), &origin).await;
        assert_eq!(kind(other).unwrap_err(), OutboundErrorKind::Forbidden);
        assert_eq!(names.asked.load(Ordering::Relaxed), 0, "not even looked up");

        let inside = outbound
            .request_found(found("keys.example.com"), &origin)
            .await;
        assert_eq!(kind(inside).unwrap_err(), OutboundErrorKind::Forbidden);

        let same = outbound
            .request_found(found("LOGIN.example.com"), &origin)
            .await;
        assert_eq!(kind(same).unwrap().status(), 200, "the operator's own host");

        let opened = OutboundConfig {
            allowed_addresses: vec!["127.0.0.0/8".parse().unwrap()],
            ..config
        };
        let (outbound, _) = client(&opened, &[&["127.0.0.1"]]);
        let inside = outbound
            .request_found(found("keys.example.com"), &origin)
            .await;
        assert_eq!(kind(inside).unwrap().status(), 200);
    }
}
