//! The upstream and the load generator against each other, as processes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

const BENCH: &str = env!("CARGO_BIN_EXE_mcp-ultra-bench");

/// A running upstream, ended when dropped.
struct Upstream {
    child: Child,
    port: u16,
}

impl Upstream {
    fn start(options: &[&str]) -> Self {
        let mut child = Command::new(BENCH)
            .args(["upstream", "--until-stdin-closes"])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let port = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        Self { child, port }
    }

    fn load(&self, options: &[&str]) -> (Output, Value) {
        let output = Command::new(BENCH)
            .args([
                "load",
                "--connections=4",
                "--duration=0.3",
                "--warm-up=0.05",
            ])
            .arg(format!("--port={}", self.port))
            .args(options)
            .output()
            .unwrap();
        let printed = serde_json::from_slice(&output.stdout).unwrap();
        (output, printed)
    }

    /// Posts a message and gives status line and body, read until the connection closes.
    fn post(&self, headers: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(
            stream,
            "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_size_and_form_in_both_eras_without_an_error() {
    let upstream = Upstream::start(&["--sessions"]);
    for era in ["--era=modern", "--era=legacy"] {
        for form in ["--form=json", "--form=sse"] {
            for size in ["--size=64", "--size=4k", "--size=256k"] {
                let (output, printed) = upstream.load(&[era, form, size]);
                assert!(output.status.success(), "{era} {form} {size}: {printed}");
                assert_eq!(printed["errors"], 0);
                assert_eq!(printed["answered_in_other_form"], 0);
                assert!(printed["requests"].as_u64().unwrap() > 0);
                assert!(printed["p50_us"].as_f64().unwrap() <= printed["p99_us"].as_f64().unwrap());
            }
        }
    }
}

#[test]
fn a_refused_era_is_counted_and_fails_the_load() {
    let upstream = Upstream::start(&["--era=modern"]);
    let (output, printed) = upstream.load(&["--era=legacy"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(printed["errors"].as_u64().unwrap() > 0);
    assert!(
        printed["first_error"].as_str().unwrap().contains("400"),
        "{printed}"
    );
}

#[test]
fn nobody_listening_is_counted_and_fails_the_load() {
    let mut upstream = Upstream::start(&[]);
    upstream.child.kill().unwrap();
    upstream.child.wait().unwrap();
    let (output, printed) = upstream.load(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(printed["requests"], 0);
    assert!(printed["errors"].as_u64().unwrap() >= 4);
}

#[test]
fn messages_get_the_status_of_their_era() {
    let upstream = Upstream::start(&["--sessions"]);
    let modern = "MCP-Protocol-Version: 2026-07-28\r\n";
    for (headers, body, status, part) in [
        (
            modern,
            r#"{"jsonrpc":"2.0","id":"a","method":"server/discover"}"#,
            200,
            "\"id\":\"a\"",
        ),
        (
            modern,
            r#"{"jsonrpc":"2.0","id":1,"method":"no/such"}"#,
            404,
            "-32601",
        ),
        (
            "",
            r#"{"jsonrpc":"2.0","id":1,"method":"no/such"}"#,
            200,
            "-32601",
        ),
        (
            "",
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            202,
            "",
        ),
        (
            "",
            r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#,
            200,
            "mcp-session-id",
        ),
        (
            "",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
            200,
            "\"result\":{}",
        ),
        (
            "",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#,
            400,
            "session",
        ),
        ("", "[", 400, "-32700"),
    ] {
        let answer = upstream.post(headers, body);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{body}: {answer}"
        );
        assert!(answer.contains(part), "{body}: {answer}");
    }
}

#[test]
fn the_upstream_ends_with_its_starter() {
    let mut upstream = Upstream::start(&[]);
    drop(upstream.child.stdin.take());
    assert!(upstream.child.wait().unwrap().success());
}
