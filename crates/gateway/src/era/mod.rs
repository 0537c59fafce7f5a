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

pub(crate) use inbound::public_update;
pub(crate) use open::ForCall;

/// Carries one call to its upstream and everything that comes back to the client.
pub(crate) async fn converse(gateway: &Arc<Gateway>, routed: Routed, reply: Reply) -> Outcome {
    let (routed, reply) = match state::resume(gateway, routed, reply).await {
        state::Resumed::Elsewhere => return Outcome::InputRequired,
        state::Resumed::Refused => return Outcome::Error,
        state::Resumed::Here(routed, reply) => (*routed, reply),
    };
    let cancelled = routed
        .call
        .caller
        .session
        .as_ref()
        .map_or_else(CancellationToken::new, |session| {
            session.begin_call(reply.id())
        });
    let deadline = tokio::time::Instant::now() + routed.upstream.settings().call_timeout;
    let opened = tokio::select! {
        opened = tokio::time::timeout_at(deadline, open::exchange(gateway, &routed)) => {
            opened.unwrap_or_else(|_| Err(timed_out(&routed)))
        }
        () = reply.gone(), if routed.call.caller.era() == Era::Modern => return Outcome::Cancelled,
        () = cancelled.cancelled() => return Outcome::Cancelled,
    };
    let id = reply.id().clone();
    let session = routed.call.caller.session.clone();
    let outcome = match opened {
        Err(error) => fail(gateway, &routed, &error, reply).await,
        Ok((exchange, target)) => {
            let talk = Talk {
                gateway: gateway.clone(),
                routed,
                exchange,
                cancelled,
                deadline,
            };
            match (talk.routed.call.caller.era(), target) {
                (Era::Modern, Era::Modern) | (Era::Legacy, Era::Legacy) => {
                    relay::run(talk, reply).await
                }
                (Era::Modern, Era::Legacy) => park::run(talk, reply).await,
                (Era::Legacy, Era::Modern) => ask::run(talk, reply).await,
            }
        }
    };
    if let Some(session) = session {
        session.end_call(&id);
    }
    outcome
}

/// An open call and what bounds it.
struct Talk {
    gateway: Arc<Gateway>,
    routed: Routed,
    exchange: Exchange,
    /// The client has cancelled by notification (legacy).
    cancelled: CancellationToken,
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
        let modern = self.routed.call.caller.era() == Era::Modern;
        tokio::select! {
            event = self.exchange.next() => event.map_err(Ended::Failed),
            () = reply.gone(), if modern => Err(Ended::Cancelled),
            () = self.cancelled.cancelled() => Err(Ended::Cancelled),
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
