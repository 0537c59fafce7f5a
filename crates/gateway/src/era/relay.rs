//! Caller and upstream speak the same era.

use bytestring::ByteString;
use mcp_ultra_protocol::{Era, Outcome as Answer, Request, Response};
use tokio::time::Instant;

use super::{
    Ended, Talk,
    inbound::{self, Kind},
    questions::Questions,
};
use crate::{reply::Reply, session::Asked, stages::forward::Outcome, upstream::Event};

pub(super) async fn run(mut talk: Talk, reply: Reply) -> Outcome {
    let era = talk.routed.call.caller.era();
    let gateway = talk.gateway.clone();
    let mut asked = Questions::default();
    loop {
        let event = tokio::select! {
            event = talk.next(&reply) => event,
            answer = asked.answered(), if !asked.is_empty() => {
                if let Err(ended) = talk.answer(answer).await {
                    return talk.end(ended, reply).await;
                }
                if asked.is_empty() {
                    talk.deadline.resume();
                }
                continue;
            }
            () = gateway.gives_up(), if !asked.is_empty() => Err(Ended::GivenUp),
        };
        match event {
            Ok(Event::Notification(notification)) if notification.cancels().is_some() => {
                if let Some(told) = asked.withdraw(&notification)
                    && let Err(ended) = tell_asked(&mut talk, &reply, told).await
                {
                    return talk.end(ended, reply).await;
                }
                if asked.is_empty() {
                    talk.deadline.resume();
                }
            }
            Ok(Event::Notification(notification)) => {
                if let Some(notification) = inbound::notification(&talk.routed, notification, era)
                    && let Err(ended) = talk.tell(&reply, notification.text).await
                {
                    return talk.end(ended, reply).await;
                }
            }
            Ok(Event::Request(request)) if asked.is_full() => {
                let why = "too many requests of this call wait for the client";
                talk.refuse(&request.id, why).await;
            }
            Ok(Event::Request(request)) => match ask_caller(&mut talk, &reply, &request).await {
                Ok(Some(question)) => {
                    // Nothing of the request but its id need be kept while a person thinks.
                    asked.add(request.id.detached(), question);
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
        Era::Modern => {
            reply.hint(&response.outcome);
            talk.note_mismatch(&response.outcome);
            inbound::modern(&talk.gateway, &talk.routed, response.outcome)
        }
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

/// Tells the client of a question that it has been asked, where that was: on the stream of the
/// call, or on the one of its session.
async fn tell_asked(talk: &mut Talk, reply: &Reply, text: ByteString) -> Result<(), Ended> {
    let told = talk.tell(reply, text.clone()).await?;
    if let Some(session) = talk.routed.call.caller.session.as_ref().filter(|_| !told) {
        session.push(text);
    }
    Ok(())
}

/// Sends a server-to-client request on to the caller's session; `None` where it has been answered
/// already. A client that does not read what came before it can't keep its call from ending.
async fn ask_caller(
    talk: &mut Talk,
    reply: &Reply,
    request: &Request,
) -> Result<Option<Asked>, Ended> {
    let Some(session) = talk.routed.call.caller.session.clone() else {
        // A modern upstream must not send requests.
        let why = "requests of servers are not part of revision 2026-07-28";
        talk.refuse(&request.id, why).await;
        return Ok(None);
    };
    reply.spoil();
    let can = talk.routed.call.caller.can();
    if let Some(missing) = can.missing_for(&request.method, request.params.as_deref()) {
        let why = format!("the client did not declare the capability {missing}");
        talk.refuse(&request.id, &why).await;
        return Ok(None);
    }
    let since = Instant::now();
    let asked = tokio::select! {
        biased;
        asked = session.ask(&request.method, request.params.as_deref(), Some(reply)) => Ok(Some(asked)),
        () = super::cancellation(talk.cancelled.as_ref()) => Err(Ended::Cancelled),
        () = talk.deadline.reached() => Err(Ended::Failed(super::timed_out(&talk.routed))),
    };
    talk.deadline.held_since(since);
    asked
}
