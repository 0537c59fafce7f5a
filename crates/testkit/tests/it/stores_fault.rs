//! The network that breaks, in front of a server that sends back what it gets.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use mcp_ultra_testkit::stores::Fault;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// Long enough for anything that passes at all.
const LIMIT: Duration = Duration::from_secs(10);
/// Long enough for what passes at once.
const QUIET: Duration = Duration::from_millis(300);

async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
        }
    });
    address
}

/// What comes back for one byte.
async fn ask(stream: &mut TcpStream, byte: u8) -> io::Result<u8> {
    stream.write_u8(byte).await?;
    stream.read_u8().await
}

#[tokio::test]
async fn what_clients_send_is_counted() {
    let fault = Fault::before(echo().await).expect("a proxy");
    assert_eq!(fault.asked(), 0);
    for connection in 0..2 {
        let mut stream = TcpStream::connect(fault.address()).await.expect("there");
        for byte in 0..5 {
            let answer = timeout(LIMIT, ask(&mut stream, byte)).await;
            assert_eq!(answer.expect("in time").expect("an answer"), byte);
            assert_eq!(fault.asked(), connection * 5 + usize::from(byte) + 1);
        }
    }
}

#[tokio::test]
async fn a_network_that_works_carries_much_and_ends_in_order() {
    let fault = Fault::before(echo().await).expect("a proxy");
    let mut stream = TcpStream::connect(fault.address()).await.expect("there");
    let (mut from, mut to) = stream.split();
    // More than all buffers between take.
    let sent = vec![7_u8; 16 << 20];
    let mut received = Vec::new();
    let both = async {
        tokio::join!(
            async {
                to.write_all(&sent).await.expect("sent");
                to.shutdown().await.expect("ended");
            },
            from.read_to_end(&mut received),
        )
    };
    timeout(LIMIT, both).await.expect("in time").1.expect("all");
    assert_eq!(received.len(), sent.len());
}

#[tokio::test]
async fn a_slow_network_delays_connections_that_are_there_each_way() {
    let fault = Fault::before(echo().await).expect("a proxy");
    let mut stream = TcpStream::connect(fault.address()).await.expect("there");
    ask(&mut stream, 1).await.expect("an answer");
    let delay = Duration::from_millis(200);
    fault.slow(delay);
    let begun = Instant::now();
    assert_eq!(ask(&mut stream, 2).await.expect("an answer"), 2);
    assert!(begun.elapsed() >= 2 * delay, "{:?}", begun.elapsed());
    // Late, but not one after the other.
    let begun = Instant::now();
    for byte in 0..20 {
        stream.write_u8(byte).await.expect("sent");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for byte in 0..20 {
        assert_eq!(stream.read_u8().await.expect("an answer"), byte);
    }
    assert!(begun.elapsed() < 5 * delay, "{:?}", begun.elapsed());
    fault.heal();
    let begun = Instant::now();
    ask(&mut stream, 3).await.expect("an answer");
    assert!(begun.elapsed() < delay, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_lost_network_says_nothing_and_delivers_when_it_is_back() {
    let fault = Fault::before(echo().await).expect("a proxy");
    let mut old = TcpStream::connect(fault.address()).await.expect("there");
    ask(&mut old, 1).await.expect("an answer");
    fault.lost();
    let mut new = TcpStream::connect(fault.address()).await.expect("accepted");
    for stream in [&mut old, &mut new] {
        let silent = timeout(QUIET, ask(stream, 2)).await;
        assert!(silent.is_err(), "{silent:?}");
    }
    fault.heal();
    for mut stream in [old, new] {
        let late = timeout(LIMIT, stream.read_u8()).await.expect("in time");
        assert_eq!(late.expect("an answer"), 2);
    }
}

#[tokio::test]
async fn a_cut_network_ends_connections_and_refuses_new_ones_until_it_heals() {
    let fault = Fault::before(echo().await).expect("a proxy");
    let mut stream = TcpStream::connect(fault.address()).await.expect("there");
    ask(&mut stream, 1).await.expect("an answer");
    fault.cut();
    let ended = timeout(LIMIT, stream.read_u8()).await.expect("in time");
    assert_eq!(
        ended.expect_err("closed").kind(),
        io::ErrorKind::UnexpectedEof
    );
    let refused = TcpStream::connect(fault.address()).await;
    let refused = refused.expect_err("refused").kind();
    assert_eq!(refused, io::ErrorKind::ConnectionRefused);
    fault.heal();
    let mut stream = TcpStream::connect(fault.address()).await.expect("there");
    assert_eq!(ask(&mut stream, 2).await.expect("an answer"), 2);
}

#[tokio::test]
async fn a_reset_reaches_what_is_there_and_not_what_comes() {
    let fault = Fault::before(echo().await).expect("a proxy");
    let mut stream = TcpStream::connect(fault.address()).await.expect("there");
    ask(&mut stream, 1).await.expect("an answer");
    fault.reset();
    let ended = timeout(LIMIT, stream.read_u8()).await.expect("in time");
    assert_eq!(
        ended.expect_err("reset").kind(),
        io::ErrorKind::ConnectionReset
    );
    let mut stream = TcpStream::connect(fault.address()).await.expect("there");
    assert_eq!(ask(&mut stream, 2).await.expect("an answer"), 2);
}
