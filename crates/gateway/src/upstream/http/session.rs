use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytestring::ByteString;
use http::{HeaderMap, HeaderValue};
use mcp_ultra_edge::credentials::Subject;
use mcp_ultra_protocol::{Id, Notification, Outcome, Request, Response, Version, headers};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{HttpStream, HttpTransport, Reply, body::StreamBody};
use crate::upstream::{
    Event, UpstreamError,
    calls::{Calls, Events},
    exchange::{Head, Opening, Source},
    session::{Hello, Session, Sink, Welcome, initialize_params, read_initialize},
};

/// How long a new session waits for its server-to-client stream.
const PUSH_TIME: Duration = Duration::from_millis(500);
/// How long an upstream may take for what is not a call: to open or end a session, to take a
/// notification or an answer.
const HANDSHAKE_TIME: Duration = Duration::from_secs(30);
/// The first and the longest wait before a server-to-client stream is opened again.
const PUSH_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// A session with a legacy upstream over HTTP.
pub struct HttpSession {
    transport: Arc<HttpTransport>,
    /// `Mcp-Session-Id`, where the upstream gave one.
    id: Option<HeaderValue>,
    version: Version,
    pub(in crate::upstream) own: bool,
    pub(in crate::upstream) welcome: Welcome,
    pub(in crate::upstream) calls: Calls,
    lost: AtomicBool,
    /// Whose tokens it is spoken to with where that is not about one call.
    subject: Mutex<Subject>,
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
        subject: Subject,
    ) -> Result<Arc<Self>, UpstreamError> {
        tokio::time::timeout(HANDSHAKE_TIME, Self::greet(transport, hello, sink, subject))
            .await
            .unwrap_or(Err(UpstreamError::Timeout(HANDSHAKE_TIME.as_secs())))
    }

    async fn greet(
        transport: Arc<HttpTransport>,
        hello: &Hello,
        sink: Sink,
        subject: Subject,
    ) -> Result<Arc<Self>, UpstreamError> {
        let request = Request::new(Id::from(0), "initialize", Some(&initialize_params(hello)));
        let reply = transport
            .post_legacy(&request.text, None, None, &subject)
            .await?;
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
            own: hello.own,
            welcome,
            calls: Calls::default(),
            lost: AtomicBool::new(false),
            subject: Mutex::new(subject),
            stop: CancellationToken::new(),
        });
        session
            .post(&Notification::new("notifications/initialized", None).text)
            .await?;
        let (opened, open) = oneshot::channel();
        tokio::spawn(read_pushed(
            Arc::downgrade(&session),
            session.stop.clone(),
            sink,
            opened,
        ));
        // Some servers send what belongs to a call on this stream, and drop it while there is
        // none. Some begin to reply only with their first event, so the wait is short.
        drop(tokio::time::timeout(PUSH_TIME, open).await);
        Ok(session)
    }

    pub(super) fn transport(&self) -> &HttpTransport {
        &self.transport
    }

    /// Whether it is spoken to with tokens.
    pub(in crate::upstream) fn needs_tokens(&self) -> bool {
        self.transport.needs_tokens()
    }

    /// Speaks with the tokens of `subject` from now on, who is the one it was opened for.
    pub(in crate::upstream) fn speak_for(&self, subject: Subject) {
        *self.subject.lock() = subject;
    }

    fn subject(&self) -> Subject {
        self.subject.lock().clone()
    }

    /// Whose tokens it is spoken to with, where they are a caller's.
    pub(in crate::upstream) fn principal(&self) -> Option<Arc<str>> {
        match &*self.subject.lock().current() {
            Subject::Caller { principal, .. } => Some(principal.shared_id()),
            Subject::Gateway | Subject::Session(_) => None,
        }
    }

    pub(in crate::upstream) fn is_closed(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Posts the call `id` with the tokens of `subject`, and waits for what comes of it first: its reply, or what the upstream
    /// asks on its server-to-client stream, for whose answer it may be waiting before it replies.
    pub(in crate::upstream) async fn begin(
        self: &Arc<Self>,
        id: &Id,
        text: ByteString,
        mut elsewhere: Events,
        subject: Option<Subject>,
    ) -> Result<Source, UpstreamError> {
        let subject = subject.unwrap_or_else(|| self.subject());
        let mut head = Box::pin(self.clone().head(id.clone(), text, subject));
        tokio::select! {
            biased;
            head = &mut head => head.map(|head| head.with(elsewhere)),
            Some(first) = elsewhere.recv() => Ok(Source::Opening(Opening {
                head: parking_lot::Mutex::new(head),
                first: Some(first),
                elsewhere,
            })),
        }
    }

    /// Posts a request and waits for its reply to begin.
    async fn head(
        self: Arc<Self>,
        id: Id,
        text: ByteString,
        subject: Subject,
    ) -> Result<Head, UpstreamError> {
        match self.send(&text, &subject).await? {
            Reply::Answer(answer, _) if answer.id.as_ref() == Some(&id) => {
                Ok(Head::Answer(*answer))
            }
            // JSON-RPC lets an error stand without the id of a request that was not understood.
            Reply::Answer(answer, _) if answer.id.is_none() => {
                Ok(Head::Answer(answer.with_id(&id)))
            }
            Reply::Answer(..) => Err(UpstreamError::Protocol(
                "a response to another request".into(),
            )),
            Reply::Stream(body, _) => Ok(Head::Stream(Box::new(HttpStream::legacy(body, self)))),
            Reply::Accepted => Err(UpstreamError::Protocol(
                "a request was accepted without an answer".into(),
            )),
            Reply::Status(status) => Err(UpstreamError::Status(status)),
        }
    }

    /// Sends what needs no answer.
    pub(in crate::upstream) async fn post(&self, text: &ByteString) -> Result<(), UpstreamError> {
        let subject = self.subject();
        match tokio::time::timeout(HANDSHAKE_TIME, self.send(text, &subject)).await {
            Ok(Ok(Reply::Status(status))) => Err(UpstreamError::Status(status)),
            Ok(sent) => sent.map(drop),
            Err(_) => Err(UpstreamError::Timeout(HANDSHAKE_TIME.as_secs())),
        }
    }

    async fn send(&self, text: &ByteString, subject: &Subject) -> Result<Reply, UpstreamError> {
        let reply = self
            .transport
            .post_legacy(text, self.id.as_ref(), Some(self.version), subject)
            .await?;
        if self.is_gone(&reply) {
            self.lost.store(true, Ordering::Relaxed);
            return Err(UpstreamError::SessionLost);
        }
        Ok(reply)
    }

    /// Whether the upstream says that it no longer knows the session: 404 (2025-11-25, Session
    /// Management). Some servers say 400 with a JSON-RPC error; that one is passed on as it is.
    fn is_gone(&self, reply: &Reply) -> bool {
        let gone = matches!(reply, Reply::Status(404));
        let gone_with_reason = matches!(reply, Reply::Answer(answer, _) if answer.id.is_none())
            && reply.error_code() == Some(-32001);
        self.id.is_some() && (gone || gone_with_reason)
    }

    pub(super) async fn reopen(&self, last_event: &str) -> Result<Reply, UpstreamError> {
        let subject = self.subject();
        self.transport
            .get_legacy(self.id.as_ref(), self.version, Some(last_event), &subject)
            .await
    }

    pub(in crate::upstream) async fn close(&self) {
        self.lost.store(true, Ordering::Relaxed);
        self.stop.cancel();
        if let Some(id) = &self.id {
            let subject = self.subject();
            let ending = self.transport.delete_legacy(id, self.version, &subject);
            drop(tokio::time::timeout(HANDSHAKE_TIME, ending).await);
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

/// Reads the server-to-client stream for as long as the session lives; tells `opened` once the
/// upstream has replied to the first attempt.
async fn read_pushed(
    session: std::sync::Weak<HttpSession>,
    stop: CancellationToken,
    sink: Sink,
    opened: oneshot::Sender<()>,
) {
    let mut opened = Some(opened);
    let mut had_stream = false;
    let mut pause = PUSH_PAUSE.0;
    loop {
        let Some(open) = session.upgrade() else {
            return;
        };
        let subject = open.subject();
        let asking = open
            .transport
            .get_legacy(open.id.as_ref(), open.version, None, &subject);
        let reply = tokio::select! {
            () = stop.cancelled() => return,
            reply = asking => reply,
        };
        // A server without such streams may say 404 to all that ask for one.
        if had_stream && reply.as_ref().is_ok_and(|reply| open.is_gone(reply)) {
            open.lost.store(true, Ordering::Relaxed);
            return;
        }
        drop(open);
        if let Some(opened) = opened.take() {
            // The session may have stopped waiting.
            let _ = opened.send(());
        }
        match reply {
            Ok(Reply::Stream(body, _)) => {
                had_stream = true;
                let since = tokio::time::Instant::now();
                if !read_stream(&session, body, &stop, &sink).await {
                    return;
                }
                if since.elapsed() > PUSH_PAUSE.1 {
                    pause = PUSH_PAUSE.0;
                }
            }
            // It may be overloaded, or on its way up.
            Ok(Reply::Status(500..)) | Err(_) => {}
            // 405: the upstream has no such stream.
            Ok(Reply::Status(_) | Reply::Accepted | Reply::Answer(..)) => return,
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(PUSH_PAUSE.1);
    }
}

/// Reads one server-to-client stream to its end; `false` where the session has ended meanwhile.
async fn read_stream(
    session: &std::sync::Weak<HttpSession>,
    body: StreamBody,
    stop: &CancellationToken,
    sink: &Sink,
) -> bool {
    let Some(limit) = session.upgrade().map(|open| open.transport.max_message()) else {
        return false;
    };
    let mut stream = HttpStream::modern(body, limit);
    loop {
        let message = tokio::select! {
            () = stop.cancelled() => return false,
            message = stream.next_message() => message,
        };
        let Some(open) = session.upgrade() else {
            return false;
        };
        match message {
            Ok(message) => Session::Http(open).take(message, sink).await,
            Err(_) => return true,
        }
    }
}
