//! The listener: accepts connections and serves HTTP/1.1 and HTTP/2 on them, over TLS or as they are
//! (HTTP/2 by prior knowledge then), within the bounds of [`ListenerConfig`].
//!
//! - `config`: every bound; `metrics`: what is counted
//! - `slots`: connections in total and per client
//! - `connection`: one connection from first byte to last; `pace` and `stream` its deadlines
//! - `service`: what wraps the caller's service; `headers` what every response says to browsers
//!
//! The bytes of a request body, and the time they take, are the business of the service that reads
//! them.

mod config;
mod connection;
mod headers;
mod metrics;
mod pace;
mod service;
mod slots;
mod stream;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, service::Service};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

pub use self::{
    config::ListenerConfig,
    metrics::{ListenerMetrics, Refusal},
    service::Peer,
};
use self::{connection::Protocols, pace::LINGER, slots::Slots, stream::linger};
use crate::{
    BoxError,
    shutdown::Shutdown,
    tls::{Failed, Secured, ServerTls},
    workers::Workers,
};

/// Connections that the kernel keeps for us until they are accepted.
const BACKLOG: i32 = 1024;
/// The pause after an accept that failed for want of a resource: the first, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));
/// Such failures are logged at most this often.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Tells whether the connections of an address carry the requests of many clients.
pub type IsShared = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// A bound socket that is not yet served.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    config: ListenerConfig,
    metrics: Arc<ListenerMetrics>,
    tls: Option<Arc<ServerTls>>,
    is_shared: IsShared,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener")
            .field("address", &self.address)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// What every connection of one listener is served with.
#[derive(Debug)]
struct Serving {
    protocols: Protocols,
    metrics: Arc<ListenerMetrics>,
    tls: Option<Arc<ServerTls>>,
    shutdown: Shutdown,
}

impl Listener {
    /// Binds the address and listens: from here on connections queue up, until
    /// [`serve`](Self::serve) takes them. To be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// Of the system: the address is in use, not ours, or not permitted.
    pub fn bind(config: ListenerConfig) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(config.address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        if config.address.is_ipv6() {
            socket.set_only_v6(!config.address.ip().is_unspecified())?;
        }
        // A restart may bind while connections of the former process are still in TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&config.address.into())?;
        socket.listen(BACKLOG)?;
        let socket = TcpListener::from_std(socket.into())?;
        let address = socket.local_addr()?;
        Ok(Self {
            socket,
            address,
            config,
            metrics: Arc::default(),
            tls: None,
            is_shared: Arc::new(|_| false),
        })
    }

    /// Speaks TLS, and nothing else.
    pub fn with_tls(mut self, tls: Arc<ServerTls>) -> Self {
        self.metrics.speaks(&tls);
        self.tls = Some(tls);
        self
    }

    /// Addresses whose connections are bounded in total alone: a reverse proxy opens as many as its
    /// own clients need, and who they are is not known before their requests are read. Asked with
    /// each connection.
    pub fn with_shared(mut self, is_shared: IsShared) -> Self {
        self.is_shared = is_shared;
        self
    }

    /// The address that was bound, with the port that was chosen if port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What this listener counts; stays valid after [`serve`](Self::serve).
    pub fn metrics(&self) -> Arc<ListenerMetrics> {
        Arc::clone(&self.metrics)
    }

    /// Accepts and serves connections until [`Shutdown::drain`]; then returns, while the open
    /// connections finish in tasks of their own, which [`Shutdown::finish`] waits for. They are
    /// served by `workers`; without any, in the runtime that this is called in.
    ///
    /// `service` is cloned per connection. Its requests carry [`Peer`] as an extension. An error
    /// of the service closes the connection (HTTP/2: resets the stream) without an answer. A tower
    /// service goes through `hyper_util::service::TowerToHyperService`.
    pub async fn serve<S, B>(self, service: S, shutdown: Shutdown, workers: Option<Arc<Workers>>)
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError> + Send,
        B: Body + Unpin + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let _open = shutdown.track();
        let slots = Slots::new(
            self.config.max_connections,
            self.config.max_connections_per_client,
            Arc::clone(&self.metrics),
        );
        let serving = Arc::new(Serving {
            protocols: Protocols::new(
                &self.config,
                Arc::clone(&self.metrics),
                self.tls.as_ref().and_then(|tls| tls.hsts()),
            ),
            metrics: Arc::clone(&self.metrics),
            tls: self.tls.clone(),
            shutdown: shutdown.clone(),
        });
        let mut backoff = Backoff::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = shutdown.draining() => break,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.accept_failed(&error, &mut backoff).await;
                    continue;
                }
            };
            backoff.reset();
            self.metrics.count_accepted();
            let slot = match slots.take(address.ip(), (self.is_shared)(address.ip())) {
                Ok(slot) => slot,
                Err(refusal) => {
                    self.metrics.count_refused(refusal);
                    refuse(&stream);
                    continue;
                }
            };
            if prepare(&stream, &self.config).is_err() {
                continue; // the peer has already gone
            }
            let (serving, service) = (Arc::clone(&serving), service.clone());
            let open = shutdown.track();
            let Some((runtime, place)) = workers.as_ref().and_then(|all| all.least_loaded()) else {
                tokio::spawn(async move {
                    serving.connection(stream, address, service).await;
                    drop((slot, open));
                });
                continue;
            };
            // The socket is handed over to the poller of its worker.
            let Ok(stream) = stream.into_std() else {
                continue;
            };
            runtime.spawn(async move {
                if let Ok(stream) = TcpStream::from_std(stream) {
                    serving.connection(stream, address, service).await;
                }
                drop((slot, open, place));
            });
        }
    }

    /// A connection that died in the queue says nothing about the next one. Anything else is a
    /// lack (file descriptors, memory) that lasts a while, during which accepting again at once
    /// would only burn the processor.
    async fn accept_failed(&self, error: &io::Error, backoff: &mut Backoff) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
        if matches!(
            error.kind(),
            ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
        ) {
            return;
        }
        self.metrics.count_accept_error();
        let pause = backoff.next();
        if backoff.should_log() {
            tracing::warn!(
                address = %self.address,
                %error,
                open = self.metrics.open(),
                "cannot accept connections; trying again. If file descriptors have run out, raise \
                 the limit of the process (ulimit -n) or lower max_connections"
            );
        }
        tokio::time::sleep(pause).await;
    }
}

impl Serving {
    /// Serves one connection to its end.
    async fn connection<S, B>(&self, stream: TcpStream, address: SocketAddr, service: S)
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError> + Send,
        B: Body + Unpin + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let mut peer = Peer::new(address);
        let Some(tls) = &self.tls else {
            return self
                .protocols
                .serve(stream, peer, service, &self.shutdown)
                .await;
        };
        // Boxed, so that connections without TLS are not as large as those with it.
        let Some(secured) = Box::pin(self.secure(tls, stream)).await else {
            return;
        };
        peer.certificate = secured.certificate;
        let served = self
            .protocols
            .serve(secured.stream, peer, service, &self.shutdown);
        Box::pin(served).await;
    }

    async fn secure(&self, tls: &ServerTls, stream: TcpStream) -> Option<Secured> {
        let shaken = tokio::select! {
            shaken = tls.secure(stream) => shaken,
            () = self.shutdown.draining() => return None,
        };
        match shaken {
            Ok(secured) => return Some(secured),
            Err(Failed::Refused(refusal)) => self.metrics.count_refused(refusal),
            Err(Failed::Plain(stream)) => {
                self.metrics.count_refused(Refusal::PlainHttp);
                let _ = tokio::time::timeout(LINGER, close(stream)).await;
            }
            Err(Failed::Gone) => {}
        }
        None
    }
}

/// Closes a socket so that its peer can read what was written.
async fn close(mut stream: TcpStream) {
    if stream.shutdown().await.is_ok() {
        linger(stream).await;
    }
}

/// Sets the options of an accepted socket.
///
/// What a peer has not acknowledged the kernel would repeat for a quarter of an hour, and the few
/// bytes of an event stream never fill a buffer so that `write_timeout` itself could tell; so the
/// kernel is told to give up, a little later so as not to forestall it.
fn prepare(stream: &TcpStream, config: &ListenerConfig) -> io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    SockRef::from(stream).set_tcp_user_timeout(Some(config.write_timeout * 2))?;
    Ok(())
}

/// Resets the connection: no answer to write, no socket left in `TIME_WAIT`.
fn refuse(stream: &TcpStream) {
    // Failure means that the peer was faster.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Pauses that double while accepting fails.
struct Backoff {
    pause: Duration,
    logged: Option<Instant>,
}

impl Backoff {
    fn new() -> Self {
        Self {
            pause: BACKOFF.0,
            logged: None,
        }
    }

    fn reset(&mut self) {
        self.pause = BACKOFF.0;
    }

    fn next(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(BACKOFF.1);
        pause
    }

    fn should_log(&mut self) -> bool {
        let due = self
            .logged
            .is_none_or(|logged| logged.elapsed() >= LOG_EVERY);
        if due {
            self.logged = Some(Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second_and_start_over_after_a_success() {
        let mut backoff = Backoff::new();
        let pauses: Vec<_> = (0..10).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        backoff.reset();
        assert_eq!(backoff.next(), BACKOFF.0);
    }

    #[test]
    fn failures_are_not_logged_one_by_one() {
        let mut backoff = Backoff::new();
        assert!(backoff.should_log());
        assert!(!backoff.should_log());
    }

    #[tokio::test]
    async fn accepted_sockets_send_at_once_and_give_up_on_a_dead_peer() {
        let config = ListenerConfig::new(([127, 0, 0, 1], 0).into());
        let listener = Listener::bind(config.clone()).unwrap();
        let _client = TcpStream::connect(listener.local_addr()).await.unwrap();
        let (stream, _) = listener.socket.accept().await.unwrap();
        prepare(&stream, &config).unwrap();
        assert!(stream.nodelay().unwrap());
        #[cfg(target_os = "linux")]
        assert_eq!(
            SockRef::from(&stream).tcp_user_timeout().unwrap(),
            Some(config.write_timeout * 2)
        );
    }

    #[tokio::test]
    async fn an_address_in_use_is_an_error() {
        let first = Listener::bind(ListenerConfig::new(([127, 0, 0, 1], 0).into())).unwrap();
        let error = Listener::bind(ListenerConfig::new(first.local_addr())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
