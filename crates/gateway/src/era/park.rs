//! A modern caller and a legacy upstream: a server-to-client request becomes `input_required`,
//! and the open call waits here for the caller's retry.

use std::{collections::HashMap, time::Duration};

use mcp_ultra_domain::Principal;
use mcp_ultra_edge::credentials::Subject;
use mcp_ultra_protocol::{
    Era, Notification, Outcome as Answer, Request, Response, WireError,
    json::{self, Object},
};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{Ended, Talk, inbound, relay::outcome_of, state, url_elicitation};
use crate::{
    random,
    reply::{Reply, Taken},
    room,
    stages::forward::Outcome,
    upstream::Event,
};

/// How long a call waits for its caller.
const WAIT: Duration = Duration::from_mins(10);
/// How long it may take to notice that a caller went away while its server asked. A timer ends after
/// the runtime has looked at all connections, also where the process has stood still.
const NOTICED_WITHIN: Duration = Duration::from_millis(1);
/// How many notifications are kept for a caller that is away, and how many bytes of them.
const MAX_KEPT: usize = 256;
const MAX_KEPT_BYTES: usize = room::BYTES;
/// How many requests of one call may wait for its caller at once, and how many bytes of them. One
/// that waits alone may be larger.
const MAX_ASKED: usize = 16;
const MAX_ASKED_BYTES: usize = room::BYTES;

/// A caller that has come back.
#[derive(Debug)]
pub(crate) struct Resume {
    /// The text of `inputResponses`.
    pub responses: String,
    /// Where the call goes on.
    pub reply: Reply,
    /// In whose name: by the token that the caller has come back with.
    pub subject: Subject,
}

/// The calls that wait for their callers, by the id in their sealed `requestState`.
#[derive(Debug, Default)]
pub(crate) struct Parking {
    waiting: Mutex<HashMap<String, Waiting>>,
}

/// A call that waits.
#[derive(Debug)]
struct Waiting {
    principal: Principal,
    returns: mpsc::Sender<Resume>,
}

impl Parking {
    /// Brings a caller to its call. Each place is good for one return.
    pub(crate) async fn resume(&self, id: &str, resume: Resume) -> Result<(), Resume> {
        let Some(waiting) = self.waiting.lock().remove(id) else {
            return Err(resume);
        };
        let sent = waiting.returns.send(resume).await;
        sent.map_err(|unsent| unsent.0)
    }

    /// Whom a call waits for; `None` where it waits no more.
    pub(crate) fn waits_for(&self, id: &str) -> Option<Principal> {
        let waiting = self.waiting.lock();
        waiting.get(id).map(|waiting| waiting.principal.clone())
    }

    /// How many calls wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.lock().len()
    }

    /// A place for a call that waits; `None` where `limit` wait already: callers that do not come
    /// back must not take the room of all the others.
    fn place(
        &self,
        limit: usize,
        principal: &Principal,
    ) -> Option<(String, mpsc::Receiver<Resume>)> {
        let mut waiting = self.waiting.lock();
        if waiting.len() >= limit {
            return None;
        }
        let id = random::identifier();
        let (returns, receiver) = mpsc::channel(1);
        let principal = principal.clone();
        waiting.insert(id.clone(), Waiting { principal, returns });
        Some((id, receiver))
    }

    fn leave(&self, id: &str) {
        self.waiting.lock().remove(id);
    }
}

/// The requests of an upstream that its caller has not answered yet, by the keys that the caller
/// knows them under. No key is used twice in a call.
#[derive(Default)]
struct Asked {
    next: u32,
    open: Vec<(String, Request)>,
}

impl Asked {
    fn add(&mut self, request: Request) {
        self.next += 1;
        self.open.push((format!("input-{}", self.next), request));
    }

    /// Ends a question that the upstream no longer wants an answer to.
    fn withdraw(&mut self, cancelled: &Notification) {
        if let Some(id) = cancelled.cancels() {
            self.open.retain(|(_, request)| request.id != id);
        }
    }

    /// Whether one more may wait.
    fn has_room_for(&self, request: &Request) -> bool {
        let waiting = self.open.iter().map(|(_, request)| request.text.len());
        self.open.is_empty()
            || (self.open.len() < MAX_ASKED
                && waiting.sum::<usize>() + request.text.len() <= MAX_ASKED_BYTES)
    }

    /// The answers that `responses` has to what was asked. What it has no answer to stays open,
    /// and what was not asked is passed over.
    fn answered(&mut self, responses: &str) -> Vec<Response> {
        let Ok(responses) = Object::parse(responses) else {
            return Vec::new();
        };
        let mut answers = Vec::new();
        self.open.retain(|(key, request)| {
            let answer = responses.get(key).filter(|text| json::is_object(text));
            answers.extend(answer.map(|answer| Response::result(&request.id, answer)));
            answer.is_none()
        });
        answers
    }
}

pub(super) async fn run(mut talk: Talk, reply: Reply) -> Outcome {
    let mut reply = reply;
    let mut asked = Asked::default();
    loop {
        if !asked.open.is_empty() {
            talk.deadline.pause();
            let waited = wait(&mut talk, reply, &mut asked).await;
            talk.deadline.resume();
            reply = match waited {
                Ok(Back::Answered(reply)) => reply,
                Ok(Back::Over(reply, response)) => return finish(talk, reply, response).await,
                Err(outcome) => return outcome,
            };
            continue;
        }
        match talk.next(&reply).await {
            Ok(Event::Notification(notification)) => {
                let notification = inbound::notification(&talk.routed, notification, Era::Legacy);
                if let Some(notification) = notification
                    && let Err(ended) = talk.tell(&reply, notification.text).await
                {
                    return talk.end(ended, reply).await;
                }
            }
            Ok(Event::Request(request)) => {
                let can = talk.routed.call.caller.can();
                if let Some(missing) = can.missing_for(&request.method, request.params.as_deref()) {
                    return cannot_go_on(talk, reply, &request, missing).await;
                }
                asked.add(request);
            }
            Ok(Event::Response(response)) => return finish(talk, reply, response).await,
            Ok(Event::TooLarge(_)) => {}
            Err(ended) => return talk.end(ended, reply).await,
        }
    }
}

/// Gives the caller the upstream's answer.
async fn finish(talk: Talk, reply: Reply, response: Response) -> Outcome {
    if let Answer::Error(error) = &response.outcome
        && url_elicitation::is_required(error)
    {
        let caller = &talk.routed.call.caller;
        if !caller.can().elicitation_url {
            let error = inbound::cannot_answer(Era::Modern, r#"{"elicitation":{"url":{}}}"#);
            reply.error(&error).await;
            return Outcome::Error;
        }
        let asked = url_elicitation::input_required(error)
            .and_then(|asked| state::seal_upstream(&talk.gateway, &talk.routed, &asked));
        if let Some(asked) = asked {
            reply.result(&asked).await;
            return Outcome::InputRequired;
        }
    }
    let kind = outcome_of(&response.outcome);
    let original = response.has_more().then(|| response.clone());
    let outcome = inbound::modernised(&talk.routed, response.outcome);
    reply.finish(original.as_ref(), &outcome).await;
    kind
}

/// The caller can't answer, so the call can't go on: both sides are told.
async fn cannot_go_on(mut talk: Talk, reply: Reply, request: &Request, missing: &str) -> Outcome {
    let why = format!("the client did not declare {missing}");
    talk.refuse(&request.id, &why).await;
    let error = inbound::cannot_answer(Era::Modern, missing);
    reply.error(&error).await;
    talk.exchange
        .cancel("the client can't answer the request of the server")
        .await;
    Outcome::Error
}

/// How waiting for a caller ends, where the call goes on.
enum Back {
    /// The upstream has its answers.
    Answered(Reply),
    /// The upstream has finished the call without them.
    Over(Reply, Response),
}

/// Asks the caller for input and waits for its return. The upstream's requests are answered then;
/// an `Err` is the end of the call.
async fn wait(talk: &mut Talk, reply: Reply, asked: &mut Asked) -> Result<Back, Outcome> {
    let mut reply = reply;
    loop {
        let gone = tokio::time::timeout(NOTICED_WITHIN, reply.gone()).await;
        if gone.is_ok() {
            return Err(talk.end(Ended::Cancelled, reply).await);
        }
        let limit = talk.gateway.settings().max_parked;
        let principal = &talk.routed.call.caller.principal;
        let Some((id, mut returns)) = talk.gateway.parking.place(limit, principal) else {
            let error = WireError::internal(
                "too many calls wait for input of their clients; try again later",
            );
            reply.error_with_status(&error, 503).await;
            return Err(Outcome::Failed("busy"));
        };
        let Some(state) = state::seal_parked(&talk.gateway, &talk.routed, &id) else {
            talk.gateway.parking.leave(&id);
            reply
                .error(&WireError::internal("the request could not be parked"))
                .await;
            return Err(Outcome::Failed("internal"));
        };
        let taken = reply.result_to_take(&input_required(asked, &state)).await;
        let returned = until_return(talk, taken, &mut returns, asked).await;
        let Some((resume, kept, over)) = returned else {
            talk.gateway.parking.leave(&id);
            talk.exchange
                .abandon("the client did not come back with its input")
                .await;
            return Err(Outcome::Cancelled);
        };
        talk.exchange.speak_for(resume.subject);
        reply = resume.reply.in_era(Era::Modern);
        for notification in kept {
            // A caller that has gone again is noticed where the next event is awaited.
            if talk.tell(&reply, notification.text).await.is_err() {
                break;
            }
        }
        if let Some(over) = over {
            return Ok(Back::Over(reply, over));
        }
        let answers = asked.answered(&resume.responses);
        // Without any answer the caller is asked again (2026-07-28, MRTR, Error Handling), unless
        // the upstream has withdrawn all that it asked.
        if answers.is_empty() && !asked.open.is_empty() {
            continue;
        }
        for answer in answers {
            if let Err(ended) = talk.answer(answer).await {
                return Err(talk.end(ended, reply).await);
            }
        }
        return Ok(Back::Answered(reply));
    }
}

/// Waits for the caller while the upstream may go on sending: what it tells is kept, what it asks
/// is asked next time, and its answer is given to the caller when it comes back. `None` where the
/// caller was gone before it was asked, does not come in time, or the upstream fails meanwhile.
async fn until_return(
    talk: &mut Talk,
    mut taken: Taken,
    returns: &mut mpsc::Receiver<Resume>,
    asked: &mut Asked,
) -> Option<(Resume, Vec<Notification>, Option<Response>)> {
    let mut kept = Vec::new();
    let mut kept_bytes = 0;
    let mut over = None;
    let mut is_asked = false;
    let late = tokio::time::sleep(WAIT);
    tokio::pin!(late);
    loop {
        let event = tokio::select! {
            resume = returns.recv() => return Some((resume?, kept, over)),
            has_it = &mut taken, if !is_asked => {
                if !has_it {
                    return None;
                }
                is_asked = true;
                continue;
            }
            () = &mut late => return None,
            () = talk.deadline.reached() => return None,
            event = talk.exchange.next(), if over.is_none() => event,
        };
        match &event {
            Ok(event) => talk.heard(event),
            Err(error) => talk.trial.failed(error),
        }
        match event {
            Ok(Event::Notification(notification)) => {
                asked.withdraw(&notification);
                let notification = inbound::notification(&talk.routed, notification, Era::Legacy);
                if let Some(notification) = notification
                    && kept.len() < MAX_KEPT
                    && kept_bytes + notification.text.len() <= MAX_KEPT_BYTES
                {
                    kept_bytes += notification.text.len();
                    kept.push(notification);
                }
            }
            Ok(Event::Request(request)) => {
                let can = talk.routed.call.caller.can();
                let missing = can.missing_for(&request.method, request.params.as_deref());
                if let Some(missing) = missing {
                    let why = format!("the client did not declare {missing}");
                    talk.refuse(&request.id, &why).await;
                } else if !asked.has_room_for(&request) {
                    let why = "too many requests of this call wait for the client";
                    talk.refuse(&request.id, why).await;
                } else {
                    asked.add(request);
                }
            }
            Ok(Event::Response(response)) => over = Some(response),
            Ok(Event::TooLarge(_)) | Err(_) => return None,
        }
    }
}

/// The result that asks for input (2026-07-28, MRTR, `InputRequiredResult`).
fn input_required(asked: &Asked, state: &str) -> String {
    let requests: Vec<String> = asked
        .open
        .iter()
        .map(|(key, request)| {
            let params = request
                .params
                .as_deref()
                .map(|params| format!(",\"params\":{}", modern_params(params)))
                .unwrap_or_default();
            format!(
                "\"{key}\":{{\"method\":{}{params}}}",
                json::quote(&request.method)
            )
        })
        .collect();
    format!(
        "{{\"resultType\":\"input_required\",\"inputRequests\":{{{}}},\"requestState\":{}}}",
        requests.join(","),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: u64) -> Request {
        Request::new(id.into(), "elicitation/create", Some(r#"{"message":"m"}"#))
    }

    #[test]
    fn several_requests_are_asked_at_once_and_missing_answers_again() {
        let mut asked = Asked::default();
        asked.add(request(7));
        asked.add(request(8));
        let result: serde_json::Value = serde_json::from_str(&input_required(&asked, "s")).unwrap();
        assert_eq!(result["inputRequests"].as_object().unwrap().len(), 2);

        let responses = r#"{"other":{},"input-2":{"action":"accept"},"input-1":5}"#;
        let answers = asked.answered(responses);
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].id.as_ref().unwrap().as_raw(), "8");
        assert_eq!(asked.open.len(), 1, "what has no answer stays open");

        asked.add(request(9));
        assert_eq!(asked.open[1].0, "input-3", "no key is used twice");
        asked.withdraw(&Notification::new(
            "notifications/cancelled",
            Some(r#"{"requestId":9}"#),
        ));
        assert_eq!(asked.open.len(), 1, "withdrawn");
        assert!(asked.answered("[]").is_empty());
    }

    #[test]
    fn what_waits_for_a_caller_is_bounded_in_number_and_bytes() {
        let large = |bytes: usize| {
            let params = format!("{{\"message\":\"{}\"}}", "x".repeat(bytes));
            Request::new(1.into(), "elicitation/create", Some(&params))
        };
        let mut asked = Asked::default();
        assert!(asked.has_room_for(&large(2 * MAX_ASKED_BYTES)));
        asked.add(large(MAX_ASKED_BYTES / 2));
        assert!(asked.has_room_for(&request(2)));
        assert!(!asked.has_room_for(&large(MAX_ASKED_BYTES / 2)));
        for id in 1..16 {
            asked.add(request(id));
        }
        assert!(!asked.has_room_for(&request(17)));
    }

    #[tokio::test]
    async fn places_are_bounded_and_good_for_one_return() {
        let parking = Parking::default();
        let ana = Principal::anonymous();
        let (id, mut returns) = parking.place(1, &ana).unwrap();
        assert!(parking.place(1, &ana).is_none());
        assert_eq!(parking.waits_for(&id).unwrap().id(), ana.id());
        let back = || Resume {
            responses: "{}".into(),
            reply: crate::reply::channel(1.into()).0,
            subject: Subject::Gateway,
        };
        assert!(parking.resume(&id, back()).await.is_ok());
        assert!(parking.resume(&id, back()).await.is_err(), "answered twice");
        assert!(returns.recv().await.is_some());
        assert!(parking.waits_for(&id).is_none());
        assert!(parking.place(1, &ana).is_some());
    }
}
