//! The phases of a shutdown.

use std::time::{Duration, Instant};

use mcp_ultra_edge::shutdown::Drained;
use tokio::net::TcpStream;

use crate::server::{PATIENCE, Raw, eventually, start};

#[tokio::test]
async fn draining_closes_idle_connections_finishes_the_rest_and_accepts_no_more() {
    let server = start(|_| ());
    let mut idle = Raw::connect(server.address).await;
    idle.get("/").await;
    let mut silent = Raw::connect(server.address).await;
    let mut busy = Raw::connect(server.address).await;
    busy.send("GET /slow HTTP/1.1\r\nhost: test\r\n\r\n").await;
    eventually("all are accepted", || server.metrics.open() == 3).await;
    tokio::time::sleep(Duration::from_millis(50)).await;

    let start = Instant::now();
    let finishing = tokio::spawn({
        let shutdown = server.shutdown.clone();
        async move { shutdown.finish(PATIENCE).await }
    });
    assert_eq!(idle.until_closed().await, "");
    assert_eq!(silent.until_closed().await, "");
    assert!(
        start.elapsed() < Duration::from_millis(250),
        "at once: {:?}",
        start.elapsed()
    );
    drop((idle, silent));
    assert!(
        TcpStream::connect(server.address).await.is_err(),
        "no more connections"
    );

    let answer = busy.until_closed().await;
    assert!(
        answer.ends_with("slow") && answer.contains("connection: close\r\n"),
        "{answer}"
    );
    drop(busy);
    assert_eq!(finishing.await.unwrap(), Drained::default());
}

/// A request on a connection that was idle and is closed at that moment is lost, so clients are asked
/// away before.
#[tokio::test]
async fn a_listener_that_is_about_to_drain_serves_all_and_ends_each_connection_with_an_answer() {
    let server = start(|_| ());
    let mut kept = Raw::connect(server.address).await;
    let answer = kept.get("/").await;
    assert!(!answer.contains("connection: close"), "{answer}");
    let mut busy = Raw::connect(server.address).await;
    busy.send("GET /slow HTTP/1.1\r\nhost: test\r\n\r\n").await;
    eventually("both are accepted", || server.metrics.open() == 2).await;
    tokio::time::sleep(Duration::from_millis(50)).await;

    server.shutdown.leave();
    assert!(kept.is_open().await, "nobody has answered on it");
    let mut new = Raw::connect(server.address).await;
    for client in [&mut kept, &mut new] {
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
        let answer = client.until_closed().await;
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("connection: close\r\n"),
            "{answer}"
        );
    }
    let answer = busy.until_closed().await;
    assert!(
        answer.ends_with("slow") && answer.contains("connection: close\r\n"),
        "{answer}"
    );
    drop((kept, new, busy));
    assert_eq!(server.shutdown.finish(PATIENCE).await, Drained::default());
}

#[tokio::test]
async fn what_is_left_at_the_deadline_is_aborted_and_counted() {
    let server = start(|_| ());
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Raw::connect(server.address).await;
        client
            .send("GET /stream HTTP/1.1\r\nhost: test\r\n\r\n")
            .await;
        clients.push(client);
    }
    // Idle ones that ignore the close are nobody's loss.
    let mut idle = Raw::connect(server.address).await;
    idle.get("/").await;
    eventually("all are accepted", || server.metrics.open() == 4).await;
    tokio::time::sleep(Duration::from_millis(50)).await;

    let start = Instant::now();
    let drained = server.shutdown.finish(Duration::from_millis(300)).await;
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(300) && took < Duration::from_secs(2),
        "{took:?}"
    );
    assert_eq!(drained.aborted_connections, 3);
    assert_eq!(drained.aborted_requests, 3);
    assert!(!drained.is_clean());
    assert_eq!(server.metrics.open(), 0);
    for mut client in clients {
        assert!(client.until_closed().await.contains("data: {}"));
    }
}

#[tokio::test]
async fn an_idle_client_that_ignores_the_close_delays_the_end_by_two_seconds_at_most() {
    let server = start(|_| ());
    let mut idle = Raw::connect(server.address).await;
    idle.get("/").await;
    let start = Instant::now();
    let drained = server.shutdown.finish(PATIENCE).await;
    assert!(drained.is_clean());
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
}
