use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytestring::ByteString;
use http::{HeaderMap, HeaderValue};
use mcp_ultra_protocol::{
    Id, Message, Notification, Outcome, Request, Response, Version, WireError, headers,
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{HttpStream, HttpTransport, Reply};
use crate::upstream::{
    Event, Exchange, Outgoing, UpstreamError,
    calls::{Calls, is_of_session},
    exchange::Source,
    request_text,
    session::{
        Hello, Session, Sink, Welcome, initialize_params, read_initialize, with_progress_token,
    },
};

/// How long the first call of a session waits for the server-to-client stream to open.
const STREAM_PATIENCE: Duration = Duration::from_secs(1);

/// A session with a legacy upstream over HTTP.
pub struct HttpSession {
    transport: Arc<HttpTransport>,
    /// `Mcp-Session-Id`, where the upstream gave one.
    id: Option<HeaderValue>,
    version: Version,
    pub(in crate::upstream) welcome: Welcome,
    pub(in crate::upstream) calls: Calls,
    lost: AtomicBool,
    /// Ends the reader of the server-to-client stream.
    stop: CancellationToken,
}

impl std::fmt::Debug for HttpSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The session id is a credential of sorts: it stays out of logs.
        f.debug_struct("HttpSession")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl HttpSession {
    /// Opens a session: `initialize`, `notifications/initialized`, and the server-to-client
    /// stream, whose notifications go to `sink`.
    ///
    /// # Errors
    /// [`UpstreamError`]
    pub async fn open(
        transport: Arc<HttpTransport>,
        hello: &Hello,
        sink: Sink,
    ) -> Result<Arc<Self>, UpstreamError> {
        let request = Request::new(Id::from(0), "initialize", Some(&initialize_params(hello)));
        let reply = transport.post_legacy(&request.text, None, None).await?;
        let (answer, head) = first_answer(reply, &request.id, transport.max_message()).await?;
        let result = match answer.outcome {
            Outcome::Result(result) => result,
            Outcome::Error(error) => return Err(refused(&error)),
        };
        let (version, welcome) = read_initialize(&result)?;
        let session = Arc::new(Self {
            id: head.get(headers::SESSION_ID).cloned(),
            transport,
            version,
            welcome,
            calls: Calls::default(),
            lost: AtomicBool::new(false),
            stop: CancellationToken::new(),
        });
        session
            .post(&Notification::new("notifications/initialized", None).text)
            .await?;
        let (opened, is_open) = oneshot::channel();
        tokio::spawn(read_pushed(
            Arc::downgrade(&session),
            session.stop.clone(),
            sink,
            opened,
        ));
        // Many upstreams ask their client on this stream, and what they send before it is open is
        // lost: no call goes out earlier. One that answers late, or not at all, is not waited for.
        let _ = tokio::time::timeout(STREAM_PATIENCE, is_open).await;
        Ok(session)
    }

    pub(super) fn transport(&self) -> &HttpTransport {
        &self.transport
    }

    pub(in crate::upstream) fn is_closed(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    pub(in crate::upstream) async fn call(
        session: &Arc<Self>,
        call: &Outgoing<'_>,
    ) -> Result<Exchange, UpstreamError> {
        let id = session.calls.next_id();
        let params = with_progress_token(call.params.clone(), &id, call.progress_token.is_some());
        let text = request_text(call, &id, params.as_deref());
        let elsewhere = session.calls.begin(&id);
        // From here on a drop takes the call off the list again.
        let mut exchange = Exchange {
            id,
            source: Source::Ready(None),
            progress_token: call.progress_token.clone(),
            session: Some(Session::Http(session.clone())),
        };
        let reply = session.send(&text).await?;
        exchange.source = match reply {
            Reply::Answer(answer, _) if answer.id.as_ref() == Some(&exchange.id) => {
                Source::Ready(Some(*answer))
            }
            // JSON-RPC lets an error stand without the id of a request that was not understood.
            Reply::Answer(answer, _) if answer.id.is_none() => {
                Source::Ready(Some(answer.with_id(&exchange.id)))
            }
            Reply::Answer(..) => {
                return Err(UpstreamError::Protocol(
                    "a response to another request".into(),
                ));
            }
            Reply::Stream(body, _) => {
                let stream = HttpStream::legacy(body, session.clone());
                Source::Stream(Box::new(stream), Some(elsewhere))
            }
            Reply::Accepted => {
                return Err(UpstreamError::Protocol(
                    "a request was accepted without an answer".into(),
                ));
            }
            Reply::Status(status) => return Err(UpstreamError::Status(status)),
        };
        Ok(exchange)
    }

    /// Sends what needs no answer.
    pub(in crate::upstream) async fn post(&self, text: &ByteString) -> Result<(), UpstreamError> {
        match self.send(text).await? {
            Reply::Status(status) => Err(UpstreamError::Status(status)),
            _ => Ok(()),
        }
    }

    async fn send(&self, text: &ByteString) -> Result<Reply, UpstreamError> {
        let reply = self
            .transport
            .post_legacy(text, self.id.as_ref(), Some(self.version))
            .await?;
        // 404 in a session means that the session is gone (2025-11-25, Session Management). Some
        // servers say 400 with a JSON-RPC error; that one is passed on as it is.
        let gone = matches!(&reply, Reply::Status(404));
        let gone_with_reason = self.id.is_some()
            && matches!(&reply, Reply::Answer(answer, _) if answer.id.is_none())
            && reply.error_code() == Some(-32001);
        if self.id.is_some() && (gone || gone_with_reason) {
            self.lost.store(true, Ordering::Relaxed);
            return Err(UpstreamError::SessionLost);
        }
        Ok(reply)
    }

    pub(super) async fn reopen(&self, last_event: &str) -> Result<Reply, UpstreamError> {
        self.transport
            .get_legacy(self.id.as_ref(), self.version, Some(last_event))
            .await
    }

    pub(in crate::upstream) async fn close(&self) {
        self.lost.store(true, Ordering::Relaxed);
        self.stop.cancel();
        if let Some(id) = &self.id {
            self.transport.delete_legacy(id, self.version).await;
        }
    }
}

impl Drop for HttpSession {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn first_answer(
    reply: Reply,
    id: &Id,
    max_message: usize,
) -> Result<(Response, HeaderMap), UpstreamError> {
    match reply {
        Reply::Answer(answer, head) => Ok((*answer, head)),
        Reply::Stream(body, head) => {
            let mut stream = HttpStream::modern(body, max_message);
            loop {
                if let Event::Response(answer) = stream.next(id).await? {
                    return Ok((answer, head));
                }
            }
        }
        Reply::Accepted => Err(UpstreamError::Protocol(
            "initialize was not answered".into(),
        )),
        Reply::Status(status) => Err(UpstreamError::Status(status)),
    }
}

fn refused(error: &str) -> UpstreamError {
    let message: String = mcp_ultra_protocol::json::Object::parse(error)
        .ok()
        .and_then(|error| {
            error
                .get_str("message")
                .map(|text| text.chars().take(200).collect())
        })
        .unwrap_or_default();
    UpstreamError::Protocol(format!("it refused to open a session: {message}").into())
}

/// Reads the server-to-client stream for as long as the session lives.
///
/// `opened` is dropped as soon as the upstream has said whether there is such a stream.
async fn read_pushed(
    session: std::sync::Weak<HttpSession>,
    stop: CancellationToken,
    sink: Sink,
    opened: oneshot::Sender<()>,
) {
    const PAUSE: Duration = Duration::from_secs(5);
    let mut opened = Some(opened);
    loop {
        let Some(open) = session.upgrade() else {
            return;
        };
        let reply = tokio::select! {
            () = stop.cancelled() => return,
            reply = open.transport.get_legacy(open.id.as_ref(), open.version, None) => reply,
        };
        drop(open);
        drop(opened.take());
        match reply {
            Ok(Reply::Stream(body, _)) => {
                let Some(limit) = session.upgrade().map(|open| open.transport.max_message()) else {
                    return;
                };
                let mut stream = HttpStream::modern(body, limit);
                loop {
                    let message = tokio::select! {
                        () = stop.cancelled() => return,
                        message = stream.next_message() => message,
                    };
                    let Some(open) = session.upgrade() else {
                        return;
                    };
                    match message {
                        Ok(message) => dispatch(&open, message, &sink).await,
                        Err(_) => break,
                    }
                }
            }
            // 405: the upstream has no such stream.
            Ok(Reply::Status(_) | Reply::Accepted | Reply::Answer(..)) => return,
            Err(_) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Brings a message of the server-to-client stream to the one whom it is for.
async fn dispatch(session: &Arc<HttpSession>, message: Message, sink: &Sink) {
    match message {
        Message::Notification(notification) if is_of_session(&notification) => sink(notification),
        Message::Notification(notification) => match session.calls.of_notification(&notification) {
            Some(call) => drop(call.send(Event::Notification(notification)).await),
            None => sink(notification),
        },
        Message::Request(request) => {
            let answer = if request.method == "ping" {
                Response::result(&request.id, "{}")
            } else if let Some(call) = session.calls.of_request(&request) {
                drop(call.send(Event::Request(request)).await);
                return;
            } else {
                Response::error(Some(&request.id), &no_caller())
            };
            if let Err(error) = session.post(&answer.text).await {
                tracing::debug!(%error, "a request of an upstream could not be answered");
            }
        }
        // Answers of resumed calls may come here; each call reads its own stream.
        Message::Response(response) => {
            if let Some(call) = response.id.as_ref().and_then(|id| session.calls.of_id(id)) {
                drop(call.send(Event::Response(response)).await);
            }
        }
    }
}

/// What an upstream gets that asks without a call that could be meant.
pub(in crate::upstream) fn no_caller() -> WireError {
    WireError::invalid_request(
        "no single call is in flight that this request could belong to; send it on the stream of its call",
    )
}
