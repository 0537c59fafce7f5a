//! What a request header may hold, and what happens to one that breaks the rules.

use mcp_ultra_edge::listener::Refusal;

use crate::server::{Raw, eventually, start};

fn with_headers(count: usize) -> String {
    let fields: Vec<_> = (1..count).map(|n| format!("x-{n}: v")).collect();
    format!(
        "GET / HTTP/1.1\r\nhost: test\r\n{}\r\n\r\n",
        fields.join("\r\n")
    )
}

#[tokio::test]
async fn as_many_header_fields_as_allowed_and_not_one_more() {
    for limit in [20, 100, 150] {
        let server = start(|config| config.max_headers = limit);
        let mut client = Raw::connect(server.address).await;
        client.send(with_headers(limit)).await;
        assert!(
            client.answer().await.starts_with("HTTP/1.1 200 "),
            "limit {limit}"
        );

        client.send(with_headers(limit + 1)).await;
        let answer = client.until_closed().await;
        assert!(
            answer.starts_with("HTTP/1.1 431 "),
            "limit {limit}: {answer}"
        );
        assert!(
            answer.contains("connection: close\r\n"),
            "limit {limit}: {answer}"
        );
        drop(client);
        eventually("counted", || {
            server.metrics.refused(Refusal::HeadersTooLarge) == 1
        })
        .await;
    }
}

#[tokio::test]
async fn header_bytes_over_the_limit_are_answered_431_and_the_answer_arrives() {
    for limit in [2_000_u32, 40_000] {
        let server = start(|config| config.max_header_bytes = limit);
        let frame = "GET / HTTP/1.1\r\nhost: test\r\nx: \r\n\r\n".len();
        let request = |value: usize| {
            format!(
                "GET / HTTP/1.1\r\nhost: test\r\nx: {}\r\n\r\n",
                "v".repeat(value)
            )
        };
        let fits = limit as usize - frame;
        let mut client = Raw::connect(server.address).await;
        client.send(request(fits)).await;
        assert!(
            client.answer().await.starts_with("HTTP/1.1 200 "),
            "limit {limit}"
        );

        // Far over it: most of it is unread when the answer is sent, which must arrive all the same.
        client.send(request(fits + 1)).await;
        assert!(
            client.until_closed().await.starts_with("HTTP/1.1 431 "),
            "limit {limit}"
        );
        let mut client = Raw::connect(server.address).await;
        client.send(request(1_000_000)).await;
        assert!(
            client.until_closed().await.starts_with("HTTP/1.1 431 "),
            "limit {limit}"
        );
        eventually("counted", || {
            server.metrics.refused(Refusal::HeadersTooLarge) == 2
        })
        .await;
    }
}

#[tokio::test]
async fn malformed_headers_are_answered_400_and_the_connection_is_closed() {
    let cases: [(&str, &[u8]); 9] = [
        (
            "obs-fold",
            b"GET / HTTP/1.1\r\nhost: test\r\nx: a\r\n b\r\n\r\n",
        ),
        (
            "NUL in a value",
            b"GET / HTTP/1.1\r\nhost: test\r\nx: a\0b\r\n\r\n",
        ),
        (
            "bare CR in a value",
            b"GET / HTTP/1.1\r\nhost: test\r\nx: a\rb\r\n\r\n",
        ),
        (
            "space before the colon",
            b"GET / HTTP/1.1\r\nhost: test\r\nx : a\r\n\r\n",
        ),
        ("no name", b"GET / HTTP/1.1\r\nhost: test\r\n: a\r\n\r\n"),
        (
            "two lengths",
            b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcde",
        ),
        (
            "a list of lengths",
            b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 4, 4\r\n\r\nabcd",
        ),
        (
            "a signed length",
            b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: +4\r\n\r\nabcd",
        ),
        (
            "chunked not last",
            b"POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        ),
    ];
    let server = start(|_| ());
    for (number, (name, bytes)) in cases.into_iter().enumerate() {
        let mut client = Raw::connect(server.address).await;
        client.send(bytes).await;
        let answer = client.until_closed().await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{name}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{name}: {answer}");
        drop(client);
        let counted = u64::try_from(number).unwrap() + 1;
        eventually("counted", || {
            server.metrics.refused(Refusal::Malformed) == counted
        })
        .await;
    }
}

/// RFC 9112 section 6.1: chunked wins, and the connection is closed after it, so nothing that a
/// front proxy took for the body is ever read as a second request.
#[tokio::test]
async fn a_length_beside_chunked_smuggles_no_second_request() {
    let server = start(|_| ());
    let chunked = "0\r\n\r\n";
    let smuggled = "GET /peer HTTP/1.1\r\nhost: test\r\n\r\n";
    let length = chunked.len() + smuggled.len();
    for fields in [
        format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n"),
        format!("transfer-encoding: chunked\r\ncontent-length: {length}\r\n"),
    ] {
        let mut client = Raw::connect(server.address).await;
        client
            .send(format!(
                "POST / HTTP/1.1\r\nhost: test\r\n{fields}\r\n{chunked}{smuggled}"
            ))
            .await;
        let answers = client.until_closed().await;
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
        assert!(answers.contains("connection: close\r\n"), "{answers}");
    }
}

#[tokio::test]
async fn equal_lengths_given_twice_are_one_length() {
    let server = start(|_| ());
    let mut client = Raw::connect(server.address).await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ncontent-length: 4\r\n\r\nabcd")
        .await;
    assert!(client.answer().await.ends_with("\r\n\r\nabcd"));
    assert!(
        client.get("/peer").await.starts_with("HTTP/1.1 200 "),
        "still in step"
    );
}

#[tokio::test]
async fn an_answer_before_the_whole_body_reaches_a_client_that_keeps_sending() {
    let server = start(|_| ());
    let mut client = Raw::connect(server.address).await;
    let body = vec![b'x'; 4 * 1024 * 1024];
    client
        .send(format!(
            "POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
            body.len()
        ))
        .await;
    client.send(body).await;
    assert!(client.until_closed().await.contains("no need to read on"));
}
