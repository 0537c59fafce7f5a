//! What came back: head, whole body, JSON or events.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;

use super::{
    RawError,
    sse::{Event, Parser},
};

/// The head of an answer, with its body still to be read. Dropping it closes the connection if the
/// body has not ended, as a client does that gives up.
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    body: Incoming,
    patience: Duration,
}

/// An answer to one JSON-RPC request, with what came before it on the same stream.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// Notifications and server-to-client requests, in order.
    pub before: Vec<Value>,
    /// The response or error.
    pub message: Value,
}

impl Reply {
    /// `result`, or null for an error.
    pub fn result(&self) -> &Value {
        &self.message["result"]
    }

    /// `error.code`, if it is an error.
    pub fn error_code(&self) -> Option<i64> {
        self.message["error"]["code"].as_i64()
    }

    /// What came before of this method.
    pub fn notifications(&self, method: &str) -> Vec<&Value> {
        self.before
            .iter()
            .filter(|message| message["method"] == method)
            .collect()
    }
}

impl Answer {
    pub(super) fn new(response: Response<Incoming>, patience: Duration) -> Self {
        let (head, body) = response.into_parts();
        Self {
            status: head.status,
            headers: head.headers,
            body,
            patience,
        }
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether the body is a stream of events.
    pub fn is_event_stream(&self) -> bool {
        let kind = self.header("content-type").unwrap_or_default();
        kind.split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .eq_ignore_ascii_case("text/event-stream")
    }

    /// The next part of the body as it arrived, or `None` at its end.
    pub async fn part(&mut self) -> Result<Option<Bytes>, RawError> {
        loop {
            let frame = tokio::time::timeout(self.patience, self.body.frame()).await;
            match frame.map_err(|_| RawError::TooLate(self.patience))? {
                None => return Ok(None),
                Some(frame) => {
                    // Trailers are no part of the body.
                    if let Ok(part) = frame?.into_data() {
                        return Ok(Some(part));
                    }
                }
            }
        }
    }

    /// The whole body.
    pub async fn bytes(mut self) -> Result<Vec<u8>, RawError> {
        let mut body = Vec::new();
        while let Some(part) = self.part().await? {
            body.extend_from_slice(&part);
        }
        Ok(body)
    }

    /// The whole body as text, with what is not UTF-8 replaced.
    pub async fn text(self) -> Result<String, RawError> {
        Ok(String::from_utf8_lossy(&self.bytes().await?).into_owned())
    }

    /// The whole body as JSON.
    pub async fn json(self) -> Result<Value, RawError> {
        let status = self.status;
        let body = self.bytes().await?;
        serde_json::from_slice(&body).map_err(|error| RawError::Unexpected {
            problem: format!("the body is not JSON ({error})"),
            status,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }

    /// The body as events, whatever its content type says.
    pub fn events(self) -> Events {
        Events {
            answer: self,
            parser: Parser::default(),
            waiting: VecDeque::new(),
        }
    }
}

/// The events of an answer, one by one. Dropping it closes the stream.
pub struct Events {
    answer: Answer,
    parser: Parser,
    waiting: VecDeque<Event>,
}

impl Events {
    /// The head of the answer.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Comment lines so far.
    pub fn comments(&self) -> usize {
        self.parser.comments
    }

    /// The next event, or `None` at the end of the stream.
    pub async fn next(&mut self) -> Result<Option<Event>, RawError> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event));
            }
            match self.answer.part().await? {
                Some(part) => self.waiting.extend(self.parser.push(&part)),
                None => return Ok(None),
            }
        }
    }

    /// The next event, if it comes within `limit`; `None` also at the end of the stream.
    pub async fn next_within(&mut self, limit: Duration) -> Result<Option<Event>, RawError> {
        match tokio::time::timeout(limit, self.next()).await {
            Ok(event) => event,
            Err(_) => Ok(None),
        }
    }

    /// The next event that carries a message, parsed; `None` at the end of the stream.
    pub async fn message(&mut self) -> Result<Option<Value>, RawError> {
        while let Some(event) = self.next().await? {
            if event.data.is_empty() {
                continue;
            }
            let parsed = serde_json::from_str(&event.data);
            return parsed.map(Some).map_err(|error| RawError::Unexpected {
                problem: format!("an event is not JSON ({error})"),
                status: self.answer.status,
                body: event.data,
            });
        }
        Ok(None)
    }
}
