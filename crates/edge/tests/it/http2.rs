//! HTTP/2 with prior knowledge, frame by frame where a client has to misbehave (RFC 9113).

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mcp_ultra_edge::{listener::Refusal, shutdown::Drained};
use tokio::{io::AsyncReadExt, net::TcpStream, task::JoinHandle};

use crate::server::{PATIENCE, Raw, eventually, start};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM_AND_HEADERS: u8 = 5;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A GET of `path`, its fields as HPACK literals without indexing (RFC 7541 section 6.2.2).
fn get(stream: u32, path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x01, 4];
    block.extend(b"test");
    block.extend([0x04, u8::try_from(path.len()).unwrap()]);
    block.extend(path.as_bytes());
    frame(HEADERS, END_STREAM_AND_HEADERS, stream, &block)
}

async fn connect_raw(address: SocketAddr) -> Raw {
    let mut client = Raw::connect(address).await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    client.send(frame(SETTINGS, 0, 0, &[])).await;
    client
}

impl Raw {
    async fn frame(&mut self) -> Option<Frame> {
        let read = async {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            Some(Frame {
                kind: head[3],
                flags: head[4],
                stream,
                payload,
            })
        };
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("a frame in time")
    }

    async fn frame_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.frame().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }
}

fn error_code(frame: &Frame, offset: usize) -> u32 {
    u32::from_be_bytes(frame.payload[offset..offset + 4].try_into().unwrap())
}

async fn connect(address: SocketAddr) -> (SendRequest<Empty<Bytes>>, JoinHandle<()>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    (sender, tokio::spawn(async move { drop(connection.await) }))
}

fn request(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://test{path}"))
        .body(Empty::new())
        .unwrap()
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let server = start(|_| ());
    let (mut sender, _connection) = connect(server.address).await;
    for _ in 0..3 {
        let answer = sender.send_request(request("/peer")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(body.starts_with(b"127.0.0.1:"));
    }
    assert_eq!(server.metrics.accepted(), 1);
}

#[tokio::test]
async fn streams_over_the_limit_are_refused() {
    let server = start(|config| config.http2_max_streams = 2);
    let mut client = connect_raw(server.address).await;
    let settings = client.frame_of(SETTINGS).await.unwrap();
    assert!(
        settings.payload.chunks(6).any(|s| s == [0, 3, 0, 0, 0, 2]),
        "the limit is announced"
    );
    for stream in [1, 3, 5] {
        client.send(get(stream, "/stream")).await;
    }
    let reset = client.frame_of(RST_STREAM).await.unwrap();
    assert_eq!((reset.stream, error_code(&reset, 0)), (5, REFUSED_STREAM));
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let server = start(|_| ());
    let mut client = connect_raw(server.address).await;
    let mut burst = Vec::new();
    for stream in (1..1000).step_by(2) {
        burst.extend(get(stream, "/slow"));
        burst.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    client.send(burst).await;
    let goaway = client.frame_of(GOAWAY).await.unwrap();
    assert_eq!(error_code(&goaway, 4), ENHANCE_YOUR_CALM);
    client.until_closed().await;
    eventually("gone", || server.metrics.open() == 0).await;
}

#[tokio::test]
async fn header_lists_over_the_limit_are_answered_431() {
    let server = start(|config| {
        config.max_header_bytes = 4_000;
        config.max_headers = 20;
    });
    let (mut sender, _connection) = connect(server.address).await;
    let mut large = request("/");
    large
        .headers_mut()
        .insert("x", "v".repeat(3_000).parse().unwrap());
    assert_eq!(
        sender.send_request(large.clone()).await.unwrap().status(),
        StatusCode::OK
    );
    large
        .headers_mut()
        .insert("y", "v".repeat(1_000).parse().unwrap());
    let refused = sender.send_request(large).await;
    assert!(
        refused.is_ok_and(|answer| answer.status() == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
    );

    let mut many = request("/");
    for n in 0..21 {
        many.headers_mut()
            .append("x", n.to_string().parse().unwrap());
    }
    let refused = sender.send_request(many).await.unwrap();
    assert_eq!(
        refused.status(),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    );
    assert_eq!(
        server.metrics.refused(Refusal::HeadersTooLarge),
        1,
        "the list of many fields"
    );
}

#[tokio::test]
async fn a_peer_that_does_not_answer_pings_is_given_up() {
    let server = start(|config| {
        config.http2_keep_alive_interval = Duration::from_millis(100);
        config.http2_keep_alive_timeout = Duration::from_millis(200);
    });
    let mut client = connect_raw(server.address).await;
    client.send(get(1, "/stream")).await;
    let ping = client.frame_of(PING).await.unwrap();
    assert_eq!((ping.flags, ping.payload.len()), (0, 8));
    client.until_closed().await;
    eventually("gone", || server.metrics.open() == 0).await;
}

#[tokio::test]
async fn pings_do_not_keep_an_idle_connection_and_it_is_told_to_go_away() {
    let server = start(|config| config.idle_timeout = Duration::from_millis(400));
    let mut client = connect_raw(server.address).await;
    client.send(get(1, "/peer")).await;
    assert_eq!(
        client.frame_of(DATA).await.map_or(1, |frame| frame.stream),
        1
    );
    let pinging = async {
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if server.metrics.refused(Refusal::Idle) == 1 {
                return true;
            }
        }
        false
    };
    client.send(frame(PING, 0, 0, &[7; 8])).await;
    assert!(pinging.await, "closed as idle");
    assert!(client.frame_of(GOAWAY).await.is_some());
    client.until_closed().await;
}

#[tokio::test]
async fn draining_says_goaway_and_finishes_what_is_in_flight() {
    let server = start(|_| ());
    let (mut sender, connection) = connect(server.address).await;
    let slow = tokio::spawn(sender.send_request(request("/slow")));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let drained = server.shutdown.finish(PATIENCE).await;
    assert_eq!(drained, Drained::default());
    let answer = slow.await.unwrap().unwrap();
    assert_eq!(
        answer.into_body().collect().await.unwrap().to_bytes(),
        "slow"
    );
    tokio::time::timeout(PATIENCE, connection)
        .await
        .unwrap()
        .unwrap();
    assert!(sender.ready().await.is_err(), "no new requests on it");
}

#[tokio::test]
async fn streams_left_at_the_deadline_are_counted_one_by_one() {
    let server = start(|_| ());
    let (mut sender, _connection) = connect(server.address).await;
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(sender.send_request(request("/stream")).await.unwrap());
    }
    let drained = server.shutdown.finish(Duration::from_millis(200)).await;
    assert_eq!(
        drained,
        Drained {
            aborted_connections: 1,
            aborted_requests: 4
        }
    );
}
