//! A modern caller and a legacy upstream: a server-to-client request becomes `input_required`,
//! and the open call waits here for the caller's retry.

use std::{collections::HashMap, time::Duration};

use mcp_ultra_protocol::{
    Era, Notification, Outcome as Answer, Request, Response, WireError,
    json::{self, Object},
};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{Talk, inbound, relay::outcome_of, state};
use crate::{random, reply::Reply, stages::forward::Outcome, upstream::Event};

/// How long a call waits for its caller.
const WAIT: Duration = Duration::from_mins(10);
/// How many notifications are kept for a caller that is away.
const MAX_KEPT: usize = 256;
/// The key of the one request that waits.
const KEY: &str = "input";

/// A caller that has come back.
#[derive(Debug)]
pub(crate) struct Resume {
    /// The text of `inputResponses`.
    pub responses: String,
    /// Where the call goes on.
    pub reply: Reply,
}

/// The calls that wait for their callers, by the id in their sealed `requestState`.
#[derive(Debug, Default)]
pub(crate) struct Parking {
    waiting: Mutex<HashMap<String, mpsc::Sender<Resume>>>,
}

impl Parking {
    /// Brings a caller to its call. Each place is good for one return.
    pub(crate) async fn resume(&self, id: &str, resume: Resume) -> Result<(), Resume> {
        let Some(sender) = self.waiting.lock().remove(id) else {
            return Err(resume);
        };
        sender.send(resume).await.map_err(|unsent| unsent.0)
    }

    /// How many calls wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.lock().len()
    }

    fn place(&self) -> (String, mpsc::Receiver<Resume>) {
        let id = random::identifier();
        let (sender, receiver) = mpsc::channel(1);
        self.waiting.lock().insert(id.clone(), sender);
        (id, receiver)
    }

    fn leave(&self, id: &str) {
        self.waiting.lock().remove(id);
    }
}

pub(super) async fn run(mut talk: Talk, reply: Reply) -> Outcome {
    let mut reply = reply;
    loop {
        match talk.next(&reply).await {
            Ok(Event::Notification(notification)) => {
                let notification = inbound::notification(&talk.routed, notification, Era::Legacy);
                if let Some(notification) = notification {
                    reply.message(notification.text).await;
                }
            }
            Ok(Event::Request(request)) => {
                let can = talk.routed.call.caller.can();
                if let Some(missing) = can.missing_for(&request.method, request.params.as_deref()) {
                    return cannot_go_on(talk, reply, &request, missing).await;
                }
                match wait(&mut talk, reply, &request).await {
                    Ok(back) => reply = back,
                    Err(outcome) => return outcome,
                }
            }
            Ok(Event::Response(response)) => {
                let kind = outcome_of(&response.outcome);
                reply
                    .finish(&inbound::modernised(&talk.routed, response.outcome))
                    .await;
                return kind;
            }
            Ok(Event::TooLarge(_)) => {}
            Err(ended) => return talk.end(ended, reply).await,
        }
    }
}

/// The caller can't answer, so the call can't go on: both sides are told.
async fn cannot_go_on(talk: Talk, reply: Reply, request: &Request, missing: &str) -> Outcome {
    let error = WireError::invalid_params(format!("the client did not declare {missing}"));
    drop(
        talk.exchange
            .answer(Response::error(Some(&request.id), &error))
            .await,
    );
    let error = inbound::cannot_answer(Era::Modern, missing);
    reply.error(&error).await;
    talk.exchange
        .cancel("the client can't answer the request of the server")
        .await;
    Outcome::Error
}

/// Asks the caller for input and waits for its return. The upstream's request is answered then;
/// an `Err` is the end of the call.
async fn wait(talk: &mut Talk, reply: Reply, request: &Request) -> Result<Reply, Outcome> {
    let mut reply = reply;
    loop {
        let (id, mut returns) = talk.gateway.parking.place();
        let Some(state) = state::seal_parked(&talk.gateway, &talk.routed, &id) else {
            reply
                .error(&WireError::internal("the request could not be parked"))
                .await;
            return Err(Outcome::Failed("internal"));
        };
        reply.result(&input_required(request, &state)).await;
        let Some((resume, kept)) = until_return(talk, &mut returns).await else {
            talk.gateway.parking.leave(&id);
            talk.exchange
                .abandon("the client did not come back with its input")
                .await;
            return Err(Outcome::Cancelled);
        };
        reply = resume.reply.in_era(Era::Modern);
        for notification in kept {
            reply.message(notification.text).await;
        }
        let response = Object::parse(&resume.responses)
            .ok()
            .and_then(|responses| responses.get(KEY).filter(|text| json::is_object(text)));
        // Without the answer the caller is asked again (2026-07-28, MRTR, Error Handling).
        let Some(response) = response else { continue };
        let answer = Response::result(&request.id, response);
        if let Err(error) = talk.exchange.answer(answer).await {
            return Err(super::fail(&talk.gateway, &talk.routed, &error, reply).await);
        }
        return Ok(reply);
    }
}

/// Waits for the caller while the upstream may go on sending. `None` where the caller does not
/// come in time, or the upstream ends the call meanwhile.
async fn until_return(
    talk: &mut Talk,
    returns: &mut mpsc::Receiver<Resume>,
) -> Option<(Resume, Vec<Notification>)> {
    let mut kept = Vec::new();
    let late = tokio::time::sleep(WAIT);
    tokio::pin!(late);
    loop {
        tokio::select! {
            resume = returns.recv() => return Some((resume?, kept)),
            () = &mut late => return None,
            event = talk.exchange.next() => match event {
                Ok(Event::Notification(notification)) => {
                    let notification = inbound::notification(&talk.routed, notification, Era::Legacy);
                    if kept.len() < MAX_KEPT {
                        kept.extend(notification);
                    }
                }
                Ok(Event::Request(request)) => {
                    // One question at a time: an upstream that asks twice at once is told so.
                    let error = WireError::invalid_request("another request of this call is being answered; ask again afterwards");
                    drop(talk.exchange.answer(Response::error(Some(&request.id), &error)).await);
                }
                Ok(Event::Response(response)) => return give_up(response, returns, &mut late).await,
                Ok(Event::TooLarge(_)) | Err(_) => return None,
            },
        }
    }
}

/// The upstream has answered without waiting for the input: the caller gets that answer when it
/// comes back.
async fn give_up(
    response: Response,
    returns: &mut mpsc::Receiver<Resume>,
    late: &mut std::pin::Pin<&mut tokio::time::Sleep>,
) -> Option<(Resume, Vec<Notification>)> {
    let resume = tokio::select! {
        resume = returns.recv() => resume?,
        () = late => return None,
    };
    let outcome = match response.outcome {
        Answer::Result(result) => Object::parse(&result)
            .map(|object| object.edit().set("resultType", "\"complete\"").finish())
            .map_or(Answer::Result(result.clone()), |text| {
                Answer::Result(text.into())
            }),
        error @ Answer::Error(_) => error,
    };
    resume.reply.in_era(Era::Modern).finish(&outcome).await;
    None
}

/// The result that asks for input (2026-07-28, MRTR, `InputRequiredResult`).
fn input_required(request: &Request, state: &str) -> String {
    let params = request.params.as_deref().map(modern_params);
    let params = params
        .map(|params| format!(",\"params\":{params}"))
        .unwrap_or_default();
    format!(
        "{{\"resultType\":\"input_required\",\"inputRequests\":{{\"{KEY}\":{{\"method\":{}{params}}}}},\"requestState\":{}}}",
        json::quote(&request.method),
        json::quote(state)
    )
}

/// Progress tokens and tasks of the upstream's session mean nothing to the caller; the id of a
/// URL elicitation was removed with 2026-07-28.
fn modern_params(params: &str) -> String {
    let Ok(object) = Object::parse(params) else {
        return params.to_owned();
    };
    let mut edit = object.edit().remove("elicitationId").remove("task");
    if let Ok(Some(meta)) = object.get_object("_meta") {
        let meta = meta.edit().remove("progressToken").finish();
        edit = if meta == "{}" {
            edit.remove("_meta")
        } else {
            edit.set("_meta", meta)
        };
    }
    edit.finish()
}
