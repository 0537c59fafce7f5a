//! The answer to an HTTP request: one JSON body, or a stream of events.

use std::{collections::VecDeque, time::Duration};

use bytes::{Bytes, BytesMut};

use http::{HeaderMap, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use mcp_ultra_protocol::{
    Body, ByteString, EnvelopeError, Message,
    sse::{Event, Parser},
};

use super::ClientError;

/// The largest message that is accepted, in bytes. The server is one that the user chose, so this
/// only keeps a broken one from taking all the memory.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;
/// How much of a body that is no message is repeated in an error, in characters.
const SHOWN: usize = 300;

/// A response whose head has come.
pub(crate) struct Reply {
    /// The status.
    pub(crate) status: StatusCode,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The last event id of the stream, for resuming it.
    pub(crate) last_event_id: Option<String>,
    /// How long to wait before resuming, where the stream has said so.
    pub(crate) retry: Option<Duration>,
    body: Incoming,
    kind: Kind,
    returned: Option<ByteString>,
    waiting: VecDeque<Result<Message, EnvelopeError>>,
    target: String,
}

enum Kind {
    Json { read: bool },
    Events(Parser),
    Other,
}

impl Reply {
    pub(super) fn new(response: Response<Incoming>, target: String) -> Self {
        let (head, body) = response.into_parts();
        let media = head
            .headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        let kind = match media.as_str() {
            "application/json" => Kind::Json { read: false },
            "text/event-stream" => Kind::Events(Parser::new(MAX_MESSAGE)),
            _ => Kind::Other,
        };
        Self {
            status: head.status,
            headers: head.headers,
            last_event_id: None,
            retry: None,
            body,
            kind,
            returned: None,
            waiting: VecDeque::new(),
            target,
        }
    }

    /// Whether the answer is a stream of events.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.kind, Kind::Events(_))
    }

    /// The next message; `None` at the end, and at once for a body that is neither JSON nor a
    /// stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Message>, ClientError> {
        loop {
            if let Some(message) = self.waiting.pop_front() {
                return message
                    .map(Some)
                    .map_err(|error| self.not_mcp(error.to_string()));
            }
            let Some(text) = self.next_text().await? else {
                return Ok(None);
            };
            match Body::parse(text.into_bytes()) {
                Ok(Body::Single(message)) => return Ok(Some(message)),
                Ok(Body::Batch(messages)) => self.waiting.extend(messages),
                Err(error) => return Err(self.not_mcp(error.to_string())),
            }
        }
    }

    /// The text of the next message or batch, unread.
    pub(crate) async fn next_text(&mut self) -> Result<Option<ByteString>, ClientError> {
        if let Some(text) = self.returned.take() {
            return Ok(Some(text));
        }
        match &mut self.kind {
            Kind::Other | Kind::Json { read: true } => Ok(None),
            Kind::Json { read } => {
                *read = true;
                let bytes = self.collect().await?;
                self.text(bytes.freeze())
            }
            Kind::Events(_) => self.next_event().await,
        }
    }

    /// Gives a text back, to be read next.
    pub(crate) fn put_back(&mut self, text: ByteString) {
        self.returned = Some(text);
    }

    /// The whole body, of whatever media type.
    pub(crate) async fn whole(&mut self) -> Result<Bytes, ClientError> {
        Ok(self.collect().await?.freeze())
    }

    /// The body as text for a person, cut; for what is not a message.
    pub(crate) async fn shown(&mut self) -> String {
        let bytes = self.collect().await.unwrap_or_default();
        String::from_utf8_lossy(&bytes)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .chars()
            .filter(|c| !c.is_control())
            .take(SHOWN)
            .collect()
    }

    /// The error for a status that says no.
    pub(crate) async fn status_error(&mut self) -> ClientError {
        ClientError::Status {
            target: self.target.clone(),
            status: self.status.as_u16(),
            body: self.shown().await,
        }
    }

    /// The error for an answer that is not MCP.
    pub(crate) fn not_mcp(&self, reason: impl Into<String>) -> ClientError {
        ClientError::NotMcp {
            target: self.target.clone(),
            reason: reason.into(),
        }
    }

    async fn next_event(&mut self) -> Result<Option<ByteString>, ClientError> {
        loop {
            let Kind::Events(parser) = &mut self.kind else {
                return Ok(None);
            };
            match parser.next_event() {
                Ok(Some(event)) => {
                    let Event {
                        data, id, retry, ..
                    } = event;
                    if id.is_some() {
                        self.last_event_id = id;
                    }
                    if let Some(milliseconds) = retry {
                        self.retry = Some(Duration::from_millis(milliseconds));
                    }
                    // An event without data only primes the client to resume.
                    if !data.is_empty() {
                        return self.text(data);
                    }
                }
                Ok(None) => match self.chunk().await? {
                    Some(bytes) => {
                        if let Kind::Events(parser) = &mut self.kind {
                            parser.push(&bytes);
                        }
                    }
                    None => return Ok(None),
                },
                Err(error) => return Err(self.not_mcp(error.to_string())),
            }
        }
    }

    async fn collect(&mut self) -> Result<BytesMut, ClientError> {
        let mut all = BytesMut::new();
        while let Some(bytes) = self.chunk().await? {
            all.extend_from_slice(&bytes);
            if all.len() > MAX_MESSAGE {
                return Err(self.not_mcp(format!("an answer of more than {MAX_MESSAGE} bytes")));
            }
        }
        Ok(all)
    }

    async fn chunk(&mut self) -> Result<Option<bytes::Bytes>, ClientError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| ClientError::Broken {
                target: self.target.clone(),
                source: error.into(),
            })?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    fn text(&self, bytes: bytes::Bytes) -> Result<Option<ByteString>, ClientError> {
        ByteString::try_from(bytes)
            .map(Some)
            .map_err(|_| self.not_mcp("the answer is not UTF-8"))
    }
}
