//! The bodies of answers: one JSON text, or a stream of events where something is to be said
//! before the answer.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderValue, StatusCode, header};
use mcp_ultra_protocol::{
    ByteString, Era, Id, Response as Answer, WireError, error::http_status, sse,
};
use tokio::sync::{broadcast, broadcast::error::RecvError, mpsc, oneshot};
use tokio_util::sync::DropGuard;

use super::{
    json, refusal,
    sessions::{HttpSession, StreamPermit},
    status,
};
use crate::demo::{events::Change, server::Server};

/// After so long without a message a stream says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A call at work in a task of its own.
pub(super) struct Working {
    /// The request that it answers.
    pub(super) id: Id,
    /// The era of the caller.
    pub(super) era: Era,
    /// What it says before the answer; ends when the call does.
    pub(super) messages: mpsc::Receiver<ByteString>,
    /// The answer; none is sent for a cancelled call.
    pub(super) answer: oneshot::Receiver<Result<String, WireError>>,
    /// Cancels the call when the client goes away, where that is what its era means by it.
    #[expect(dead_code, reason = "it works by being dropped with the body")]
    pub(super) on_disconnect: Option<DropGuard>,
}

impl Working {
    async fn answer(&mut self) -> Option<Result<String, WireError>> {
        (&mut self.answer).await.ok()
    }
}

fn text(id: &Id, answer: &Result<String, WireError>) -> ByteString {
    match answer {
        Ok(result) => Answer::result(id, result).text,
        Err(error) => Answer::error(Some(id), error).text,
    }
}

/// The answer of a call: JSON where nothing comes before it, a stream otherwise.
pub(super) async fn of_call(mut working: Working) -> Response {
    if let Some(first) = working.messages.recv().await {
        return events(first, working);
    }
    match working.answer().await {
        // Cancelled: a stream that ends without an answer.
        None => sse_response(stream::empty()),
        Some(answer) => {
            let code = answer.as_ref().err().map(|error| error.code);
            let code = code.map_or(200, |code| http_status(code, working.era));
            let code = StatusCode::from_u16(code).unwrap_or(StatusCode::OK);
            json(code, text(&working.id, &answer).into_bytes())
        }
    }
}

fn events(first: ByteString, working: Working) -> Response {
    /// What is left to send.
    struct Left {
        first: Option<ByteString>,
        working: Option<Working>,
    }
    let left = Left {
        first: Some(first),
        working: Some(working),
    };
    sse_response(stream::unfold(left, |mut left| async move {
        if let Some(first) = left.first.take() {
            return Some((sse::encode(&first), left));
        }
        let working = left.working.as_mut()?;
        let next = tokio::time::timeout(KEEP_ALIVE, working.messages.recv()).await;
        match next {
            Err(_) => Some((keep_alive(), left)),
            Ok(Some(message)) => Some((sse::encode(&message), left)),
            Ok(None) => {
                let mut working = left.working.take()?;
                let answer = working.answer().await?;
                Some((sse::encode(&text(&working.id, &answer)), left))
            }
        }
    }))
}

/// A stream of whatever comes out of `messages`, until all senders are gone.
pub(super) fn of_messages(messages: mpsc::Receiver<ByteString>) -> Response {
    sse_response(stream::unfold(messages, |mut messages| async move {
        let next = tokio::time::timeout(KEEP_ALIVE, messages.recv()).await;
        match next {
            Err(_) => Some((keep_alive(), messages)),
            Ok(Some(message)) => Some((sse::encode(&message), messages)),
            Ok(None) => None,
        }
    }))
}

/// The stream of a legacy session: changes that the client wants to hear of.
pub(super) fn of_session(server: &Arc<Server>, session: Arc<HttpSession>) -> Response {
    /// A stream and what it listens to.
    struct Listening {
        session: Arc<HttpSession>,
        changes: broadcast::Receiver<Change>,
        missed: Vec<Change>,
        _permit: StreamPermit,
    }
    let Some(permit) = session.take_stream() else {
        let error = WireError::invalid_request("the session has an open stream already");
        return refusal(StatusCode::CONFLICT, &error);
    };
    let listening = Listening {
        changes: server.events.hear(),
        session,
        missed: Vec::new(),
        _permit: permit,
    };
    sse_response(stream::unfold(listening, |mut listening| async move {
        loop {
            if let Some(change) = listening.missed.pop() {
                return Some((sse::encode(&change.notification(None)), listening));
            }
            let session = &listening.session.session;
            let heard = tokio::select! {
                heard = tokio::time::timeout(KEEP_ALIVE, listening.changes.recv()) => heard,
                () = session.closed.cancelled() => return None,
            };
            match heard {
                Err(_) => return Some((keep_alive(), listening)),
                Ok(Ok(change)) if session.wants(&change) => listening.missed.push(change),
                Ok(Ok(_)) => {}
                Ok(Err(RecvError::Lagged(_))) => listening.missed = session.all_wanted(),
                Ok(Err(RecvError::Closed)) => return None,
            }
        }
    }))
}

fn keep_alive() -> Bytes {
    Bytes::from_static(sse::KEEP_ALIVE)
}

fn sse_response(events: impl stream::Stream<Item = Bytes> + Send + 'static) -> Response {
    let mut response = status(StatusCode::OK);
    *response.body_mut() = Body::from_stream(events.map(Ok::<_, Infallible>));
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
        // nginx would hold events back otherwise.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
