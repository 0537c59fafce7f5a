//! What reading and re-enveloping a message costs, in nanoseconds a message.
//!
//! `cargo run --release -p mcp-ultra-protocol --example envelope_cost` prints one line for each
//! size and step: the least of many short rounds, since everything else on the machine only adds.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use mcp_ultra_protocol::{
    Body, ByteString, Id, Message, Outcome,
    json::{self, Object},
};

const ROUNDS: usize = 300;
const ROUND: Duration = Duration::from_micros(500);

fn main() {
    println!(
        "{:<32}{:>10}{:>12}{:>14}",
        "message", "bytes", "parse ns", "re-envelop ns"
    );
    for size in [64, 4 * 1024, 256 * 1024] {
        for (shape, text) in [
            ("one string", text(size)),
            ("prose", prose(size)),
            ("many values", values(size)),
        ] {
            let call = call(&text);
            report(&format!("tools/call, {shape}"), &call, re_envelope);
            let response = response(&text);
            report(&format!("response, {shape}"), &response, re_envelope);
        }
    }
}

/// A payload of one string.
fn text(size: usize) -> String {
    json::quote(&"The quick brown fox, ".repeat(size / 21 + 1)[..size])
}

/// A payload of one string as people write it: quotes, line ends, accents.
fn prose(size: usize) -> String {
    let line = "Order \"PED-417\" has left the warehouse; solicitação registrada, aguardando.\n";
    let mut text = line.repeat(size / line.len() + 1);
    let mut end = size;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    json::quote(&text)
}

/// A payload of many small values.
fn values(size: usize) -> String {
    let record = r#"{"id":12345,"name":"Ana","tags":["a","b"],"on":true,"x":1.5e3},"#;
    let mut list = record.repeat(size / record.len() + 1);
    list.pop();
    format!("[{list}]")
}

fn call(payload: &str) -> Bytes {
    format!(
        concat!(
            r#"{{"jsonrpc":"2.0","id":17,"method":"tools/call","params":{{"name":"echo","#,
            r#""arguments":{{"payload":{}}},"#,
            r#""_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","#,
            r#""io.modelcontextprotocol/clientInfo":{{"name":"bench","version":"1"}},"#,
            r#""io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
        ),
        payload
    )
    .into()
}

fn response(payload: &str) -> Bytes {
    format!(
        concat!(
            r#"{{"jsonrpc":"2.0","id":17,"result":{{"resultType":"complete","#,
            r#""content":[{{"type":"text","text":"ok"}}],"structuredContent":{{"payload":{}}}}}}}"#
        ),
        payload
    )
    .into()
}

/// What the gateway does to a message on its way, at the least: a request gets another id and an
/// edited `params`, a response another id.
fn re_envelope(message: &Message) -> ByteString {
    let id = Id::from(99);
    match message {
        Message::Request(request) => {
            let params = request.params.as_deref().and_then(|params| {
                let object = Object::parse(params).ok()?;
                Some(object.edit().set_str("name", "other").finish())
            });
            request.rewritten(id, params.as_deref()).text
        }
        Message::Response(response) => match &response.outcome {
            Outcome::Result(_) | Outcome::Error(_) => response.with_id(&id).text,
        },
        Message::Notification(notification) => notification.text.clone(),
    }
}

fn report(name: &str, bytes: &Bytes, step: impl Fn(&Message) -> ByteString) {
    let Ok(Body::Single(message)) = Body::parse(bytes.clone()) else {
        eprintln!("{name}: does not parse");
        return;
    };
    let parse = least(|| {
        let _ = black_box(Body::parse(black_box(bytes.clone())));
    });
    let rewrite = least(|| {
        black_box(step(black_box(&message)));
    });
    println!("{name:<32}{:>10}{parse:>12}{rewrite:>14}", bytes.len());
}

/// The least time of one run, in nanoseconds.
fn least(run: impl Fn()) -> u128 {
    let start = Instant::now();
    run();
    let runs = (ROUND.as_nanos() / start.elapsed().as_nanos().max(1)).clamp(1, 1000);
    let round = || {
        let start = Instant::now();
        (0..runs).for_each(|_| run());
        start.elapsed().as_nanos() / runs
    };
    (0..ROUNDS).map(|_| round()).min().unwrap_or_default()
}
