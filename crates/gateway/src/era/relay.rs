//! Caller and upstream speak the same era.

use futures_util::{StreamExt, stream::FuturesUnordered};
use mcp_ultra_protocol::{Era, Id, Outcome as Answer, Request, Response};

use super::{
    Ended, Talk,
    inbound::{self, Kind},
};
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
            Ok(Event::Request(request)) => match ask_caller(&talk, &reply, request).await {
                Ok(Some(answer)) => {
                    asked.push(answer);
                    talk.deadline.pause();
                }
                Ok(None) => {}
                Err(ended) => return talk.end(ended, reply).await,
            },
            Ok(Event::Response(response)) => return finish(talk, reply, response).await,
            // Turned into an error where events are read.
            Ok(Event::TooLarge(_)) => {}
            Err(ended) => return talk.end(ended, reply).await,
        }
    }
}

pub(super) async fn finish(talk: Talk, reply: Reply, response: Response) -> Outcome {
    // Kept only where it has more than its outcome.
    let original = response.has_more().then(|| response.clone());
    let (outcome, kind) = match talk.routed.call.caller.era() {
        Era::Modern => inbound::modern(&talk.gateway, &talk.routed, response.outcome),
        Era::Legacy => (
            inbound::legacy(&talk.routed, response.outcome),
            Kind::Complete,
        ),
    };
    let as_it_came = outcome_of(&outcome);
    reply.finish(original.as_ref(), &outcome).await;
    if kind == Kind::InputRequired {
        Outcome::InputRequired
    } else {
        as_it_came
    }
}

pub(super) fn outcome_of(answer: &Answer) -> Outcome {
    match answer {
        Answer::Result(_) => Outcome::Result,
        Answer::Error(_) => Outcome::Error,
    }
}

/// Sends a server-to-client request on to the caller's session. The future is its answer, under
/// the upstream's own id; `None` where it has been answered already. A client that does not read
/// what came before it can't keep its call from ending.
async fn ask_caller(
    talk: &Talk,
    reply: &Reply,
    request: Request,
) -> Result<Option<impl Future<Output = Response> + use<>>, Ended> {
    let Some(session) = talk.routed.call.caller.session.clone() else {
        // A modern upstream must not send requests.
        refuse(
            talk,
            &request.id,
            "requests of servers are not part of revision 2026-07-28",
        )
        .await;
        return Ok(None);
    };
    let can = talk.routed.call.caller.can();
    if let Some(missing) = can.missing_for(&request.method, request.params.as_deref()) {
        refuse(
            talk,
            &request.id,
            &format!("the client did not declare the capability {missing}"),
        )
        .await;
        return Ok(None);
    }
    let asked = tokio::select! {
        biased;
        asked = session.ask(&request.method, request.params.as_deref(), Some(reply)) => asked,
        () = super::cancellation(talk.cancelled.as_ref()) => return Err(Ended::Cancelled),
        () = talk.deadline.reached() => return Err(Ended::Failed(super::timed_out(&talk.routed))),
    };
    // Nothing of the request but its id need be kept while a person thinks.
    let id = request.id.detached();
    Ok(Some(async move { asked.wait().await.with_id(&id) }))
}

async fn refuse(talk: &Talk, id: &Id, why: &str) {
    let error = mcp_ultra_protocol::WireError::invalid_params(why.to_owned());
    drop(
        talk.exchange
            .answer(Response::error(Some(id), &error))
            .await,
    );
}
