//! One call to an upstream while it is under way.

use std::pin::Pin;

use bytestring::ByteString;
use mcp_ultra_edge::credentials::Subject;
use mcp_ultra_protocol::{Id, Notification, Request, Response, json::Object};
use parking_lot::Mutex;

use super::{UpstreamError, calls::Events, http::HttpStream, session::Session};

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

/// One call to an upstream. One that is dropped before its answer is cancelled upstream.
#[derive(Debug)]
pub struct Exchange {
    /// The id that the upstream knows the call under.
    pub(super) id: Id,
    pub(super) source: Source,
    /// The text of the caller's own progress token.
    pub(super) progress_token: Option<ByteString>,
    /// The session it runs in, for legacy upstreams and stdio.
    pub(super) session: Option<Session>,
    /// The call is over, or has never reached the upstream: there is nothing to cancel.
    pub(super) over: bool,
}

#[derive(Debug)]
pub(super) enum Source {
    /// The head of the reply has not come yet, but something else of the session has that belongs
    /// to the call: the upstream may be waiting for an answer to that.
    Opening(Opening),
    /// The answer came as one JSON document.
    Ready(Option<Response>),
    /// An SSE stream of this call alone, and what came for it elsewhere in its session.
    Stream(Box<HttpStream>, Option<Events>),
    /// A line of its own in a session that many calls share.
    Channel(Events),
}

/// A reply on its way.
pub(super) type Beginning = Pin<Box<dyn Future<Output = Result<Head, UpstreamError>> + Send>>;

/// A call whose reply has not begun.
pub(super) struct Opening {
    /// The reply on its way. Never locked: an [`Exchange`] has to be `Sync`, which a future is not.
    pub head: Mutex<Beginning>,
    /// The event that came before it.
    pub first: Option<Event>,
    /// More of them.
    pub elsewhere: Events,
}

impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opening").finish_non_exhaustive()
    }
}

/// How a reply begins.
#[derive(Debug)]
pub(super) enum Head {
    Answer(Response),
    Stream(Box<HttpStream>),
}

impl Head {
    /// What comes of the call from here on.
    pub(super) fn with(self, elsewhere: Events) -> Source {
        match self {
            Self::Answer(answer) => Source::Ready(Some(answer)),
            Self::Stream(stream) => Source::Stream(stream, Some(elsewhere)),
        }
    }
}

impl Exchange {
    /// The next event; after the [`Event::Response`] there is none.
    ///
    /// # Errors
    /// [`UpstreamError`]; the call is over then.
    pub async fn next(&mut self) -> Result<Event, UpstreamError> {
        let next = self.read().await;
        self.over |= match &next {
            Ok(event) => matches!(event, Event::Response(_)),
            Err(error) => error.ends_call(),
        };
        next
    }

    async fn read(&mut self) -> Result<Event, UpstreamError> {
        loop {
            let event = match &mut self.source {
                Source::Opening(opening) => {
                    if let Some(first) = opening.first.take() {
                        first
                    } else {
                        tokio::select! {
                            biased;
                            Some(event) = opening.elsewhere.recv() => event,
                            head = opening.head.get_mut() => {
                                let head = head?;
                                if let Source::Opening(opening) =
                                    std::mem::replace(&mut self.source, Source::Ready(None))
                                {
                                    self.source = head.with(opening.elsewhere);
                                }
                                continue;
                            }
                        }
                    }
                }
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

    /// The answer to a call of the gateway's own, on whose way there is nobody to be asked or told
    /// anything.
    ///
    /// # Errors
    /// As [`Exchange::next`].
    pub async fn answer_of_own(&mut self) -> Result<Response, UpstreamError> {
        loop {
            match self.next().await? {
                Event::Response(response) => return Ok(response),
                Event::Request(request) => {
                    // A modern upstream, which has no session, must not send requests.
                    if let Some(session) = &self.session {
                        session.answer_itself(&request).await;
                    }
                }
                Event::Notification(_) | Event::TooLarge(_) => {}
            }
        }
    }

    /// Speaks in the session that the call runs in with the tokens of `subject`, who is the one whom
    /// it was opened for.
    pub fn speak_for(&self, subject: Subject) {
        if let Some(Session::Http(session)) = &self.session
            && session.needs_tokens()
        {
            session.speak_for(subject);
        }
    }

    /// Answers a server-to-client request of this call.
    ///
    /// # Errors
    /// [`UpstreamError`] where the answer can't be delivered.
    pub async fn answer(&self, response: Response) -> Result<(), UpstreamError> {
        match &self.session {
            Some(session) => {
                if let Some(question) = &response.id {
                    session.calls().answered(question);
                }
                session.send_response(response).await
            }
            // A modern upstream sends no requests, so there is nothing to answer.
            None => Ok(()),
        }
    }

    /// The answer, where it came as one JSON document.
    pub fn take_answer(&mut self) -> Option<Response> {
        let answer = match &mut self.source {
            Source::Ready(response) => response.take(),
            Source::Opening(_) | Source::Stream(..) | Source::Channel(_) => None,
        };
        self.over |= answer.is_some();
        answer
    }

    /// Whether its session has ended, and nothing of the call is left to be read.
    pub fn is_closed(&self) -> bool {
        match &self.source {
            Source::Channel(events) => events.is_over(),
            Source::Opening(_) | Source::Ready(_) | Source::Stream(..) => false,
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
        let Some(session) = self.session.take() else {
            return;
        };
        if !session.finished(&self.id) || self.over {
            return;
        }
        // Whoever drops a call does not wait for the upstream to hear of it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let id = self.id.clone();
            runtime.spawn(async move { session.tell_cancelled(&id, "nobody waits for it").await });
        }
    }
}
