//! One call to an upstream while it is under way.

use bytestring::ByteString;
use mcp_ultra_protocol::{Id, Notification, Request, Response, json::Object};
use tokio::sync::mpsc;

use super::{UpstreamError, http::HttpStream, session::Session};

/// What an upstream sends during a call.
#[derive(Debug)]
pub enum Event {
    /// Progress, a log message, or another notification that belongs to the call.
    Notification(Notification),
    /// A server-to-client request of a legacy upstream.
    Request(Request),
    /// The answer: the last event.
    Response(Response),
    /// The upstream wrote a message over this many bytes, which was skipped: it may have been the
    /// answer.
    TooLarge(usize),
}

/// One call to an upstream. Dropping it does not cancel the call upstream where that needs a
/// message: [`Exchange::cancel`] does.
#[derive(Debug)]
pub struct Exchange {
    /// The id that the upstream knows the call under.
    pub(super) id: Id,
    pub(super) source: Source,
    /// The text of the caller's own progress token.
    pub(super) progress_token: Option<ByteString>,
    /// The session it runs in, for legacy upstreams and stdio.
    pub(super) session: Option<Session>,
}

#[derive(Debug)]
pub(super) enum Source {
    /// The answer came as one JSON document.
    Ready(Option<Response>),
    /// An SSE stream of this call alone, and what came for it elsewhere in its session.
    Stream(Box<HttpStream>, Option<mpsc::Receiver<Event>>),
    /// A line of its own in a session that many calls share.
    Channel(mpsc::Receiver<Event>),
}

impl Exchange {
    /// The next event; after the [`Event::Response`] there is none.
    ///
    /// # Errors
    /// [`UpstreamError`]; the call is over then.
    pub async fn next(&mut self) -> Result<Event, UpstreamError> {
        loop {
            let event = match &mut self.source {
                Source::Ready(response) => {
                    Event::Response(response.take().ok_or(UpstreamError::Closed)?)
                }
                Source::Stream(stream, None) => stream.next(&self.id).await?,
                Source::Stream(stream, Some(elsewhere)) => tokio::select! {
                    event = stream.next(&self.id) => event?,
                    Some(event) = elsewhere.recv() => event,
                },
                Source::Channel(events) => events.recv().await.ok_or(UpstreamError::Closed)?,
            };
            match event {
                Event::Notification(notification)
                    if notification.method == "notifications/progress" =>
                {
                    if let Some(notification) = self.own_progress(&notification) {
                        return Ok(Event::Notification(notification));
                    }
                }
                Event::TooLarge(limit) => return Err(UpstreamError::TooLarge(limit)),
                other => return Ok(other),
            }
        }
    }

    /// Progress under the token of the caller; `None` where the caller did not ask for any.
    fn own_progress(&self, notification: &Notification) -> Option<Notification> {
        let token = self.progress_token.as_ref()?;
        let params = notification.params.as_ref()?;
        let params = Object::parse(params).ok()?;
        Some(notification.with_params(params.edit().set("progressToken", &**token).finish()))
    }

    /// Answers a server-to-client request of this call.
    ///
    /// # Errors
    /// [`UpstreamError`] where the answer can't be delivered.
    pub async fn answer(&self, response: Response) -> Result<(), UpstreamError> {
        match &self.session {
            Some(session) => session.send_response(response).await,
            // A modern upstream sends no requests, so there is nothing to answer.
            None => Ok(()),
        }
    }

    /// The answer, where it came as one JSON document.
    pub fn take_answer(&mut self) -> Option<Response> {
        match &mut self.source {
            Source::Ready(response) => response.take(),
            Source::Stream(..) | Source::Channel(_) => None,
        }
    }

    /// The code of the error that the upstream answered with at once, where it did.
    pub fn error_code(&self) -> Option<i64> {
        match &self.source {
            Source::Ready(Some(response)) => super::error_code(response),
            _ => None,
        }
    }

    /// As [`Exchange::cancel`], for a call that goes on to be dropped.
    pub async fn abandon(&self, reason: &str) {
        if let Some(session) = &self.session {
            session.cancel(&self.id, reason).await;
        }
    }

    /// Ends the call before its answer: the stream of a modern HTTP upstream is closed, others
    /// are told (2026-07-28 and 2025-11-25, Cancellation).
    pub async fn cancel(self, reason: &str) {
        self.abandon(reason).await;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            session.finished(&self.id);
        }
    }
}
