use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytestring::ByteString;
use http::{HeaderMap, HeaderValue};
use mcp_ultra_edge::credentials::Subject;
use mcp_ultra_protocol::{Id, Notification, Outcome, Request, Response, Version, headers};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{HttpStream, HttpTransport, Reply};
use crate::upstream::{
    Event, UpstreamError,
    calls::{Calls, Events},
    exchange::{Head, Opening, Source},
    session::{Ending, Hello, Sink, Welcome, initialize_params, read_initialize},
    sharing::{Known, Ticket},
};

/// How long a new session waits for its server-to-client stream.
const PUSH_TIME: Duration = Duration::from_millis(500);
/// How long an upstream may take for what is not a call: to open or end a session, to take a
/// notification or an answer.
const HANDSHAKE_TIME: Duration = Duration::from_secs(30);

/// A session with a legacy upstream over HTTP.
pub struct HttpSession {
    pub(super) transport: Arc<HttpTransport>,
    /// `Mcp-Session-Id`, where the upstream gave one.
    pub(super) id: Option<HeaderValue>,
    pub(super) version: Version,
    pub(in crate::upstream) own: bool,
    pub(in crate::upstream) welcome: Welcome,
    pub(in crate::upstream) calls: Calls,
    /// It takes no more calls.
    lost: AtomicBool,
    /// That is so because the upstream has forgotten it.
    forgotten: AtomicBool,
    /// Its place among those that replicas share, where it has one.
    ticket: OnceLock<Ticket>,
    /// Where notifications go that belong to no call.
    pub(in crate::upstream) sink: Sink,
    /// Somebody reads the server-to-client stream here.
    pub(super) listens: AtomicBool,
    /// Whose tokens it is spoken to with where that is not about one call.
    subject: Mutex<Subject>,
    /// Ends the reader of the server-to-client stream.
    pub(super) stop: CancellationToken,
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
            forgotten: AtomicBool::new(false),
            ticket: OnceLock::new(),
            sink,
            listens: AtomicBool::new(false),
            subject: Mutex::new(subject),
            stop: CancellationToken::new(),
        });
        session
            .post(&Notification::new("notifications/initialized", None).text)
            .await?;
        session.hear().await;
        Ok(session)
    }

    /// Goes on in a session that another replica has opened; `None` where what it says of that can't
    /// be used. `listens` says that this replica is the one that reads what belongs to no call.
    pub(in crate::upstream) async fn join(
        transport: Arc<HttpTransport>,
        known: Known,
        sink: Sink,
        subject: Subject,
        ticket: Ticket,
        listens: bool,
    ) -> Option<Arc<Self>> {
        let session = Arc::new(Self {
            id: Some(HeaderValue::try_from(known.id).ok()?),
            transport,
            version: Version::parse(&known.version)?,
            own: false,
            welcome: Welcome {
                capabilities: known.capabilities.into(),
                instructions: known.instructions,
            },
            calls: Calls::of_joined(),
            lost: AtomicBool::new(false),
            forgotten: AtomicBool::new(false),
            ticket: OnceLock::from(ticket),
            sink,
            listens: AtomicBool::new(false),
            subject: Mutex::new(subject),
            stop: CancellationToken::new(),
        });
        if listens {
            session.hear().await;
        }
        Some(session)
    }

    /// Opens the server-to-client stream, and waits for it a little.
    async fn hear(self: &Arc<Self>) {
        // Some servers send what belongs to a call on this stream, and drop it while there is
        // none. Some begin to reply only with their first event, so the wait is short.
        drop(tokio::time::timeout(PUSH_TIME, self.listen()).await);
    }

    /// What another replica needs to speak in it; `None` where nobody else can.
    pub(in crate::upstream) fn known(&self) -> Option<Known> {
        Some(Known {
            id: self.id.as_ref()?.to_str().ok()?.to_owned(),
            version: self.version.as_str().to_owned(),
            capabilities: self.welcome.capabilities.to_string(),
            instructions: self.welcome.instructions.clone(),
        })
    }

    /// Gives it its place among those that replicas share. The first one stays.
    pub(in crate::upstream) fn share(&self, ticket: Ticket) {
        // There is none before: whoever has opened it asks for one, once.
        let _ = self.ticket.set(ticket);
    }

    /// Its place among those that replicas share, where it has one.
    pub(in crate::upstream) fn ticket(&self) -> Option<&Ticket> {
        self.ticket.get()
    }

    /// Whether other replicas may speak in it too.
    pub(in crate::upstream) fn is_shared(&self) -> bool {
        self.ticket.get().is_some_and(Ticket::is_known)
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

    pub(super) fn subject(&self) -> Subject {
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

    /// Whether the upstream has said that it does not know it.
    pub(in crate::upstream) fn is_forgotten(&self) -> bool {
        self.forgotten.load(Ordering::Relaxed)
    }

    /// Notes that the upstream has said so.
    pub(super) fn forget(&self) {
        self.forgotten.store(true, Ordering::Relaxed);
        self.lost.store(true, Ordering::Relaxed);
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
            self.forget();
            return Err(UpstreamError::SessionLost);
        }
        Ok(reply)
    }

    /// Whether the upstream says that it no longer knows the session: 404 (2025-11-25, Session
    /// Management). Some servers say 400 with a JSON-RPC error; that one is passed on as it is.
    pub(super) fn is_gone(&self, reply: &Reply) -> bool {
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

    /// Ends it here, and with the upstream where nobody else goes on in it.
    pub(in crate::upstream) async fn close(&self, ending: Ending) {
        self.lost.store(true, Ordering::Relaxed);
        self.stop.cancel();
        if let Some(ticket) = self.ticket.get()
            && !ticket.give_up(ending).await
        {
            return;
        }
        if let Some(id) = &self.id {
            let subject = self.subject();
            self.transport
                .delete_legacy(id, self.version, &subject)
                .await;
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
