//! Connections, file descriptors and memory. What needs a process of its own runs in a child: this
//! test binary again, with one of the ignored tests below.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream as StdStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use mcp_ultra_edge::listener::Refusal;
use tokio::net::TcpSocket;

use crate::server::{Raw, eventually, start};

#[tokio::test]
async fn connections_over_the_limit_are_reset_and_places_are_free_again_later() {
    let server = start(|config| config.max_connections = 2);
    let mut first = Raw::connect(server.address).await;
    let mut second = Raw::connect(server.address).await;
    first.get("/").await;
    second.get("/").await;
    assert_eq!(Raw::connect(server.address).await.until_closed().await, "");
    assert_eq!(server.metrics.refused(Refusal::Connections), 1);
    first.get("/").await;

    drop(first);
    eventually("a place is free", || server.metrics.open() == 1).await;
    assert!(
        Raw::connect(server.address)
            .await
            .get("/")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
}

#[tokio::test]
async fn one_client_cannot_take_all_the_places() {
    let server = start(|config| config.max_connections_per_client = 2);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = Raw::connect(server.address).await;
        client.get("/").await;
        held.push(client);
    }
    assert_eq!(Raw::connect(server.address).await.until_closed().await, "");
    assert_eq!(server.metrics.refused(Refusal::ConnectionsPerClient), 1);

    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
    let mut other = Raw(socket.connect(server.address).await.unwrap());
    assert!(other.get("/peer").await.contains("127.0.0.2:"));
}

/// Runs one of the ignored tests below in a child that may open `descriptors` files.
fn child(test: &str, descriptors: u32) -> Child {
    let command = format!(
        "ulimit -n {descriptors} && exec \"$0\" --exact resources::{test} --ignored --nocapture"
    );
    Command::new("sh")
        .args(["-c", &command])
        .arg(std::env::current_exe().unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn running_out_of_file_descriptors_neither_spins_nor_ends_the_listener() {
    let output = child("starved_child", 40).wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("recovered"),
        "{said}"
    );
}

#[tokio::test]
#[ignore = "the child of running_out_of_file_descriptors_neither_spins_nor_ends_the_listener"]
async fn starved_child() {
    let server = start(|_| ());
    Raw::connect(server.address).await.get("/").await;
    eventually("closed", || server.metrics.open() == 0).await;
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    taken.pop();
    let mut client = Raw::connect(server.address).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let errors = server.metrics.accept_errors();
    assert!(
        (3..=10).contains(&errors),
        "{errors} attempts in half a second"
    );
    taken.truncate(taken.len() / 2);
    assert!(client.get("/").await.starts_with("HTTP/1.1 200 "));
    println!("recovered");
}

const STREAMS: usize = 2_000;
/// The product as a whole may take 30 KB for an open stream; this is what the edge may take of it.
const BYTES_PER_STREAM: usize = 15 * 1024;

#[test]
fn two_thousand_open_streams_cost_little_memory() {
    let output = child("many_streams_child", 8192)
        .wait_with_output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("bytes per stream"),
        "{said}"
    );
    println!("{said}");
}

#[test]
#[ignore = "the child of two_thousand_open_streams_cost_little_memory"]
fn many_streams_child() {
    let mut server = child("server_child", 8192);
    let mut said = BufReader::new(server.stdout.take().unwrap());
    let address = listening_address(&mut said);
    let open = |count: usize| -> Vec<StdStream> { (0..count).map(|_| open(address)).collect() };

    // What the first connections make the process set up once is not the price of a stream.
    let _warm = open(10);
    let before = resident_bytes(server.id());
    let streams = open(STREAMS);
    let after = resident_bytes(server.id());
    let each = after.saturating_sub(before) / STREAMS;
    println!("{each} bytes per stream ({before} to {after} for {STREAMS})");
    assert!(each <= BYTES_PER_STREAM, "{each}");

    drop(streams);
    drop(server.stdin.take());
    assert!(server.wait().unwrap().success());
}

#[tokio::test]
#[ignore = "the child of many_streams_child"]
async fn server_child() {
    let server = start(|_| ());
    println!("listening {}", server.address);
    tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]))
        .await
        .unwrap()
        .unwrap();
}

fn listening_address(said: &mut impl BufRead) -> SocketAddr {
    loop {
        let mut line = String::new();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "the server ended");
        if let Some((_, address)) = line.split_once("listening ") {
            return address.trim().parse().unwrap();
        }
    }
}

/// Opens a response stream and reads its first event.
fn open(address: SocketAddr) -> StdStream {
    let mut stream = StdStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(crate::server::PATIENCE))
        .unwrap();
    let request = "GET /stream HTTP/1.1\r\nhost: gateway.example\r\naccept: text/event-stream\r\n\
                   user-agent: test\r\nmcp-protocol-version: 2026-07-28\r\n\
                   mcp-method: subscriptions/listen\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut got = Vec::new();
    while !got.ends_with(b"data: {}\n\n\r\n") {
        let mut buffer = [0; 512];
        let read = stream.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "closed");
        got.extend(&buffer[..read]);
    }
    stream
}

fn resident_bytes(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim()
        .trim_end_matches(" kB")
        .parse::<usize>()
        .unwrap()
        * 1024
}
