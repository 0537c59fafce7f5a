use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use bytestring::ByteString;
use mcp_ultra_domain::{Principal, ports::SessionState};
use mcp_ultra_edge::credentials::LatestSubject;
use mcp_ultra_protocol::{Id, Notification, Request, Response, Version, WireError};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::Negotiated;
use crate::{
    access::Viewer,
    http::Identified,
    replicas::{Replicas, Whereabouts},
    reply::{Down, Reply},
    room::Room,
    upstream::Holder,
};

/// How long a client has to answer a question. People answer elicitations.
const ANSWER_TIME: Duration = Duration::from_mins(10);
/// How many messages may wait on the server-to-client stream; in bytes they are bounded by their
/// [`Room`].
const PUSH_QUEUE: usize = 64;

/// What a server is told that asks a client which can't be reached.
const NOWHERE: &str = "the client can't be asked: its request does not accept text/event-stream, or its stream is gone, and it has no GET stream open";

/// A legacy session as far as it lives in this process.
pub(crate) struct Live {
    pub id: Arc<str>,
    pub principal: Principal,
    /// In whose name upstreams are spoken to for it, where they need tokens.
    pub shown: LatestSubject,
    pub version: Version,
    /// The text of the client's capabilities.
    pub capabilities: ByteString,
    pub client_info: Option<ByteString>,
    /// When it was opened, since the Unix epoch.
    pub since: Duration,
    state: Mutex<SessionState>,
    used: Mutex<Instant>,
    /// Who hears its newest server-to-client stream: its principal, by the token that the stream was
    /// asked for with.
    viewer: Mutex<Viewer>,
    /// The calls in flight, by the client's ids.
    calls: Mutex<HashMap<Id, CancellationToken>>,
    questions: Mutex<Questions>,
    /// The open server-to-client streams, the newest last. Each message goes on one of them only
    /// (2025-11-25, Streamable HTTP, Multiple Connections).
    push: Mutex<Vec<Push>>,
    /// Cancelled when the session ends.
    ended: CancellationToken,
    /// Cancelled when its server-to-client streams end: with it, or before where the gateway
    /// drains.
    streams_ended: CancellationToken,
    /// What serves each subscription ends with its token.
    subscribed: Mutex<HashMap<String, CancellationToken>>,
    /// The other replicas, where there may be any.
    replicas: Option<Arc<Replicas>>,
    /// Which of them has the server-to-client stream, where this one has none.
    pub whereabouts: Whereabouts,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// Requests to the client that wait for their answers.
#[derive(Default)]
struct Questions {
    next: u64,
    waiting: HashMap<Id, oneshot::Sender<Response>>,
}

/// An open server-to-client stream.
struct Push {
    stream: mpsc::Sender<Down>,
    room: Room,
}

/// A question to the client that has been sent.
pub(crate) struct Asked {
    session: Arc<Live>,
    id: Id,
    answer: oneshot::Receiver<Response>,
}

impl Live {
    pub(super) fn new(
        negotiated: &Negotiated,
        principal: Principal,
        state: SessionState,
        replicas: Option<Arc<Replicas>>,
    ) -> Self {
        let ended = CancellationToken::new();
        Self {
            id: negotiated.id.as_str().into(),
            shown: LatestSubject::new(principal.clone()),
            viewer: Mutex::new(Viewer {
                principal: principal.clone(),
                address: None,
            }),
            principal,
            version: negotiated.version(),
            capabilities: negotiated.capabilities.clone().into(),
            client_info: negotiated.client_info.clone().map(ByteString::from),
            since: Duration::from_secs(negotiated.issued),
            state: Mutex::new(state),
            used: Mutex::new(Instant::now()),
            calls: Mutex::default(),
            questions: Mutex::default(),
            push: Mutex::default(),
            streams_ended: ended.child_token(),
            ended,
            subscribed: Mutex::default(),
            replicas,
            whereabouts: Whereabouts::default(),
        }
    }

    /// Whose its sessions with upstreams are.
    pub(crate) fn holder(&self) -> Holder {
        Holder::Session {
            id: self.id.clone(),
            tenant: self.principal.tenant().clone(),
        }
    }

    /// Notes what its client has shown, where somebody needs it.
    pub(super) fn note_shown(&self, identified: &Identified) {
        if let Some(token) = &identified.token {
            self.shown.show(&identified.principal, token);
        }
    }

    /// Notes that the client is still there.
    pub(super) fn touch(&self) {
        *self.used.lock() = Instant::now();
    }

    /// For how long its client was not heard of.
    pub(super) fn quiet_for(&self) -> Duration {
        self.used.lock().elapsed()
    }

    /// For how long nothing has happened; `None` while something is open.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        let busy = self.has_stream() || !self.calls.lock().is_empty();
        (!busy).then(|| self.quiet_for())
    }

    /// Notes who a server-to-client stream goes to.
    pub(crate) fn streams_to(&self, viewer: Viewer) {
        *self.viewer.lock() = viewer;
    }

    /// Who hears what is pushed to it.
    pub(crate) fn viewer(&self) -> Viewer {
        self.viewer.lock().clone()
    }

    pub(crate) fn log_level(&self) -> Option<String> {
        self.state.lock().log_level.clone()
    }

    pub(crate) fn set_log_level(&self, level: &str) {
        self.state.lock().log_level = Some(level.to_owned());
    }

    /// Adds a subscription. The token is cancelled when that one ends, also where another one to
    /// the same resource begins at once; `None` where there is one already.
    pub(crate) fn subscribe(&self, uri: &str) -> Option<CancellationToken> {
        let mut state = self.state.lock();
        if !state.subscriptions.insert(uri.to_owned()) {
            return None;
        }
        let token = self.ended.child_token();
        let before = self.subscribed.lock().insert(uri.to_owned(), token.clone());
        if let Some(before) = before {
            before.cancel();
        }
        Some(token)
    }

    /// Ends a subscription; `false` where there is none.
    pub(crate) fn unsubscribe(&self, uri: &str) -> bool {
        let mut state = self.state.lock();
        if let Some(token) = self.subscribed.lock().remove(uri) {
            token.cancel();
        }
        state.subscriptions.remove(uri)
    }

    pub(crate) fn subscriptions(&self) -> BTreeSet<String> {
        self.state.lock().subscriptions.clone()
    }

    /// Registers a call, so that a notification can cancel it.
    ///
    /// `None` where a call with this id is in flight already.
    pub(crate) fn begin_call(&self, id: &Id) -> Option<CancellationToken> {
        match self.calls.lock().entry(id.clone()) {
            Entry::Occupied(_) => None,
            Entry::Vacant(free) => Some(free.insert(self.ended.child_token()).clone()),
        }
    }

    pub(crate) fn end_call(&self, id: &Id) {
        self.calls.lock().remove(id);
        self.touch();
    }

    /// Cancels a call; unknown and finished ones are passed over (2025-11-25, Cancellation), which is
    /// `false`.
    pub(crate) fn cancel_call(&self, id: &Id) -> bool {
        let calls = self.calls.lock();
        calls.get(id).inspect(|token| token.cancel()).is_some()
    }

    /// Sends a request to the client: on the stream of the call that it belongs to, or on the
    /// server-to-client stream, at whichever replica that is, where that one is gone, or the client
    /// takes none for its call.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        method: &str,
        params: Option<&str>,
        on: Option<&Reply>,
    ) -> Asked {
        let (sender, answer) = oneshot::channel();
        let id = {
            let mut questions = self.questions.lock();
            questions.next += 1;
            let number = questions.next;
            // The answer may arrive at any replica.
            let of_replica = self.replicas.as_ref().and_then(|all| all.question(number));
            let id = of_replica.unwrap_or_else(|| Id::from(number));
            questions.waiting.insert(id.clone(), sender);
            id
        };
        let request = Request::new(id.clone(), method, params);
        // Made before anything is awaited: dropped half-way, it takes the question back.
        let asked = Asked {
            session: self.clone(),
            id,
            answer,
        };
        let sent = match on {
            Some(reply) => reply.message(request.text.clone()).await,
            None => false,
        };
        if !sent && !self.reach(&request.text).await {
            // Nowhere to ask: the answer is an error at once.
            self.questions.lock().waiting.remove(&asked.id);
        }
        asked
    }

    /// Takes the client's answer to a question; gives it back where it is to none of this replica.
    pub(crate) fn answered(&self, response: Response) -> Option<Response> {
        self.touch();
        let id = response.id.as_ref();
        match id.and_then(|id| self.questions.lock().waiting.remove(id)) {
            Some(waiting) => waiting.send(response).err(),
            None => Some(response),
        }
    }

    /// Sends a message on the newest server-to-client stream, at whichever replica that is. It is
    /// dropped where none is open or it is full.
    pub(crate) fn push(self: &Arc<Self>, text: ByteString) {
        if self.push_here(&text).is_none()
            && let Some(replicas) = &self.replicas
        {
            replicas.push_later(self, text);
        }
    }

    /// The same, for one who wants to know: `false` where it is dropped.
    async fn reach(&self, text: &ByteString) -> bool {
        match (self.push_here(text), &self.replicas) {
            (Some(is_sent), _) => is_sent,
            (None, Some(replicas)) => replicas.push(self, text).await,
            (None, None) => false,
        }
    }

    /// Sends a message on the newest server-to-client stream of this replica: whether there was room
    /// for it. `None` where no stream is open here.
    pub(crate) fn push_here(&self, text: &ByteString) -> Option<bool> {
        let push = self.push.lock();
        let newest = push.iter().rev().find(|push| push.is_open())?;
        let place = newest.room.try_enter(text.len());
        let fits = place.is_some();
        let down = || Down::counted(text.clone(), place);
        Some(fits && newest.stream.try_send(down()).is_ok())
    }

    /// Whether a server-to-client stream is open here.
    pub(crate) fn has_stream(&self) -> bool {
        self.push.lock().iter().any(Push::is_open)
    }

    /// Opens a server-to-client stream. Older ones stay open, but get no more messages.
    pub(crate) fn open_push(&self) -> (mpsc::Sender<Down>, mpsc::Receiver<Down>) {
        let (sender, receiver) = mpsc::channel(PUSH_QUEUE);
        let mut push = self.push.lock();
        push.retain(Push::is_open);
        push.push(Push {
            stream: sender.clone(),
            room: Room::default(),
        });
        (sender, receiver)
    }

    /// Whether messages go on this stream.
    pub(crate) fn pushes_on(&self, stream: &mpsc::Sender<Down>) -> bool {
        let push = self.push.lock();
        let newest = push.iter().rev().find(|push| push.is_open());
        newest.is_some_and(|newest| newest.stream.same_channel(stream))
    }

    /// Ends everything that is open.
    pub(super) fn end(&self) {
        self.ended.cancel();
        self.push.lock().clear();
        self.questions.lock().waiting.clear();
    }

    /// Ends the server-to-client streams; calls in flight go on.
    pub(super) fn end_streams(&self) {
        self.streams_ended.cancel();
        self.push.lock().clear();
    }

    /// Cancelled when the server-to-client streams of the session end.
    pub(crate) fn streams_ended(&self) -> CancellationToken {
        self.streams_ended.clone()
    }

    /// A notification of the client; `false` where it cancels what is not in flight here.
    pub(crate) fn notified(&self, notification: &Notification) -> bool {
        self.touch();
        notification
            .cancels()
            .is_none_or(|id| self.cancel_call(&id))
    }
}

impl Push {
    fn is_open(&self) -> bool {
        !self.stream.is_closed()
    }
}

impl Asked {
    /// The id that the client was asked under.
    pub(crate) fn id(&self) -> &Id {
        &self.id
    }

    /// The client's answer, or an error in its place where none comes.
    pub(crate) async fn wait(mut self) -> Response {
        let failed = |why: &'static str| Response::error(Some(&self.id), &WireError::internal(why));
        match tokio::time::timeout(ANSWER_TIME, &mut self.answer).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => failed(NOWHERE),
            Err(_) => {
                self.session.push(self.withdrawal());
                failed("the client did not answer in time")
            }
        }
    }

    /// Tells the client that nobody waits for its answer any more (2025-11-25, Lifecycle, Timeouts).
    fn withdrawal(&self) -> ByteString {
        let params = format!(
            "{{\"requestId\":{},\"reason\":\"it was not answered in time\"}}",
            self.id.as_raw()
        );
        Notification::new("notifications/cancelled", Some(&params)).text
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.session.questions.lock().waiting.remove(&self.id);
    }
}

#[cfg(test)]
mod tests;
