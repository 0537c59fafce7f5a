//! The conversation with an upstream during one call, and the translation where the caller's era
//! is not the upstream's.
//!
//! | caller | upstream | |
//! |---|---|---|
//! | modern | modern | [`relay`]: as it comes |
//! | legacy | legacy | [`relay`]: server-to-client requests go on to the caller's session |
//! | modern | legacy | [`park`]: a server-to-client request becomes `input_required`; the open call waits for the retry |
//! | legacy | modern | [`ask`]: `input_required` becomes server-to-client requests, then a retry |

mod ask;
mod inbound;
mod open;
mod outbound;
pub(crate) mod park;
mod relay;
mod state;

use std::sync::Arc;

use mcp_ultra_protocol::Era;
use tokio_util::sync::CancellationToken;

use crate::{
    Gateway,
    call::Routed,
    reply::Reply,
    stages::forward::Outcome,
    upstream::{Exchange, UpstreamError},
};

pub(crate) use inbound::{public_update, reaches_level};
pub(crate) use open::ForCall;

/// Carries one call to its upstream and everything that comes back to the client.
pub(crate) async fn converse(gateway: &Arc<Gateway>, routed: Routed, reply: Reply) -> Outcome {
    let (routed, reply) = if routed.call.continues {
        match Box::pin(state::resume(gateway, routed, reply)).await {
            state::Resumed::Elsewhere => return Outcome::InputRequired,
            state::Resumed::Refused => return Outcome::Error,
            state::Resumed::Here(routed, reply) => (*routed, reply),
        }
    } else {
        (routed, reply)
    };
    let session = routed.call.caller.session.clone();
    let cancelled = session
        .as_ref()
        .map(|session| session.begin_call(reply.id()));
    let id = session.is_some().then(|| reply.id().clone());
    let outcome = in_flight(gateway, routed, reply, cancelled).await;
    if let (Some(session), Some(id)) = (session, id) {
        session.end_call(&id);
    }
    outcome
}

async fn in_flight(
    gateway: &Arc<Gateway>,
    routed: Routed,
    reply: Reply,
    cancelled: Option<CancellationToken>,
) -> Outcome {
    let deadline = tokio::time::Instant::now() + routed.upstream.settings().call_timeout;
    let opened = tokio::select! {
        biased;
        opened = open::exchange(gateway, &routed) => opened,
        () = reply.gone(), if cancelled.is_none() => return Outcome::Cancelled,
        () = cancellation(cancelled.as_ref()) => return Outcome::Cancelled,
        () = tokio::time::sleep_until(deadline) => Err(timed_out(&routed)),
    };
    let (exchange, target) = match opened {
        Ok(opened) => opened,
        Err(error) => return fail(gateway, &routed, &error, reply).await,
    };
    let mut talk = Talk {
        gateway: gateway.clone(),
        routed,
        exchange,
        cancelled,
        deadline,
    };
    // Boxed: most answers are there at once, and the rest of a conversation takes much room.
    match (talk.routed.call.caller.era(), target) {
        (Era::Modern, Era::Modern) | (Era::Legacy, Era::Legacy) => {
            match talk.exchange.take_answer() {
                Some(response) => relay::finish(talk, reply, response.outcome).await,
                None => Box::pin(relay::run(talk, reply)).await,
            }
        }
        (Era::Modern, Era::Legacy) => Box::pin(park::run(talk, reply)).await,
        (Era::Legacy, Era::Modern) => Box::pin(ask::run(talk, reply)).await,
    }
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
    routed: Routed,
    exchange: Exchange,
    /// Tells that the client has cancelled by notification; a modern one disconnects.
    cancelled: Option<CancellationToken>,
    deadline: tokio::time::Instant,
}

/// Why a conversation ends without an answer of the upstream.
enum Ended {
    Cancelled,
    Failed(UpstreamError),
}

impl Talk {
    /// The next event of the upstream, unless the client or the deadline ends the call before.
    /// A modern client cancels by disconnecting, a legacy one by notification; a legacy client
    /// that merely disconnects has not cancelled (2025-11-25, Cancellation).
    async fn next(&mut self, reply: &Reply) -> Result<crate::upstream::Event, Ended> {
        tokio::select! {
            biased;
            event = self.exchange.next() => event.map_err(Ended::Failed),
            () = reply.gone(), if self.cancelled.is_none() => Err(Ended::Cancelled),
            () = cancellation(self.cancelled.as_ref()) => Err(Ended::Cancelled),
            () = tokio::time::sleep_until(self.deadline) => {
                Err(Ended::Failed(timed_out(&self.routed)))
            }
        }
    }

    /// Ends the call for the client, and for the upstream where it still works on it.
    async fn end(self, ended: Ended, reply: Reply) -> Outcome {
        match ended {
            Ended::Cancelled => {
                self.exchange
                    .cancel("the client cancelled the request")
                    .await;
                Outcome::Cancelled
            }
            Ended::Failed(error) => {
                if matches!(error, UpstreamError::Timeout(_)) {
                    self.exchange.cancel("the request took too long").await;
                }
                fail(&self.gateway, &self.routed, &error, reply).await
            }
        }
    }
}

fn timed_out(routed: &Routed) -> UpstreamError {
    UpstreamError::Timeout(routed.upstream.settings().call_timeout.as_secs())
}

async fn fail(gateway: &Gateway, routed: &Routed, error: &UpstreamError, reply: Reply) -> Outcome {
    let upstream = routed.upstream.name();
    if matches!(error, UpstreamError::Unreachable(_) | UpstreamError::Closed) {
        gateway.keepers.suspect(upstream);
    }
    tracing::warn!(%upstream, method = routed.call.method.as_str(), %error, "an upstream failed a call");
    reply.error(&error.to_wire(upstream)).await;
    Outcome::Failed(error.kind())
}
