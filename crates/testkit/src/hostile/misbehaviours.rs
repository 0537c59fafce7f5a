//! The ways to go wrong: one value of one static slice each.

use std::{io, time::Duration};

use bytes::Bytes;
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::BoxFuture,
    stream::{self, Stream},
};
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};

use super::{Body, json_response, respond, status, with_body};

/// A way to go wrong.
pub struct Misbehaviour {
    /// The path of its endpoint, without the leading slash.
    pub path: &'static str,
    /// What its clients meet.
    pub description: &'static str,
    pub(super) answer: fn(Value) -> BoxFuture<'static, Response<Body>>,
}

/// Text of the huge result: ten mebibytes.
const HUGE: usize = 10 * 1024 * 1024;
/// Arrays in arrays of the deep result.
const DEPTH: usize = 100_000;
/// Between two pieces of the slow answers.
const TRICKLE: Duration = Duration::from_millis(20);

const fn misbehaviour(
    path: &'static str,
    description: &'static str,
    answer: fn(Value) -> BoxFuture<'static, Response<Body>>,
) -> Misbehaviour {
    Misbehaviour {
        path,
        description,
        answer,
    }
}

/// All of them.
pub static MISBEHAVIOURS: &[Misbehaviour] = &[
    misbehaviour(
        "garbage",
        "200 with bytes that are neither JSON nor UTF-8",
        |_| {
            now(respond(
                StatusCode::OK,
                "application/json",
                &b"\xff\xfe{{{\0not json"[..],
            ))
        },
    ),
    misbehaviour("empty", "200 with no body", |_| {
        now(respond(StatusCode::OK, "application/json", ""))
    }),
    misbehaviour("not-mcp", "200 with JSON that is no JSON-RPC", |_| {
        now(json_response(&json!({ "hello": "world" })))
    }),
    misbehaviour(
        "truncated",
        "200 with half a JSON message, whole as HTTP",
        |id| {
            let message = good(&id, "ok").to_string();
            let half = message[..message.len() / 2].to_owned();
            now(respond(StatusCode::OK, "application/json", half))
        },
    ),
    misbehaviour(
        "wrong-id",
        "a good result under an id that nobody asked for",
        |_| now(json_response(&good(&json!(987_654_321), "not yours"))),
    ),
    misbehaviour(
        "wrong-id-stream",
        "the same as an event, then the end",
        |_| {
            now(sse_then_end(
                &good(&json!(987_654_321), "not yours").to_string(),
            ))
        },
    ),
    misbehaviour(
        "two-answers",
        "two results for one id on one stream",
        |id| {
            let both = format!("{}\n\ndata: {}", good(&id, "first"), good(&id, "second"));
            now(sse_then_end(&both))
        },
    ),
    misbehaviour("huge", "a result of 10 MiB as JSON", |id| {
        now(json_response(&good(&id, &"x".repeat(HUGE))))
    }),
    misbehaviour("huge-stream", "a result of 10 MiB as one event", |id| {
        now(sse_then_end(&good(&id, &"x".repeat(HUGE)).to_string()))
    }),
    misbehaviour("deep", "a result of 100,000 nested arrays", |id| {
        let nested = format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":{nested}}}}}"#);
        now(respond(StatusCode::OK, "application/json", body))
    }),
    misbehaviour(
        "duplicate-keys",
        "a message with two ids and two results",
        |id| {
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":0,"result":{{"content":[]}},"id":{id},"result":{}}}"#,
                good(&id, "second")["result"]
            );
            now(respond(StatusCode::OK, "application/json", body))
        },
    ),
    misbehaviour(
        "newlines",
        "a good result with CR and LF between all tokens",
        |id| {
            let pretty = serde_json::to_string_pretty(&good(&id, "line\nline")).unwrap_or_default();
            now(respond(
                StatusCode::OK,
                "application/json",
                pretty.replace('\n', "\r\n\r\n"),
            ))
        },
    ),
    misbehaviour(
        "surrogate",
        "a result whose text has half a surrogate pair",
        |id| {
            let body = good(&id, "HALF")
                .to_string()
                .replace("HALF", r"\ud800 half");
            now(respond(StatusCode::OK, "application/json", body))
        },
    ),
    misbehaviour("content-type", "a good result as text/html", |id| {
        now(respond(
            StatusCode::OK,
            "text/html",
            good(&id, "ok").to_string(),
        ))
    }),
    misbehaviour("error", "500 with a page for people", |_| {
        let page = "<html><body>Internal Server Error</body></html>";
        now(respond(
            StatusCode::INTERNAL_SERVER_ERROR,
            "text/html",
            page,
        ))
    }),
    misbehaviour("unavailable", "503 with Retry-After", |_| {
        let mut response = status(StatusCode::SERVICE_UNAVAILABLE);
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        now(response)
    }),
    misbehaviour("unauthorized", "401 with a challenge", |_| {
        let mut response = status(StatusCode::UNAUTHORIZED);
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        now(response)
    }),
    misbehaviour("redirect", "307 to a link-local address", |_| {
        let mut response = status(StatusCode::TEMPORARY_REDIRECT);
        let elsewhere = HeaderValue::from_static("http://169.254.169.254/latest/meta-data/");
        response.headers_mut().insert(header::LOCATION, elsewhere);
        now(response)
    }),
    misbehaviour("hang", "nothing at all, with the connection open", |_| {
        std::future::pending().boxed()
    }),
    misbehaviour(
        "hang-stream",
        "the head of an event stream, then nothing",
        |_| now(streamed("text/event-stream", stream::pending())),
    ),
    misbehaviour(
        "cut",
        "a connection that closes in the middle of a JSON body",
        |id| {
            let mut response = cut("application/json", &good(&id, "cut off").to_string());
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, HeaderValue::from_static("100000"));
            now(response)
        },
    ),
    misbehaviour(
        "cut-stream",
        "a connection that closes in the middle of an event",
        |id| {
            now(cut(
                "text/event-stream",
                &format!("data: {}", good(&id, "cut off")),
            ))
        },
    ),
    misbehaviour(
        "closed-stream",
        "an event stream that ends without an answer",
        |_| {
            now(streamed(
                "text/event-stream",
                stream::once(async { Ok(Bytes::from(": bye\n\n")) }),
            ))
        },
    ),
    misbehaviour(
        "endless",
        "notifications without end, never an answer",
        |_| {
            let notification = json!({
                "jsonrpc": "2.0", "method": "notifications/message",
                "params": { "level": "info", "data": "x".repeat(1000) }
            });
            now(endless(
                "text/event-stream",
                "",
                format!("data: {notification}\n\n"),
            ))
        },
    ),
    misbehaviour("endless-line", "one event that never ends", |_| {
        now(endless(
            "text/event-stream",
            "data: ",
            "x".repeat(64 * 1024),
        ))
    }),
    misbehaviour("endless-body", "a JSON body that never ends", |_| {
        now(endless(
            "application/json",
            "{\"jsonrpc\":\"2.0\",\"x\":\"",
            "x".repeat(64 * 1024),
        ))
    }),
    misbehaviour("slow", "a good result, one byte at a time", |id| {
        let bytes = good(&id, "slow").to_string().into_bytes();
        let pieces = stream::iter(bytes).then(|byte| async move {
            tokio::time::sleep(TRICKLE).await;
            Ok(Bytes::copy_from_slice(&[byte]))
        });
        now(streamed("application/json", pieces))
    }),
];

/// A result of one text.
fn good(id: &Value, text: &str) -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": id,
        "result": { "resultType": "complete", "content": [{ "type": "text", "text": text }] }
    })
}

fn now(response: Response<Body>) -> BoxFuture<'static, Response<Body>> {
    std::future::ready(response).boxed()
}

fn sse_then_end(data: &str) -> Response<Body> {
    let event = Bytes::from(format!("data: {data}\n\n"));
    streamed("text/event-stream", stream::once(async { Ok(event) }))
}

/// The first half of `body`, then an error that makes hyper close the connection.
fn cut(kind: &'static str, body: &str) -> Response<Body> {
    let half = Bytes::copy_from_slice(&body.as_bytes()[..body.len() / 2]);
    let parts = stream::once(async { Ok(half) }).chain(stream::once(async {
        // So that the first half is sent, not thrown away with the connection.
        tokio::time::sleep(TRICKLE).await;
        Err(io::Error::other("cut on purpose"))
    }));
    streamed(kind, parts)
}

/// `first`, then `again` as fast as the client reads.
fn endless(kind: &'static str, first: &'static str, again: String) -> Response<Body> {
    let again = Bytes::from(again);
    let parts = stream::once(async move { Ok(Bytes::from_static(first.as_bytes())) })
        .chain(stream::repeat_with(move || Ok(again.clone())));
    streamed(kind, parts)
}

fn streamed(
    kind: &'static str,
    parts: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> Response<Body> {
    let frames = parts.map(|part| part.map(Frame::data));
    with_body(StatusCode::OK, kind, StreamBody::new(frames).boxed_unsync())
}
