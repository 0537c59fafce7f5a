//! Caller and upstream speak the same era.

use futures_util::{StreamExt, stream::FuturesUnordered};
use mcp_ultra_protocol::{Era, Id, Outcome as Answer, Request, Response};

use super::{Ended, Talk, inbound, state};
use crate::{reply::Reply, stages::forward::Outcome, upstream::Event};

/// How many requests of one call may wait for the client at once.
const MAX_ASKED: usize = 64;

pub(super) async fn run(mut talk: Talk, reply: Reply) -> Outcome {
    let era = talk.routed.call.caller.era();
    let mut asked = FuturesUnordered::new();
    loop {
        let event = tokio::select! {
            event = talk.next(&reply) => event,
            Some(answer) = asked.next(), if !asked.is_empty() => {
                if let Err(error) = talk.exchange.answer(answer).await {
                    return talk.end(Ended::Failed(error), reply).await;
                }
                if asked.is_empty() {
                    talk.deadline.resume();
                }
                continue;
            }
        };
        match event {
            Ok(Event::Notification(notification)) => {
                if let Some(notification) = inbound::notification(&talk.routed, notification, era)
                    && let Err(ended) = talk.tell(&reply, notification.text).await
                {
                    return talk.end(ended, reply).await;
                }
            }
            Ok(Event::Request(request)) if asked.len() >= MAX_ASKED => {
                let why = "too many requests of this call wait for the client";
                refuse(&talk, &request.id, why).await;
            }
            Ok(Event::Request(request)) => {
                if let Some(answer) = ask_caller(&talk, &reply, request).await {
                    asked.push(answer);
                    talk.deadline.pause();
                }
            }
            Ok(Event::Response(response)) => return finish(talk, reply, response.outcome).await,
            // Turned into an error where events are read.
            Ok(Event::TooLarge(_)) => {}
            Err(ended) => return talk.end(ended, reply).await,
        }
    }
}

pub(super) async fn finish(talk: Talk, reply: Reply, outcome: Answer) -> Outcome {
    let outcome = match talk.routed.call.caller.era() {
        Era::Modern => {
            talk.note_mismatch(&outcome);
            inbound::modern(&talk.gateway, &talk.routed, outcome)
        }
        Era::Legacy => inbound::legacy(&talk.routed, outcome),
    };
    let asks = state::asks_for_input(&outcome);
    let kind = outcome_of(&outcome);
    reply.finish(&outcome).await;
    if asks { Outcome::InputRequired } else { kind }
}

pub(super) fn outcome_of(answer: &Answer) -> Outcome {
    match answer {
        Answer::Result(_) => Outcome::Result,
        Answer::Error(_) => Outcome::Error,
    }
}

/// Sends a server-to-client request on to the caller's session. The future is its answer, under
/// the upstream's own id; `None` where it has been answered already.
async fn ask_caller(
    talk: &Talk,
    reply: &Reply,
    request: Request,
) -> Option<impl Future<Output = Response> + use<>> {
    let Some(session) = talk.routed.call.caller.session.clone() else {
        // A modern upstream must not send requests.
        refuse(
            talk,
            &request.id,
            "requests of servers are not part of revision 2026-07-28",
        )
        .await;
        return None;
    };
    let can = talk.routed.call.caller.can();
    if let Some(missing) = can.missing_for(&request.method, request.params.as_deref()) {
        refuse(
            talk,
            &request.id,
            &format!("the client did not declare the capability {missing}"),
        )
        .await;
        return None;
    }
    let answer = session
        .ask(&request.method, request.params.as_deref(), Some(reply))
        .await;
    Some(async move {
        let answer = answer.wait().await;
        answer.with_id(&request.id)
    })
}

async fn refuse(talk: &Talk, id: &Id, why: &str) {
    let error = mcp_ultra_protocol::WireError::invalid_params(why.to_owned());
    drop(
        talk.exchange
            .answer(Response::error(Some(id), &error))
            .await,
    );
}
