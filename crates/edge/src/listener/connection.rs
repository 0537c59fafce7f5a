//! One connection from its first byte to its last, in one task.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderValue, Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::GracefulConnection,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep_until},
};

use super::{
    config::ListenerConfig,
    metrics::{ListenerMetrics, Refusal},
    pace::{LINGER, Limits, Overdue, Pace},
    service::{Peer, Requests},
    stream::{PacedStream, Version, linger},
};
use crate::{
    BoxError,
    shutdown::{Phase, Shutdown},
};

/// The most that hyper buffers of one HTTP/1 connection, each way. Its default of 400 KiB stays
/// allocated on a kept-alive connection that once carried a large body.
const HTTP1_BUFFER: usize = 64 * 1024;
/// The HTTP/2 receive windows: what a client may send ahead of being read.
const HTTP2_STREAM_WINDOW: u32 = 256 * 1024;
const HTTP2_CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What an HTTP/2 stream may have written ahead of being sent.
const HTTP2_SEND_BUFFER: usize = 128 * 1024;
/// hyper parses up to this many header fields on the stack.
const HEADERS_ON_STACK: usize = 100;

/// How every connection of one listener is served.
#[derive(Debug)]
pub(super) struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    limits: Limits,
    max_headers: usize,
    metrics: Arc<ListenerMetrics>,
    hsts: Option<HeaderValue>,
}

/// How a connection came to its end.
enum End {
    Closed(Result<(), hyper::Error>),
    Stalled(Refusal),
    Lingered,
    /// With this many requests in flight.
    Aborted(u32),
}

impl Protocols {
    /// `hsts`: `Strict-Transport-Security` of every response.
    pub(super) fn new(
        config: &ListenerConfig,
        metrics: Arc<ListenerMetrics>,
        hsts: Option<HeaderValue>,
    ) -> Self {
        let mut http1 = http1::Builder::new();
        let max_header_bytes = config.max_header_bytes as usize;
        http1
            .header_read_timeout(None)
            .max_header_size(max_header_bytes)
            .max_buf_size(HTTP1_BUFFER.max(max_header_bytes));
        if config.max_headers > HEADERS_ON_STACK {
            http1.max_headers(config.max_headers);
        }
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(config.http2_max_streams)
            .max_header_list_size(config.max_header_bytes)
            .keep_alive_interval(config.http2_keep_alive_interval)
            .keep_alive_timeout(config.http2_keep_alive_timeout)
            .initial_stream_window_size(HTTP2_STREAM_WINDOW)
            .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
            .max_send_buf_size(HTTP2_SEND_BUFFER);
        let limits = Limits {
            header: config.header_timeout,
            idle: config.idle_timeout,
            write: config.write_timeout,
        };
        Self {
            http1,
            http2,
            limits,
            max_headers: config.max_headers,
            metrics,
            hsts,
        }
    }

    /// Serves one connection to its end.
    pub(super) async fn serve<T, S, B>(
        &self,
        stream: T,
        peer: Peer,
        service: S,
        shutdown: &Shutdown,
    ) where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError> + Send,
        B: Body + Unpin + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let pace = Arc::new(Pace::new());
        let mut stream = PacedStream::new(stream, Arc::clone(&pace));
        let mut timer = pin!(sleep_until(Instant::now() + self.limits.header));
        let version = tokio::select! {
            version = stream.detect() => version,
            () = shutdown.draining() => return,
            () = timer.as_mut() => return self.metrics.count_refused(Refusal::HeaderTimeout),
        };
        let Ok(Some(version)) = version else { return };

        let remains = stream.remains();
        let requests = Requests {
            peer,
            pace: Arc::clone(&pace),
            metrics: Arc::clone(&self.metrics),
            max_headers: self.max_headers,
            hsts: self.hsts.clone(),
        };
        let service = service_fn(move |request| requests.call(&service, request));
        let watch = Watch {
            pace: &pace,
            limits: &self.limits,
            shutdown,
            metrics: &self.metrics,
        };
        let io = TokioIo::new(stream);
        let end = match version {
            Version::Http1 => {
                let connection = pin!(self.http1.serve_connection(io, service));
                watch.drive(connection, timer).await
            }
            Version::Http2 => {
                let connection = pin!(self.http2.serve_connection(io, service));
                watch.drive(connection, timer).await
            }
        };
        self.record(&end, shutdown);
        let remains = remains.lock().take();
        if let Some(remains) = remains {
            tokio::select! {
                // Boxed, so that its buffer is no part of every open connection.
                () = Box::pin(linger(remains)) => {}
                () = tokio::time::sleep(LINGER) => {}
                () = shutdown.aborting() => {}
            }
        }
    }

    fn record(&self, end: &End, shutdown: &Shutdown) {
        match end {
            End::Closed(Err(error)) if error.is_parse_too_large() => {
                self.metrics.count_refused(Refusal::HeadersTooLarge);
            }
            End::Closed(Err(error)) if error.is_parse() => {
                self.metrics.count_refused(Refusal::Malformed);
            }
            // The peer went away, or broke HTTP/2's rules: its doing, and nobody else's concern.
            End::Closed(Err(error)) => tracing::debug!(%error, "connection ended"),
            End::Closed(Ok(())) | End::Lingered => {}
            End::Stalled(refusal) => self.metrics.count_refused(*refusal),
            End::Aborted(in_flight) => shutdown.record_aborted((*in_flight).into()),
        }
    }
}

/// Has the timer wake the task. Outside of tokio's budget: a timer that is polled without budget
/// left registers nobody, and it is not polled again before it fires.
fn register(timer: &mut Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
    pin!(tokio::task::unconstrained(timer.as_mut())).poll(cx)
}

/// Drives a connection under its deadlines and the phases of the shutdown.
struct Watch<'a> {
    pace: &'a Pace,
    limits: &'a Limits,
    shutdown: &'a Shutdown,
    metrics: &'a ListenerMetrics,
}

impl Watch<'_> {
    /// Polls `connection` until it ends.
    ///
    /// The timer and the shutdown are polled only to register the task with them, not with every
    /// wake-up: in the usual case a request costs two atomic loads here.
    async fn drive<C>(&self, mut connection: Pin<&mut C>, mut timer: Pin<&mut Sleep>) -> End
    where
        C: GracefulConnection<Error = hyper::Error>,
    {
        let mut changed = pin!(self.shutdown.changed());
        let mut seen = None;
        let mut registered = false;
        let mut closing: Option<Instant> = None;
        std::future::poll_fn(|cx| {
            let phase = self.shutdown.phase();
            if seen != Some(phase) {
                if phase == Phase::Aborting {
                    return Poll::Ready(End::Aborted(self.pace.in_flight()));
                }
                if phase >= Phase::Leaving {
                    self.pace.leave();
                }
                if phase == Phase::Draining && closing.is_none() {
                    closing = Some(Instant::now());
                    connection.as_mut().graceful_shutdown();
                }
                seen = Some(phase);
                changed.set(self.shutdown.changed());
                if changed.as_mut().poll(cx).is_ready() || self.shutdown.phase() != phase {
                    cx.waker().wake_by_ref();
                }
            }
            if !registered {
                registered = true;
                let latest = Instant::now() + Pace::latest_look(self.limits, closing);
                if latest < timer.deadline() {
                    timer.as_mut().reset(latest);
                }
                let _ = register(&mut timer, cx);
            }
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(End::Closed(result));
            }
            while timer.is_elapsed() || closing.is_some() || self.pace.is_pressed() {
                let (due, overdue) = self.pace.deadline(self.limits, closing);
                let now = Instant::now();
                if due > now {
                    let due = due.min(now + Pace::latest_look(self.limits, closing));
                    if timer.is_elapsed() || due < timer.deadline() {
                        timer.as_mut().reset(due);
                    }
                    // Registers the task with the new deadline; changes nothing if it is the old.
                    if register(&mut timer, cx).is_pending() {
                        break;
                    }
                    continue;
                }
                match overdue {
                    Some(Overdue::Stalled(refusal)) => return Poll::Ready(End::Stalled(refusal)),
                    Some(Overdue::Lingered) => return Poll::Ready(End::Lingered),
                    Some(Overdue::Idle) => {
                        self.metrics.count_refused(Refusal::Idle);
                        closing = Some(Instant::now());
                        connection.as_mut().graceful_shutdown();
                        if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                            return Poll::Ready(End::Closed(result));
                        }
                    }
                    None => {}
                }
            }
            Poll::Pending
        })
        .await
    }
}
