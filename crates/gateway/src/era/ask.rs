//! A legacy caller and a modern upstream: `input_required` becomes server-to-client requests on
//! the caller's stream, then a retry under a new id.

use futures_util::future::join_all;
use mcp_ultra_protocol::{
    Era, Outcome as Answer, WireError,
    json::{self, Object},
};

use super::{
    Ended, Talk, inbound, open, outbound::Input, relay::outcome_of, state::asks_for_input,
};
use crate::{random, reply::Reply, stages::forward::Outcome, upstream::Event};

/// How many rounds one request may take, against an upstream that asks for ever.
const MAX_ROUNDS: usize = 32;

pub(super) async fn run(mut talk: Talk, reply: Reply) -> Outcome {
    for _ in 0..MAX_ROUNDS {
        let response = loop {
            match talk.next(&reply).await {
                Ok(Event::Notification(notification)) => {
                    let notification =
                        inbound::notification(&talk.routed, notification, Era::Modern);
                    if let Some(notification) = notification
                        && let Err(ended) = talk.tell(&reply, notification.text).await
                    {
                        return talk.end(ended, reply).await;
                    }
                }
                Ok(Event::Request(_) | Event::TooLarge(_)) => {}
                Ok(Event::Response(response)) => break response,
                Err(ended) => return talk.end(ended, reply).await,
            }
        };
        if !asks_for_input(&response.outcome) {
            talk.note_mismatch(&response.outcome);
            let kind = outcome_of(&response.outcome);
            reply.hint(&response.outcome);
            if is_of_another_kind(&response.outcome) {
                // Its client is not told so.
                reply.spoil();
            }
            let original = response.has_more().then(|| response.clone());
            let outcome = inbound::aged(&talk.routed, response.outcome);
            reply.finish(original.as_ref(), &outcome).await;
            return kind;
        }
        let Answer::Result(result) = &response.outcome else {
            return Outcome::Error;
        };
        reply.spoil();
        talk.deadline.pause();
        let input = tokio::select! {
            input = gather(&talk, &reply, result) => input,
            () = super::cancellation(talk.cancelled.as_ref()) => {
                return talk.end(Ended::Cancelled, reply).await;
            }
            () = talk.gateway.gives_up() => return talk.end(Ended::GivenUp, reply).await,
            () = talk.deadline.reached() => {
                let error = super::timed_out(&talk.routed);
                return talk.end(Ended::Failed(error), reply).await;
            }
        };
        talk.deadline.resume();
        let input = match input {
            Ok(input) => input,
            Err(error) => {
                reply.error(&error).await;
                return Outcome::Error;
            }
        };
        if let Err(ended) = retry(&mut talk, &input).await {
            return talk.end(ended, reply).await;
        }
    }
    reply
        .error(&WireError::internal(
            "the upstream server asked for input too many times",
        ))
        .await;
    Outcome::Failed("protocol")
}

/// Whether an answer is neither the result nor asks for input.
fn is_of_another_kind(answer: &Answer) -> bool {
    matches!(answer, Answer::Result(result) if inbound::kind(result) == inbound::Kind::Other)
}

/// Makes the call again with what was asked for, in the time that the upstream has for it.
async fn retry(talk: &mut Talk, input: &Input) -> Result<(), Ended> {
    let sent = tokio::select! {
        biased;
        sent = open::send(&talk.gateway, &talk.routed, Era::Modern, Some(input)) => sent.map_err(Ended::Failed),
        () = super::cancellation(talk.cancelled.as_ref()) => Err(Ended::Cancelled),
        () = talk.deadline.reached() => Err(Ended::Failed(super::timed_out(&talk.routed))),
    };
    talk.exchange = sent?;
    Ok(())
}

/// Asks the client for everything that the upstream needs.
async fn gather(talk: &Talk, reply: &Reply, result: &str) -> Result<Input, WireError> {
    let unreadable = |_| WireError::internal("the upstream server's input_required can't be read");
    let object = Object::parse(result).map_err(unreadable)?;
    let state = object.get("requestState").map(str::to_owned);
    let Some(requests) = object.get_object("inputRequests").map_err(unreadable)? else {
        return Ok(Input {
            responses: None,
            state,
        });
    };
    let caller = &talk.routed.call.caller;
    let session = caller
        .session
        .as_ref()
        .ok_or_else(|| WireError::internal("a request for input needs a session"))?;
    let can = caller.can();
    let mut keys = Vec::new();
    let mut answers = Vec::new();
    for member in requests.members() {
        let request = Object::parse(member.value).map_err(unreadable)?;
        let method = request.get_str("method").unwrap_or_default();
        let params = request.get("params").map(legacy_params);
        if let Some(missing) = can.missing_for(&method, params.as_deref()) {
            return Err(inbound::cannot_answer(Era::Legacy, missing));
        }
        keys.push(json::quote(&member.key));
        answers.push(session.ask(&method, params.as_deref(), Some(reply)).await);
    }
    let answers = join_all(answers.into_iter().map(crate::session::Asked::wait)).await;
    let mut responses = Vec::with_capacity(answers.len());
    for (key, answer) in keys.iter().zip(answers) {
        match answer.outcome {
            Answer::Result(result) => responses.push(format!("{key}:{result}")),
            Answer::Error(error) => return Err(declined(&error)),
        }
    }
    Ok(Input {
        responses: Some(format!("{{{}}}", responses.join(","))),
        state,
    })
}

/// URL elicitation has an id in 2025-11-25, and has none since.
fn legacy_params(params: &str) -> String {
    let Ok(object) = Object::parse(params) else {
        return params.to_owned();
    };
    let is_url = object.get_str("mode").is_some_and(|mode| mode == "url");
    if is_url && object.get("elicitationId").is_none() {
        return object
            .edit()
            .set_str("elicitationId", &random::identifier())
            .finish();
    }
    params.to_owned()
}

/// MRTR has no way to tell an upstream that the client failed: the call ends with its error.
fn declined(error: &str) -> WireError {
    let message = Object::parse(error)
        .ok()
        .and_then(|error| {
            error
                .get_str("message")
                .map(|text| text.chars().take(300).collect::<String>())
        })
        .unwrap_or_default();
    WireError::internal(format!(
        "the client could not give the input that the tool needs: {message}"
    ))
}
