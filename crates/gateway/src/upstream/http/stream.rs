use std::time::Duration;

use mcp_ultra_protocol::{
    Id, Message, Response,
    sse::{Event as SseEvent, Parser},
};

use super::{HttpSession, Reply, body::StreamBody};
use crate::upstream::{Event, UpstreamError, session::Session};

/// How often a legacy stream that broke off is taken up again before the call fails.
const MAX_RESUMES: u32 = 5;
/// How long to wait before that, where the upstream did not say.
const DEFAULT_RETRY: Duration = Duration::from_secs(1);
/// The shortest wait that an upstream can ask for.
const MIN_RETRY: Duration = Duration::from_millis(100);
/// The longest wait that an upstream can ask for.
const MAX_RETRY: Duration = Duration::from_secs(30);

/// The SSE stream of one call.
#[derive(Debug)]
pub struct HttpStream {
    body: StreamBody,
    parser: Parser,
    /// Set for legacy sessions, whose streams can be taken up again (2025-11-25, Transports,
    /// Resumability and Redelivery).
    resume: Option<Resume>,
}

#[derive(Debug)]
struct Resume {
    session: std::sync::Arc<HttpSession>,
    last_event: Option<String>,
    retry: Option<Duration>,
    attempts: u32,
}

impl HttpStream {
    /// The stream of a modern call.
    pub(in crate::upstream) fn modern(body: StreamBody, max_message: usize) -> Self {
        Self {
            body,
            parser: Parser::new(max_message),
            resume: None,
        }
    }

    /// The stream of a call in a legacy session.
    pub(super) fn legacy(body: StreamBody, session: std::sync::Arc<HttpSession>) -> Self {
        let parser = Parser::new(session.transport().max_message());
        let resume = Resume {
            session,
            last_event: None,
            retry: None,
            attempts: 0,
        };
        Self {
            body,
            parser,
            resume: Some(resume),
        }
    }

    /// The next message of the call `id`.
    pub(in crate::upstream) async fn next(&mut self, id: &Id) -> Result<Event, UpstreamError> {
        loop {
            let message = self.next_message().await?;
            match message {
                Message::Notification(notification) => {
                    return Ok(Event::Notification(notification));
                }
                Message::Request(request) if self.resume.is_some() => {
                    if request.method == "ping" {
                        self.pong(&request.id).await?;
                        continue;
                    }
                    if let Some(resume) = &self.resume {
                        resume.session.calls.asked(&request.id, id);
                    }
                    return Ok(Event::Request(request));
                }
                // A modern upstream must not send requests: it gets no answer.
                Message::Request(_) => {}
                Message::Response(response) if response.id.as_ref() == Some(id) => {
                    return Ok(Event::Response(response));
                }
                Message::Response(_) => {
                    return Err(UpstreamError::Protocol(
                        "a response to another request".into(),
                    ));
                }
            }
        }
    }

    /// The next message, whatever it is about.
    pub(in crate::upstream) async fn next_message(&mut self) -> Result<Message, UpstreamError> {
        loop {
            match self.parser.next_event() {
                Ok(Some(event)) => {
                    if let Some(message) = self.read(event)? {
                        return Ok(message);
                    }
                }
                Ok(None) => {
                    if !self.read_more().await? {
                        self.take_up_again().await?;
                    }
                }
                Err(error) => return Err(UpstreamError::TooLarge(error.limit)),
            }
        }
    }

    fn read(&mut self, event: SseEvent) -> Result<Option<Message>, UpstreamError> {
        if let Some(resume) = &mut self.resume {
            if let Some(id) = event.id {
                resume.last_event = Some(id);
            }
            if let Some(retry) = event.retry {
                resume.retry = Some(Duration::from_millis(retry).clamp(MIN_RETRY, MAX_RETRY));
            }
            // A server may end its streams on purpose, any number of times, as long as it gets on
            // (2025-11-25, Streamable HTTP, Sending Messages to the Server).
            if !event.data.is_empty() {
                resume.attempts = 0;
            }
        }
        // An event of another type, or an empty one, carries no message.
        if event.event.is_some() || event.data.is_empty() {
            return Ok(None);
        }
        Message::parse(event.data)
            .map(Some)
            .map_err(|error| UpstreamError::Protocol(error.to_string().into()))
    }

    /// Reads the next bytes; `false` at the end of the stream.
    async fn read_more(&mut self) -> Result<bool, UpstreamError> {
        let more = self.body.more().await?;
        if let Some(data) = &more {
            self.parser.push(data);
        }
        Ok(more.is_some())
    }

    async fn take_up_again(&mut self) -> Result<(), UpstreamError> {
        let Some(resume) = &mut self.resume else {
            return Err(UpstreamError::Closed);
        };
        let Some(last_event) = resume.last_event.clone() else {
            return Err(UpstreamError::Closed);
        };
        if resume.attempts >= MAX_RESUMES {
            return Err(UpstreamError::Closed);
        }
        resume.attempts += 1;
        tokio::time::sleep(resume.retry.unwrap_or(DEFAULT_RETRY)).await;
        match resume.session.reopen(&last_event).await? {
            Reply::Stream(body, _) => {
                self.body = body;
                self.parser = Parser::new(resume.session.transport().max_message());
                Ok(())
            }
            _ => Err(UpstreamError::Closed),
        }
    }

    async fn pong(&self, id: &Id) -> Result<(), UpstreamError> {
        match &self.resume {
            Some(resume) => {
                Session::Http(resume.session.clone())
                    .send_response(Response::result(id, "{}"))
                    .await
            }
            None => Ok(()),
        }
    }
}
