//! Time: slow headers, idle connections, clients that do not read.

use std::time::{Duration, Instant};

use mcp_ultra_edge::listener::{ListenerConfig, Refusal};

use crate::server::{Raw, eventually, start};

const HEADER: Duration = Duration::from_millis(300);
const IDLE: Duration = Duration::from_millis(900);
/// The same, less what clocks and timers may differ by.
const AT_LEAST_HEADER: Duration = Duration::from_millis(280);
const AT_LEAST_IDLE: Duration = Duration::from_millis(850);

fn short(config: &mut ListenerConfig) {
    config.header_timeout = HEADER;
    config.idle_timeout = IDLE;
}

/// Sends a byte of a header that never ends every 40 ms, and says how long that was possible.
async fn trickle(client: &mut Raw) -> Duration {
    let start = Instant::now();
    client.send("GET / HTTP/1.1\r\nx: ").await;
    for _ in 0..100 {
        if !client.is_open().await {
            break;
        }
        if tokio::io::AsyncWriteExt::write_all(&mut client.0, b"v")
            .await
            .is_err()
        {
            break;
        }
    }
    start.elapsed()
}

#[tokio::test]
async fn a_header_that_trickles_in_is_cut_off_by_total_time() {
    let server = start(short);
    let mut client = Raw::connect(server.address).await;
    let lasted = trickle(&mut client).await;
    assert!(lasted >= AT_LEAST_HEADER && lasted < IDLE, "{lasted:?}");
    eventually("counted", || {
        server.metrics.refused(Refusal::HeaderTimeout) == 1
    })
    .await;
}

#[tokio::test]
async fn so_is_one_on_a_connection_that_was_kept_alive() {
    let server = start(short);
    let mut client = Raw::connect(server.address).await;
    client.get("/").await;
    tokio::time::sleep(HEADER + Duration::from_millis(100)).await;
    let lasted = trickle(&mut client).await;
    assert!(lasted >= AT_LEAST_HEADER && lasted < IDLE, "{lasted:?}");
    eventually("counted", || {
        server.metrics.refused(Refusal::HeaderTimeout) == 1
    })
    .await;
    assert_eq!(server.metrics.refused(Refusal::Idle), 0);
}

#[tokio::test]
async fn a_connection_that_says_nothing_or_too_little_is_closed() {
    let server = start(short);
    for said in ["", "P", "PRI", "PRI * HTTP/2.0\r\n"] {
        let mut client = Raw::connect(server.address).await;
        let start = Instant::now();
        client.send(said).await;
        client.until_closed().await;
        let lasted = start.elapsed();
        assert!(
            lasted < IDLE + Duration::from_secs(3),
            "{said:?} {lasted:?}"
        );
    }
    eventually("all are gone", || server.metrics.open() == 0).await;
}

#[tokio::test]
async fn a_kept_connection_outlives_the_header_timeout_and_ends_with_the_idle_timeout() {
    let server = start(short);
    let mut client = Raw::connect(server.address).await;
    for _ in 0..2 {
        client.get("/").await;
        tokio::time::sleep(HEADER * 2).await;
        assert!(
            client.is_open().await,
            "idle for less than the idle timeout"
        );
    }
    client.get("/").await;
    let start = Instant::now();
    assert_eq!(client.until_closed().await, "", "closed in order");
    let lasted = start.elapsed();
    assert!(lasted > AT_LEAST_IDLE, "{lasted:?}");
    assert_eq!(server.metrics.refused(Refusal::Idle), 1);
    assert_eq!(server.metrics.refused(Refusal::HeaderTimeout), 0);
}

#[tokio::test]
async fn a_slow_answer_is_neither_idle_nor_a_slow_header() {
    let server = start(|config| {
        config.header_timeout = Duration::from_millis(100);
        config.idle_timeout = Duration::from_millis(200);
    });
    let mut client = Raw::connect(server.address).await;
    for _ in 0..2 {
        assert!(client.get("/slow").await.ends_with("slow"));
    }
    assert_eq!(server.metrics.accepted(), 1);
}

#[tokio::test]
async fn an_open_stream_lasts() {
    let server = start(short);
    let mut client = Raw::connect(server.address).await;
    client
        .send("GET /stream HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    tokio::time::sleep(IDLE * 2).await;
    assert_eq!(server.metrics.open(), 1);
    drop(client);
    eventually("the stream ends with its client", || {
        server.metrics.open() == 0
    })
    .await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let server = start(|config| config.write_timeout = Duration::from_millis(300));
    let mut client = Raw::connect(server.address).await;
    client
        .send("GET /large HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    eventually("counted", || {
        server.metrics.refused(Refusal::WriteTimeout) == 1
    })
    .await;
    eventually("gone", || server.metrics.open() == 0).await;
}

#[tokio::test]
async fn a_client_that_reads_slowly_is_not() {
    let server = start(|config| config.write_timeout = Duration::from_millis(400));
    let mut client = Raw::connect(server.address).await;
    client
        .send("GET /large HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    let mut buffer = vec![0; 1024 * 1024];
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1200) {
        let read = tokio::io::AsyncReadExt::read(&mut client.0, &mut buffer)
            .await
            .unwrap();
        assert_ne!(read, 0);
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    assert_eq!(server.metrics.refused(Refusal::WriteTimeout), 0);
}
