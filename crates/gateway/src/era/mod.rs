//! The conversation with an upstream during one call, and the translation where the caller's era
//! is not the upstream's.
//!
//! | caller | upstream | |
//! |---|---|---|
//! | modern | modern | [`relay`]: as it comes |
//! | legacy | legacy | [`relay`]: server-to-client requests go on to the caller's session |
//! | modern | legacy | [`park`]: a server-to-client request becomes `input_required`; the open call waits for the retry |
//! | legacy | modern | [`ask`]: `input_required` becomes server-to-client requests, then a retry |
//!
//! A server that its caller has to connect first is another matter: [`connect`].

mod ask;
pub(crate) mod connect;
mod deadline;
mod inbound;
mod open;
mod outbound;
pub(crate) mod park;
mod questions;
mod relay;
mod retry;
mod state;
mod url_elicitation;

use std::sync::Arc;

use bytestring::ByteString;
use mcp_ultra_edge::credentials::CredentialError;
use mcp_ultra_protocol::{Era, Id, Notification, Outcome as Answer, Response, WireError, error};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    Gateway,
    call::Routed,
    listen,
    reply::Reply,
    session::Live,
    stages::forward::Outcome,
    upstream::{Event, Exchange, Trial, UpstreamError},
};

use deadline::Deadline;
pub(crate) use inbound::{public_task_result, public_update, reaches_level};
pub(crate) use open::ForCall;

/// Carries one call to its upstream and everything that comes back to the client.
pub(crate) async fn converse(gateway: &Arc<Gateway>, routed: Box<Routed>, reply: Reply) -> Outcome {
    let (routed, reply) = if routed.call.continues {
        match Box::pin(state::resume(gateway, routed, reply)).await {
            state::Resumed::Elsewhere => return Outcome::InputRequired,
            state::Resumed::Refused => return Outcome::Error,
            state::Resumed::Here(routed, reply) => (routed, reply),
        }
    } else {
        (routed, reply)
    };
    let mark = match InFlight::begin(&routed, &reply) {
        Ok(mark) => mark,
        Err(error) => {
            reply.error(&error).await;
            return Outcome::Error;
        }
    };
    // It has waited for others who ask for the same.
    if reply.waited() >= routed.upstream.settings().call_timeout {
        let error = timed_out(&routed);
        return fail(gateway, &routed, &error, reply).await;
    }
    // Held for as long as the call is with the upstream (`limits.calls_per_server`).
    let Some(_place) = routed.upstream.enter() else {
        return fail(gateway, &routed, &UpstreamError::Busy, reply).await;
    };
    let trial = match routed.upstream.admit() {
        Ok(trial) => trial,
        Err(error) => return fail(gateway, &routed, &error, reply).await,
    };
    let cancelled = mark.as_ref().map(|mark| mark.cancelled.clone());
    in_flight(gateway, routed, reply, cancelled, trial).await
}

/// A call of a legacy session while it can be cancelled by its id. However it ends, the session
/// forgets it: one that did not would never be idle.
pub(crate) struct InFlight {
    session: Arc<Live>,
    id: Id,
    cancelled: CancellationToken,
}

impl InFlight {
    pub(crate) fn begin(routed: &Routed, reply: &Reply) -> Result<Option<Self>, WireError> {
        let Some(session) = &routed.call.caller.session else {
            return Ok(None);
        };
        let id = reply.id().clone();
        // 2025-11-25, Base Protocol, Requests: an id must not be used twice in a session. Two at
        // once could not be told apart by a cancellation.
        let cancelled = session.begin_call(&id).ok_or_else(|| {
            WireError::invalid_request("another request with this id is in flight in the session")
        })?;
        Ok(Some(Self {
            session: session.clone(),
            id,
            cancelled,
        }))
    }

    /// Completes when the client cancels by notification; never without a session.
    pub(crate) async fn cancelled(mark: Option<&Self>) {
        cancellation(mark.map(|mark| &mark.cancelled)).await;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.session.end_call(&self.id);
    }
}

async fn in_flight(
    gateway: &Arc<Gateway>,
    routed: Box<Routed>,
    reply: Reply,
    cancelled: Option<CancellationToken>,
    mut trial: Trial,
) -> Outcome {
    let limit = routed.upstream.settings().call_timeout;
    let deadline = Deadline::after(limit, reply.waited());
    let opened = tokio::select! {
        biased;
        opened = open_or_retry(gateway, &routed, &mut trial) => opened,
        () = reply.gone(), if cancelled.is_none() => return Outcome::Cancelled,
        () = cancellation(cancelled.as_ref()) => return Outcome::Cancelled,
        () = deadline.reached() => {
            if !deadline.is_the_upstreams() {
                trial.says_nothing();
            }
            Err(timed_out(&routed))
        }
    };
    let (exchange, target) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            trial.failed(&error);
            return fail(gateway, &routed, &error, reply).await;
        }
    };
    let mut talk = Talk {
        gateway: gateway.clone(),
        routed,
        exchange,
        cancelled,
        deadline,
        trial,
    };
    // Boxed: most answers are there at once, and the rest of a conversation takes much room.
    match (talk.routed.call.caller.era(), target) {
        (Era::Modern, Era::Modern) | (Era::Legacy, Era::Legacy) => {
            match talk.exchange.take_answer() {
                Some(response) => {
                    talk.trial.answered(talk.deadline.spent());
                    relay::finish(talk, reply, response).await
                }
                None => Box::pin(relay::run(talk, reply)).await,
            }
        }
        (Era::Modern, Era::Legacy) => Box::pin(park::run(talk, reply)).await,
        (Era::Legacy, Era::Modern) => Box::pin(ask::run(talk, reply)).await,
    }
}

/// Opens a call; again where it failed and may be made again.
async fn open_or_retry(
    gateway: &Arc<Gateway>,
    routed: &Routed,
    trial: &mut Trial,
) -> Result<(Exchange, Era), UpstreamError> {
    if let Some(retries) = routed.upstream.retries() {
        retries.budget.earn();
    }
    match open_call(gateway, routed).await {
        Err(error) => Box::pin(retry::open(gateway, routed, trial, error)).await,
        opened => opened,
    }
}

/// Opens a call; once more where it was made with a token that is no longer the caller's.
async fn open_call(
    gateway: &Arc<Gateway>,
    routed: &Routed,
) -> Result<(Exchange, Era), UpstreamError> {
    let first = open::exchange(gateway, routed).await;
    if matches!(first, Err(UpstreamError::Scope(_)))
        && Box::pin(connect::is_outdated(gateway, routed)).await
    {
        return Box::pin(open::exchange(gateway, routed)).await;
    }
    first
}

/// Completes when the client cancels by notification; never without a token.
async fn cancellation(token: Option<&CancellationToken>) {
    match token {
        Some(token) => token.cancelled().await,
        None => std::future::pending().await,
    }
}

/// An open call and what bounds it.
struct Talk {
    gateway: Arc<Gateway>,
    routed: Box<Routed>,
    exchange: Exchange,
    /// Tells that the client has cancelled by notification; a modern one disconnects.
    cancelled: Option<CancellationToken>,
    deadline: Deadline,
    /// What the breaker of the upstream learns from it.
    trial: Trial,
}

/// Why a conversation ends without an answer of the upstream.
enum Ended {
    Cancelled,
    Failed(UpstreamError),
    /// The gateway ends, and the answer of a person has not come.
    GivenUp,
}

impl Talk {
    /// The next event of the upstream, unless the client or the deadline ends the call before.
    /// A modern client cancels by disconnecting, a legacy one by notification; a legacy client
    /// that merely disconnects has not cancelled (2025-11-25, Cancellation).
    async fn next(&mut self, reply: &Reply) -> Result<Event, Ended> {
        let next = tokio::select! {
            biased;
            event = self.exchange.next() => event.map_err(Ended::Failed),
            () = reply.gone(), if self.cancelled.is_none() => Err(Ended::Cancelled),
            () = cancellation(self.cancelled.as_ref()) => Err(Ended::Cancelled),
            () = self.deadline.reached() => Err(self.late()),
        };
        match &next {
            Ok(event) => self.heard(event),
            Err(Ended::Failed(error)) => self.trial.failed(error),
            Err(Ended::Cancelled | Ended::GivenUp) => {}
        }
        next
    }

    /// The call has taken too long, which says something of the upstream only where it had that time.
    fn late(&mut self) -> Ended {
        if !self.deadline.is_the_upstreams() {
            self.trial.says_nothing();
        }
        Ended::Failed(timed_out(&self.routed))
    }

    /// Its first answer says how the upstream is.
    fn heard(&mut self, event: &Event) {
        match event {
            Event::Response(_) => self.trial.answered(self.deadline.spent()),
            Event::Request(_) => self.trial.asked(self.deadline.spent()),
            Event::Notification(notification) => self.note_update(notification),
            Event::TooLarge(_) => {}
        }
    }

    /// What is kept of a resource, or of a list, is outdated when its server says so, whoever is told.
    fn note_update(&self, notification: &Notification) {
        let upstream = &self.routed.upstream;
        if notification.method == listen::UPDATED {
            self.gateway.resource_outdated(upstream, notification);
        } else if let Some(kind) = listen::changed_list(&notification.method) {
            self.gateway.list_outdated(upstream.name(), kind);
            self.gateway.keepers.list_changed(upstream.name(), kind);
        }
    }

    /// Sends a message to the client. One that reads slowly slows its call down, but can neither
    /// keep it from being cancelled nor make it last longer than it may. `false` where it is gone:
    /// that ends the call of a modern client where the next event is awaited.
    async fn tell(&mut self, reply: &Reply, text: ByteString) -> Result<bool, Ended> {
        let since = Instant::now();
        let told = tokio::select! {
            biased;
            told = reply.message(text) => Ok(told),
            () = cancellation(self.cancelled.as_ref()) => Err(Ended::Cancelled),
            () = self.deadline.reached() => Err(Ended::Failed(timed_out(&self.routed))),
        };
        self.deadline.held_since(since);
        told
    }

    /// Passes an answer of the client on to the upstream, in the time that the upstream has for the
    /// call: it runs meanwhile, whoever else is being asked.
    async fn answer(&mut self, answer: Response) -> Result<(), Ended> {
        let was_paused = self.deadline.resume();
        let passed = tokio::select! {
            biased;
            passed = self.exchange.answer(answer) => passed.map_err(Ended::Failed),
            () = cancellation(self.cancelled.as_ref()) => Err(Ended::Cancelled),
            () = self.deadline.reached() => Err(self.late()),
        };
        if was_paused {
            self.deadline.pause();
        }
        if let Err(Ended::Failed(error)) = &passed {
            self.trial.failed(error);
        }
        passed
    }

    /// Answers a request of the upstream that its caller can't be asked. One that does not take that in
    /// is noticed where its next event is awaited.
    async fn refuse(&mut self, request: &Id, why: &str) {
        let error = WireError::invalid_params(why.to_owned());
        let refused = self.answer(Response::error(Some(request), &error)).await;
        if refused.is_err() {
            tracing::debug!("a request of an upstream could not be refused");
        }
    }

    /// A modern upstream that misses headers which mirror arguments, or others than it got, has
    /// changed its tools since they were read (2026-07-28, Streamable HTTP, Server Validation).
    fn note_mismatch(&self, outcome: &Answer) {
        if inbound::code(outcome) == Some(error::HEADER_MISMATCH) {
            self.gateway.keepers.suspect(self.routed.upstream.name());
        }
    }

    /// Ends the call for the client, and for the upstream where it still works on it.
    async fn end(&self, ended: Ended, reply: Reply) -> Outcome {
        match ended {
            Ended::Cancelled => {
                let why = "the client cancelled the request";
                self.exchange.abandon(why).await;
                Outcome::Cancelled
            }
            Ended::GivenUp => {
                self.gateway.metrics.parked_lost("drained", 1);
                reply.error_with_status(&given_up(), 503).await;
                self.exchange.abandon("the gateway ends").await;
                Outcome::Failed("given_up")
            }
            Ended::Failed(error) => {
                // The client first: an upstream that is late may not take this in time either.
                let outcome = fail(&self.gateway, &self.routed, &error, reply).await;
                if matches!(error, UpstreamError::Timeout(_)) {
                    self.exchange.abandon("the request took too long").await;
                }
                outcome
            }
        }
    }
}

/// The same reason as where a gateway is lost that holds a parked call: it is not known what its server has done.
fn given_up() -> WireError {
    let error = WireError::internal(
        "the gateway ended before the answer to what the server asked had come, and told the server that the request is cancelled; see to what was done before you send it again",
    );
    error.with_data("{\"reason\":\"lost\"}".to_owned())
}

fn timed_out(routed: &Routed) -> UpstreamError {
    UpstreamError::Timeout(routed.upstream.settings().call_timeout.as_secs())
}

async fn fail(gateway: &Gateway, routed: &Routed, error: &UpstreamError, reply: Reply) -> Outcome {
    // Also where it has ended in the middle of a conversation: the call begins anew then.
    if *error == UpstreamError::Credentials(CredentialError::NotGranted) {
        return Box::pin(connect::ask(gateway, routed, reply)).await;
    }
    let (error, mut reply) = match error {
        UpstreamError::Scope(lacking) => {
            match Box::pin(connect::ask_for_more(gateway, routed, lacking, reply)).await {
                Ok(outcome) => return outcome,
                Err((error, reply)) => (&error.clone(), reply),
            }
        }
        error => (error, reply),
    };
    let upstream = routed.upstream.name();
    if matches!(error, UpstreamError::Unreachable(_) | UpstreamError::Closed) {
        gateway.keepers.suspect(upstream);
    }
    if error.may_be_covered()
        && let Some(result) = reply.stale()
    {
        tracing::warn!(%upstream, method = routed.call.method.as_str(), %error, "an upstream failed, so what it answered before is given again");
        reply.result(&result).await;
        return Outcome::Result;
    }
    if let UpstreamError::Busy | UpstreamError::NoSession(_) | UpstreamError::CircuitOpen(_) = error
    {
        let retry_after = match error {
            UpstreamError::CircuitOpen(seconds) => *seconds,
            _ => None,
        };
        let wire = error.to_wire(upstream);
        reply.unavailable(&wire, retry_after).await;
        return Outcome::Failed(error.kind());
    }
    let call = &routed.call;
    tracing::warn!(request_id = %call.ids().request, trace_id = %call.trace_id(), %upstream, method = routed.call.method.as_str(), %error, "an upstream failed a call");
    reply.error(&error.to_wire(upstream)).await;
    Outcome::Failed(error.kind())
}
