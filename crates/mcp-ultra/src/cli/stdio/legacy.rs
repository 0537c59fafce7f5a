//! Legacy messages: in a session, which the bridge keeps and opens anew when the gateway has
//! forgotten it.

use std::{collections::BTreeMap, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use mcp_ultra_protocol::{
    Body, ByteString, EnvelopeError, Id, Message, Notification, Outcome, Request, Response,
    headers, json::Object,
};

use super::{bridge::Bridge, modern::ended, relay::Watch};
use crate::client::{ClientError, Reply, RpcError, version_header};

/// How often a stream that ended early is taken up again.
const RESUMES: usize = 5;
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const NO_SUCH_SESSION: u16 = 404;

/// A legacy session, and what it takes to open it again.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Counts the sessions: tells whether one that failed is still the current one.
    generation: u64,
    initialize: Option<Request>,
    version: String,
    id: Option<HeaderValue>,
    /// The last `logging/setLevel`.
    level: Option<Request>,
    /// The `resources/subscribe` of each URI.
    subscriptions: BTreeMap<String, Request>,
}

impl Session {
    /// Whether the client has opened one.
    pub(super) fn is_open(&self) -> bool {
        self.initialize.is_some()
    }

    fn headers(&self) -> HeaderMap {
        let mut map = HeaderMap::new();
        if !self.version.is_empty() {
            map = version_header(&self.version);
        }
        if let Some(id) = &self.id {
            map.insert(headers::SESSION_ID, id.clone());
        }
        map
    }

    /// Keeps what has to be said again in a new session.
    fn remember(&mut self, request: &Request) {
        let params = request
            .params
            .as_deref()
            .and_then(|params| Object::parse(params).ok());
        let uri = params.and_then(|params| params.get_str("uri").map(String::from));
        match (&*request.method, uri) {
            ("logging/setLevel", _) => self.level = Some(request.clone()),
            ("resources/subscribe", Some(uri)) => {
                self.subscriptions.insert(uri, request.clone());
            }
            ("resources/unsubscribe", Some(uri)) => {
                self.subscriptions.remove(&uri);
            }
            _ => {}
        }
    }
}

impl Bridge {
    /// The client opens a session.
    pub(super) async fn legacy_initialize(&self, request: Request) {
        self.legacy_end().await;
        match self.open(&request).await {
            Ok(response) => {
                if matches!(response.outcome, Outcome::Result(_)) {
                    self.shared.session.lock().initialize = Some(request);
                }
                self.shared.output.write(&response.text).await;
            }
            Err(error) => self.fail(&request.id, &error).await,
        }
    }

    /// The client says that it is ready: from now on the server may speak first.
    pub(super) async fn legacy_initialized(&self, text: ByteString) {
        self.legacy_deliver(text).await;
        self.listen();
    }

    /// Sends a request, and passes on what comes until its answer.
    pub(super) async fn legacy_request(&self, request: Request) {
        self.shared.session.lock().remember(&request);
        let answered = match self.exchange(&request.text).await {
            Ok(reply) => self.legacy_relay(reply, &request.id).await,
            Err(error) => Err(error),
        };
        if let Err(error) = answered {
            self.fail(&request.id, &error).await;
        }
    }

    /// Sends a notification, or an answer to a request of the server.
    pub(super) async fn legacy_deliver(&self, text: ByteString) {
        match self.exchange(&text).await {
            Ok(reply) if reply.status.is_success() => {}
            Ok(mut reply) => eprintln!("mcp-ultra stdio: {}", reply.status_error().await),
            Err(error) => eprintln!("mcp-ultra stdio: {error}"),
        }
    }

    /// Sends a batch (2025-03-26 only), and passes on what comes until all of it is answered.
    pub(super) async fn legacy_batch(
        &self,
        text: ByteString,
        messages: Vec<Result<Message, EnvelopeError>>,
    ) {
        let mut open: Vec<Id> = messages
            .into_iter()
            .filter_map(|message| match message {
                Ok(Message::Request(request)) => Some(request.id),
                _ => None,
            })
            .collect();
        if open.is_empty() {
            return self.legacy_deliver(text).await;
        }
        let error = match self.exchange(&text).await {
            Ok(mut reply) => match self.batch_answers(&mut reply, &mut open).await {
                Ok(()) => ended(&mut reply).await,
                Err(error) => error,
            },
            Err(error) => error,
        };
        for id in open {
            self.fail(&id, &error).await;
        }
    }

    async fn batch_answers(
        &self,
        reply: &mut Reply,
        open: &mut Vec<Id>,
    ) -> Result<(), ClientError> {
        while let Some(text) = reply.next_text().await? {
            let messages = match Body::parse(text.clone().into_bytes()) {
                Ok(Body::Batch(messages)) => messages,
                Ok(Body::Single(message)) => vec![Ok(message)],
                Err(error) => return Err(reply.not_mcp(error.to_string())),
            };
            self.shared.output.write(&text).await;
            for message in messages.into_iter().flatten() {
                if let Message::Response(response) = message {
                    open.retain(|id| Some(id) != response.id.as_ref());
                }
            }
            if open.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Ends the session at the gateway, where there is one.
    pub(super) async fn legacy_end(&self) {
        let session = std::mem::take(&mut *self.shared.session.lock());
        self.shared.session.lock().generation = session.generation + 1;
        if session.id.is_some() {
            // That it can't be ended hurts nobody: it will run out.
            let _ = self.shared.transport.delete(session.headers()).await;
        }
    }

    /// Posts in the session; in a new one where the gateway no longer knows it
    /// (2025-11-25, Transports, Session Management).
    async fn exchange(&self, text: &ByteString) -> Result<Reply, ClientError> {
        let (generation, headers, in_session) = self.current();
        let reply = self.post(headers, text).await?;
        if !in_session || reply.status.as_u16() != NO_SUCH_SESSION {
            return Ok(reply);
        }
        Box::pin(self.reopen(generation)).await?;
        let (_, headers, _) = self.current();
        self.post(headers, text).await
    }

    fn current(&self) -> (u64, HeaderMap, bool) {
        let session = self.shared.session.lock();
        (session.generation, session.headers(), session.id.is_some())
    }

    async fn legacy_relay(&self, mut reply: Reply, id: &Id) -> Result<(), ClientError> {
        for _ in 0..RESUMES {
            // A connection that breaks is like one that the server closed.
            let broken = match self.relay(&mut reply, id, Watch::Nothing).await {
                Ok(true) => return Ok(()),
                Ok(false) => None,
                Err(error @ ClientError::Broken { .. }) => Some(error),
                Err(error) => return Err(error),
            };
            let event = reply.last_event_id.as_deref();
            let Some(event) = event.and_then(|id| HeaderValue::from_str(id).ok()) else {
                return match broken {
                    Some(error) => Err(error),
                    None => Err(ended(&mut reply).await),
                };
            };
            tokio::time::sleep(reply.retry.unwrap_or(PAUSE)).await;
            let (_, mut headers, _) = self.current();
            headers.insert(LAST_EVENT_ID, event);
            let mut next = self.shared.transport.get_stream(headers).await?;
            next.last_event_id = reply.last_event_id.take();
            next.retry = reply.retry;
            reply = next;
        }
        Err(ended(&mut reply).await)
    }

    /// Sends an `initialize`, and takes the session that comes of it.
    async fn open(&self, request: &Request) -> Result<Response, ClientError> {
        let mut reply = self.post(HeaderMap::new(), &request.text).await?;
        let id = reply.headers.get(headers::SESSION_ID).cloned();
        while let Some(message) = reply.next().await? {
            match message {
                Message::Response(response) => {
                    let response = match &response.id {
                        None => response.with_id(&request.id),
                        Some(_) => response,
                    };
                    if let Outcome::Result(result) = &response.outcome {
                        let result = Object::parse(result).ok();
                        let version =
                            result.and_then(|r| r.get_str("protocolVersion").map(String::from));
                        let mut session = self.shared.session.lock();
                        session.generation += 1;
                        session.version = version.unwrap_or_default();
                        session.id = id;
                    }
                    return Ok(response);
                }
                Message::Notification(Notification { text, .. })
                | Message::Request(Request { text, .. }) => self.shared.output.write(&text).await,
            }
        }
        Err(ended(&mut reply).await)
    }

    /// Opens a session in place of number `stale`, unless somebody has done so already. The
    /// client notices nothing: log level and subscriptions are set again.
    async fn reopen(&self, stale: u64) -> Result<(), ClientError> {
        let _one_at_a_time = self.shared.reopening.lock().await;
        let (initialize, again) = {
            let session = self.shared.session.lock();
            if session.generation != stale {
                return Ok(());
            }
            let again: Vec<Request> = session
                .level
                .iter()
                .chain(session.subscriptions.values())
                .cloned()
                .collect();
            (session.initialize.clone(), again)
        };
        let Some(initialize) = initialize else {
            return Ok(());
        };
        let initialize = initialize.rewritten(own_id(), None);
        let response = self.open(&initialize).await?;
        if let Outcome::Error(text) = &response.outcome {
            let error = RpcError::parse(text);
            return Err(ClientError::Rpc {
                method: "initialize".to_owned(),
                error,
            });
        }
        let (_, headers, _) = self.current();
        let initialized = Notification::new("notifications/initialized", None);
        self.post(headers.clone(), &initialized.text).await?;
        for request in again {
            let request = request.rewritten(own_id(), None);
            // The client had its answer the first time.
            let _ = self
                .post(headers.clone(), &request.text)
                .await?
                .next_text()
                .await;
        }
        self.listen();
        Ok(())
    }

    /// Opens the stream on which the server speaks first.
    fn listen(&self) {
        let (generation, _, _) = self.current();
        let bridge = self.clone();
        tokio::spawn(async move {
            let ended = bridge.shared.ended.clone();
            let _ = ended
                .run_until_cancelled(Box::pin(bridge.follow(generation)))
                .await;
        });
    }

    /// Keeps the stream open as long as the session is the current one.
    async fn follow(&self, generation: u64) {
        let (mut pause, mut last_event) = (PAUSE, None);
        loop {
            let (current, mut headers, in_session) = self.current();
            if current != generation {
                return;
            }
            if let Some(event) = last_event.clone() {
                headers.insert(LAST_EVENT_ID, event);
            }
            match self.shared.transport.get_stream(headers).await {
                Ok(mut reply) if reply.status.is_success() && reply.is_stream() => {
                    self.pass_all(&mut reply).await;
                    let event = reply.last_event_id.as_deref();
                    last_event = event
                        .and_then(|id| HeaderValue::from_str(id).ok())
                        .or(last_event);
                    pause = reply.retry.unwrap_or(PAUSE);
                }
                Ok(reply) if in_session && reply.status.as_u16() == NO_SUCH_SESSION => {
                    if Box::pin(self.reopen(generation)).await.is_ok() {
                        return;
                    }
                }
                // 405: the server has no such stream.
                Ok(reply) if reply.status.is_client_error() => return,
                Ok(_) | Err(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn pass_all(&self, reply: &mut Reply) {
        while let Ok(Some(text)) = reply.next_text().await {
            match Body::parse(text.clone().into_bytes()) {
                Ok(_) => self.shared.output.write(&text).await,
                Err(error) => eprintln!("mcp-ultra stdio: {error}"),
            }
        }
    }
}

/// The id of a request that the client knows nothing of.
fn own_id() -> Id {
    let id = Id::from_raw(ByteString::from_static("\"mcp-ultra-stdio\""));
    id.unwrap_or_else(|| Id::from(0))
}
