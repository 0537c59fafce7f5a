//! A listener in this process, with a service that shows what it can, and raw clients for it.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Either, Full};
use hyper::{body::Incoming, service::service_fn};
use mcp_ultra_edge::{
    listener::{Listener, ListenerConfig, ListenerMetrics, Peer},
    shutdown::Shutdown,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The longest that any single step of a test may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) metrics: Arc<ListenerMetrics>,
    pub(crate) shutdown: Shutdown,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.drain();
    }
}

/// Sends one event, then nothing, for as long as the client listens.
pub(crate) struct OpenStream {
    greeted: bool,
}

impl Body for OpenStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.greeted {
            return Poll::Pending;
        }
        self.greeted = true;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"data: {}\n\n")))))
    }
}

type Answer = Either<Full<Bytes>, OpenStream>;

async fn answer(request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    let peer = request
        .extensions()
        .get::<Peer>()
        .cloned()
        .expect("the listener sets the peer");
    let body = match request.uri().path() {
        "/stream" => return Ok(Response::new(Either::Right(OpenStream { greeted: false }))),
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(400)).await;
            Bytes::from_static(b"slow")
        }
        "/large" => Bytes::from(vec![b'x'; 64 * 1024 * 1024]),
        "/peer" => Bytes::from(peer.addr.to_string()),
        "/early" => Bytes::from_static(b"no need to read on"),
        _ => match request.into_body().collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => Bytes::new(),
        },
    };
    Ok(Response::new(Either::Left(Full::new(body))))
}

/// Starts a server on a free port with what `adjust` makes of the defaults.
pub(crate) fn start(adjust: impl FnOnce(&mut ListenerConfig)) -> Server {
    let mut config = ListenerConfig::new(([127, 0, 0, 1], 0).into());
    adjust(&mut config);
    let listener = Listener::bind(config).unwrap();
    let (address, metrics) = (listener.local_addr(), listener.metrics());
    let shutdown = Shutdown::new();
    tokio::spawn(listener.serve(service_fn(answer), shutdown.clone(), None));
    Server {
        address,
        metrics,
        shutdown,
    }
}

/// A client that sends exactly the bytes it is told to.
pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// One request without a body, and its answer with a `content-length`.
    pub(crate) async fn get(&mut self, path: &str) -> String {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"))
            .await;
        self.answer().await
    }

    /// Reads one answer: up to the end of the body that its `content-length` announces.
    pub(crate) async fn answer(&mut self) -> String {
        let mut got = Vec::new();
        let complete = async {
            loop {
                if let Some(answer) = complete_answer(&got) {
                    return answer;
                }
                assert_ne!(
                    self.0.read_buf(&mut got).await.unwrap(),
                    0,
                    "closed: {got:?}"
                );
            }
        };
        tokio::time::timeout(PATIENCE, complete)
            .await
            .expect("an answer in time")
    }

    /// Reads until the server closes. A reset counts as closed.
    pub(crate) async fn until_closed(&mut self) -> String {
        let mut got = Vec::new();
        let read = async { while let Ok(1..) = self.0.read_buf(&mut got).await {} };
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("the server closes in time");
        String::from_utf8_lossy(&got).into_owned()
    }

    /// True if the connection is open and silent for a moment.
    pub(crate) async fn is_open(&mut self) -> bool {
        let mut byte = [0];
        let read = self.0.read(&mut byte);
        tokio::time::timeout(Duration::from_millis(50), read)
            .await
            .is_err()
    }
}

fn complete_answer(got: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(got);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))?;
    (body.len() >= length.parse().unwrap()).then(|| text.into_owned())
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn answers_know_their_peer_and_connections_are_kept() -> io::Result<()> {
    let server = start(|_| ());
    let mut client = Raw::connect(server.address).await;
    let own = client.0.local_addr()?.to_string();
    for _ in 0..3 {
        let answer = client.get("/peer").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with(&own), "{answer}");
    }
    assert_eq!(server.metrics.accepted(), 1);
    assert_eq!(server.metrics.open(), 1);
    drop(client);
    eventually("the connection is gone", || server.metrics.open() == 0).await;
    Ok(())
}
