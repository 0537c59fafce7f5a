//! `POST`: one message, or a batch of 2025-03-26.

use std::{net::IpAddr, pin::pin, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use http::{HeaderMap, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use mcp_ultra_edge::{
    body::{self, ReadError},
    within,
};
use mcp_ultra_protocol::{
    Body as Messages, EnvelopeError, Message, Notification, Request as McpRequest,
    Response as McpResponse, WireError, headers,
};
use tokio::sync::mpsc;

use super::{
    Arrival, Body, Identified,
    endpoint::{self, Accepts},
    identify,
    in_flight::InFlight,
    respond,
};
use crate::{
    Gateway, pipeline,
    replicas::Taken,
    reply::{self, Answer, Down, Replies},
};

/// How long the answer may take before the response becomes a stream, which can be kept open.
const STREAM_AFTER: Duration = Duration::from_secs(10);
/// The largest batch.
const MAX_BATCH: usize = 100;

pub(super) async fn answer(
    gateway: &Arc<Gateway>,
    request: Request<Incoming>,
    identified: Identified,
    peer: Option<IpAddr>,
) -> Response<Body> {
    let accepts = Accepts::of(request.headers());
    if !accepts.json && !accepts.stream {
        return respond::text(
            StatusCode::NOT_ACCEPTABLE,
            "answers are application/json or text/event-stream; Accept must list both\n",
        );
    }
    if !is_json(request.headers()) {
        return respond::text(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "messages are application/json\n",
        );
    }
    let (head, body) = request.into_parts();
    let headers = Arc::new(head.headers);
    let bytes = match read(gateway, body).await {
        Ok(bytes) => bytes,
        Err(refusal) => return refusal,
    };
    match Messages::parse(bytes) {
        Ok(Messages::Single(Message::Request(request))) => {
            let arrival = Arrival {
                request,
                headers,
                identified,
                peer,
            };
            call(gateway, arrival, accepts).await
        }
        Ok(Messages::Single(Message::Notification(notification))) => {
            Box::pin(notified(gateway, &headers, &identified, &notification)).await
        }
        Ok(Messages::Single(Message::Response(response))) => {
            Box::pin(answered(gateway, &headers, &identified, response)).await
        }
        Ok(Messages::Batch(batch)) => {
            let template = Batch {
                headers,
                identified,
                peer,
                accepts,
            };
            Box::pin(template.run(gateway, batch)).await
        }
        Err(error) => unreadable(&error),
    }
}

fn unreadable(error: &EnvelopeError) -> Response<Body> {
    respond::error(StatusCode::BAD_REQUEST, error.id(), &error.to_wire())
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// Reads the body, bounded in size and time.
async fn read(gateway: &Gateway, body: Incoming) -> Result<Bytes, Response<Body>> {
    let (limit, time) = {
        let settings = gateway.settings();
        (settings.max_body, settings.body_timeout)
    };
    let too_large = || {
        let error = WireError::invalid_request(format!(
            "the body is larger than {limit} bytes (limits.body)"
        ));
        respond::error(StatusCode::PAYLOAD_TOO_LARGE, None, &error)
    };
    match within(Some(time), pin!(body::read(body, limit))).await {
        Some(Ok(bytes)) => Ok(bytes),
        Some(Err(ReadError::TooLarge)) => Err(too_large()),
        Some(Err(ReadError::BrokenOff)) => {
            let error = WireError::parse("the body broke off");
            Err(respond::error(StatusCode::BAD_REQUEST, None, &error))
        }
        None => {
            let seconds = time.as_secs();
            let error = WireError::invalid_request(format!(
                "the body did not arrive within {seconds} s (limits.body_timeout)"
            ));
            Err(respond::error(StatusCode::REQUEST_TIMEOUT, None, &error))
        }
    }
}

/// Brings a request to its answer, as JSON where the answer comes first, as a stream otherwise.
async fn call(gateway: &Arc<Gateway>, arrival: Arrival, accepts: Accepts) -> Response<Body> {
    let (reply, mut replies) = reply::channel(arrival.request.id.clone());
    if !accepts.stream {
        // Nothing can be asked on the way: what a server asks goes elsewhere, or is refused.
        let call = pipeline::call(gateway.clone(), arrival, reply.answer_only());
        InFlight::new(call).detach();
        return last(replies).await;
    }
    let principal = arrival.identified.principal.clone();
    let mut call = InFlight::new(pipeline::call(gateway.clone(), arrival, reply));
    let first = within(Some(STREAM_AFTER), pin!(call.first(&mut replies))).await;
    match first {
        // An error keeps its status also for a client that would rather have a stream.
        Some(Some(Down::Answer(answer))) if accepts.json || answer.status >= 400 => {
            respond::json(answer)
        }
        Some(first) => {
            call.detach();
            respond::stream(first, replies, None, identify::end(gateway, &principal))
        }
        None => {
            call.detach();
            respond::stream(None, replies, None, identify::end(gateway, &principal))
        }
    }
}

/// For a client that takes no stream: the answer alone.
async fn last(mut replies: Replies) -> Response<Body> {
    while let Some(down) = replies.recv().await {
        if let Down::Answer(answer) = down {
            return respond::json(answer);
        }
    }
    respond::accepted()
}

/// A notification. A modern client has none to send over HTTP (2026-07-28, Streamable HTTP,
/// Sending Messages): what it sends is taken and passed over.
async fn notified(
    gateway: &Arc<Gateway>,
    map: &HeaderMap,
    identified: &Identified,
    notification: &Notification,
) -> Response<Body> {
    if !map.contains_key(headers::SESSION_ID) {
        let modern =
            mcp_ultra_protocol::meta::RequestMeta::of_params(notification.params.as_deref())
                .is_ok_and(|meta| meta.is_modern)
                || map.get(headers::PROTOCOL_VERSION).is_some_and(|version| {
                    version.as_bytes() == mcp_ultra_protocol::Version::LATEST.as_str().as_bytes()
                });
        if modern {
            return respond::accepted();
        }
    }
    let live = match endpoint::session(gateway, map, identified).await {
        Ok(live) => live,
        Err(refusal) => return refusal,
    };
    gateway.take_notification(&live, notification);
    respond::accepted()
}

/// The answer of a legacy client to a request of a server.
async fn answered(
    gateway: &Arc<Gateway>,
    map: &HeaderMap,
    identified: &Identified,
    response: McpResponse,
) -> Response<Body> {
    match endpoint::session(gateway, map, identified).await {
        Ok(live) => match gateway.take_answer(&live, response).await {
            Taken::Yes => respond::accepted(),
            Taken::NotYet => respond::error(StatusCode::SERVICE_UNAVAILABLE, None, &not_yet()),
        },
        Err(refusal) => refusal,
    }
}

/// Nothing was done with the answer; it may be sent again (2025-11-25, Streamable HTTP, Sending
/// Messages).
fn not_yet() -> WireError {
    let error = WireError::internal(
        "the gateway that has asked can't be reached at the moment; send the same response again",
    );
    error.with_data("{\"reason\":\"unreachable\"}".to_owned())
}

/// What all messages of a batch have in common.
struct Batch {
    headers: Arc<HeaderMap>,
    identified: Identified,
    peer: Option<IpAddr>,
    accepts: Accepts,
}

impl Batch {
    /// Runs the messages of a batch side by side (2025-03-26, Base Protocol, Batching).
    async fn run(
        self,
        gateway: &Arc<Gateway>,
        batch: Vec<Result<Message, EnvelopeError>>,
    ) -> Response<Body> {
        let live = match endpoint::session(gateway, &self.headers, &self.identified).await {
            Ok(live) => live,
            Err(refusal) => return refusal,
        };
        let refuse = |why: &'static str| {
            respond::error(
                StatusCode::BAD_REQUEST,
                None,
                &WireError::invalid_request(why),
            )
        };
        if !live.version.has_batches() {
            return refuse("batches exist in revision 2025-03-26 only; send one message a request");
        }
        if batch.len() > MAX_BATCH {
            return refuse("a batch has at most 100 messages");
        }
        let mut expected = 0;
        let (sender, receiver) = mpsc::channel(16);
        for message in batch {
            match message {
                Ok(Message::Notification(notification)) => {
                    gateway.take_notification(&live, &notification);
                }
                // What else is in the batch is begun, so that it can't be refused.
                Ok(Message::Response(response)) => {
                    gateway.take_answer(&live, response).await;
                }
                // 2025-03-26, Lifecycle: initialize must not be part of a batch.
                Ok(Message::Request(request)) if request.method == "initialize" => {
                    expected += 1;
                    let error = WireError::invalid_request("initialize can't be part of a batch");
                    let text = McpResponse::error(Some(&request.id), &error).text;
                    let sender = sender.clone();
                    tokio::spawn(async move { sender.send(Down::uncounted(text)).await });
                }
                Ok(Message::Request(request)) => {
                    expected += 1;
                    self.start(gateway, request, sender.clone());
                }
                Err(error) => {
                    expected += 1;
                    let text = McpResponse::error(error.id(), &error.to_wire()).text;
                    let sender = sender.clone();
                    tokio::spawn(async move { sender.send(Down::uncounted(text)).await });
                }
            }
        }
        drop(sender);
        if expected == 0 {
            return respond::accepted();
        }
        if self.accepts.stream {
            let end = identify::end(gateway, &self.identified.principal);
            return respond::stream(None, Replies::of_many(receiver), None, end);
        }
        all(Replies::of_many(receiver), expected).await
    }

    /// Starts one request of the batch. Its answer is a message among others here: the stream
    /// ends when all have come.
    fn start(&self, gateway: &Arc<Gateway>, request: McpRequest, out: mpsc::Sender<Down>) {
        let (mut reply, mut replies) = reply::channel(request.id.clone());
        if !self.accepts.stream {
            reply = reply.answer_only();
        }
        let arrival = Arrival {
            request,
            headers: self.headers.clone(),
            identified: self.identified.clone(),
            peer: self.peer,
        };
        tokio::spawn(pipeline::call(gateway.clone(), arrival, reply));
        tokio::spawn(async move {
            while let Some(down) = replies.recv().await {
                let message = match down {
                    Down::Answer(answer) => {
                        answer.taker.has_it();
                        Down::uncounted(answer.text)
                    }
                    message @ Down::Message { .. } => message,
                };
                if out.send(message).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// The answers of a batch as one JSON array, for a client that takes no stream.
async fn all(mut replies: Replies, expected: usize) -> Response<Body> {
    let mut texts: Vec<ByteString> = Vec::with_capacity(expected);
    while let Some(down) = replies.recv().await {
        // Answers alone: a client without a stream is sent nothing before them.
        if let Down::Message { text, .. } = down {
            texts.push(text);
        }
    }
    let mut array =
        BytesMut::with_capacity(texts.iter().map(|text| text.len() + 1).sum::<usize>() + 1);
    for (at, text) in texts.iter().enumerate() {
        array.extend_from_slice(if at == 0 { b"[" } else { b"," });
        array.extend_from_slice(text.as_bytes());
    }
    array.extend_from_slice(b"]");
    let text = ByteString::try_from(array.freeze()).unwrap_or_default();
    respond::json(Answer::new(text, 200))
}
