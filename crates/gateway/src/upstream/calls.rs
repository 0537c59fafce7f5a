use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use mcp_ultra_protocol::{Id, Notification, Request, json::Object, meta};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{self, error::TrySendError};

use super::{Event, Role};
use crate::room::{Place, Room};

/// How many events of one call may wait for their reader; in bytes they are bounded by their
/// [`Room`]. A caller that does not read slows its upstream session down, it does not make the
/// gateway grow.
const QUEUE: usize = 64;
/// How many questions of an upstream are known at once.
const MAX_QUESTIONS: usize = 1024;
/// How often a session that waits for its only caller looks whether others have come.
const OTHERS: Duration = Duration::from_millis(100);

/// The ids below are those of the messages that open a session: `server/discover` and
/// `initialize`. All are small, since servers read ids into all kinds of numbers.
const FIRST_CALL: u64 = 2;

/// What a message that has come on no stream of a call says of the call that it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", content = "id", rename_all = "snake_case")]
pub(crate) enum Named {
    /// Nothing: it is for the only one in flight.
    Sole,
    /// The text of its id.
    Call(String),
    /// The text of the id of what it has asked.
    Question(String),
}

/// Why no call has got a request of the upstream.
#[derive(Debug)]
pub(super) enum Unasked {
    /// No single call is in flight that could be meant.
    OfNobody(Request),
    /// The caller has not read what was sent before, or is gone: the id of the request.
    Refused(Id),
}

/// The calls in flight of one upstream session.
#[derive(Debug, Default)]
pub(super) struct Calls {
    next: AtomicU64,
    /// What the ids begin with, where others speak in the session too.
    prefix: Option<String>,
    in_flight: Mutex<HashMap<Id, InFlight>>,
    /// The calls that the upstream's own requests were given to, by the ids of these.
    questions: Mutex<HashMap<Id, Id>>,
    /// The log level that the session was last set to.
    log_level: Mutex<Option<String>>,
}

/// A call as far as its session knows it.
#[derive(Debug)]
struct InFlight {
    role: Role,
    events: mpsc::Sender<Queued>,
    /// For what comes before the answer.
    room: Room,
    /// The answer has come, or what may have been it: there is one.
    answered: bool,
}

/// An event that waits for its reader.
#[derive(Debug)]
struct Queued {
    event: Event,
    _place: Place,
}

/// Where to send what belongs to a call and is not its answer.
#[derive(Debug)]
pub(super) struct Line {
    role: Role,
    events: mpsc::Sender<Queued>,
    room: Room,
}

/// The events of one call.
#[derive(Debug)]
pub(super) struct Events(mpsc::Receiver<Queued>);

impl Events {
    /// The next event; `None` where the session has ended. Cancel-safe.
    pub(super) async fn recv(&mut self) -> Option<Event> {
        self.0.recv().await.map(|queued| queued.event)
    }

    /// Whether the session has ended, or forgotten the call, and nothing is left to be read.
    pub(super) fn is_over(&self) -> bool {
        self.0.is_closed() && self.0.is_empty()
    }
}

impl Calls {
    /// Those of one who speaks in a session that somebody else has opened, in which ids must be unique
    /// all the same: that one's are numbers, and these have a random part.
    pub(super) fn of_joined() -> Self {
        Self {
            prefix: Some(format!("{:016x}-", crate::random::number())),
            ..Self::default()
        }
    }

    /// An id that no other request of the session has.
    pub(super) fn next_id(&self) -> Id {
        let number = self.next.fetch_add(1, Ordering::Relaxed) + FIRST_CALL;
        let prefix = self.prefix.as_ref();
        let named = prefix.and_then(|prefix| Id::from_raw(format!("\"{prefix}{number}\"").into()));
        named.unwrap_or_else(|| Id::from(number))
    }

    /// Registers the call `id`; its events come out of the receiver.
    pub(super) fn begin(&self, id: &Id, role: Role) -> Events {
        let (events, receiver) = mpsc::channel(QUEUE);
        let call = InFlight {
            role,
            events,
            room: Room::default(),
            answered: false,
        };
        self.in_flight.lock().insert(id.clone(), call);
        Events(receiver)
    }

    /// Forgets the call `id`; `true` where it was in flight.
    pub(super) fn end(&self, id: &Id) -> bool {
        self.questions.lock().retain(|_, call| call != id);
        self.in_flight.lock().remove(id).is_some()
    }

    /// Forgets all calls: their receivers end.
    pub(super) fn end_all(&self) {
        self.questions.lock().clear();
        self.in_flight.lock().clear();
    }

    /// Notes the log level; `false` where it is the same as before.
    pub(super) fn remember_log_level(&self, level: &str) -> bool {
        let mut current = self.log_level.lock();
        if current.as_deref() == Some(level) {
            return false;
        }
        *current = Some(level.to_owned());
        true
    }

    /// How many calls are in flight that somebody needs.
    pub(super) fn count(&self) -> usize {
        let in_flight = self.in_flight.lock();
        let needed = |call: &&InFlight| call.role != Role::Background;
        in_flight.values().filter(needed).count()
    }

    /// Gives the call `id` its answer, or says that it was too large: the last event. `false` where
    /// no such call waits for one.
    ///
    /// It is not counted, and does not wait for a caller that is slow: there is one for each call.
    pub(super) fn answer(&self, id: &Id, event: Event) -> bool {
        let events = match self.in_flight.lock().get_mut(id) {
            Some(call) if !call.answered => {
                call.answered = true;
                call.events.clone()
            }
            _ => return false,
        };
        let queued = Queued {
            event,
            _place: None,
        };
        if let Err(TrySendError::Full(queued)) = events.try_send(queued) {
            tokio::spawn(async move { events.send(queued).await });
        }
        true
    }

    /// Tells all calls that what may have been their answer was over `limit`.
    pub(super) fn answer_all_too_large(&self, limit: usize) {
        let ids: Vec<Id> = self.in_flight.lock().keys().cloned().collect();
        for id in &ids {
            self.answer(id, Event::TooLarge(limit));
        }
    }

    /// Brings an event that is not the answer to its call without holding up the session's other
    /// calls. A caller that does not read slows its upstream down where it is the only one; where
    /// there are others, the event comes back once its queue is full: notifications are dropped
    /// then, and requests refused.
    pub(super) async fn deliver(&self, line: Line, event: Event) -> Result<(), Event> {
        let size = size_of(&event);
        let event = match line.room.try_enter(size) {
            Some(place) => {
                let queued = Queued {
                    event,
                    _place: Some(place),
                };
                match line.events.try_send(queued) {
                    Ok(()) => return Ok(()),
                    Err(TrySendError::Closed(queued)) => return Err(queued.event),
                    Err(TrySendError::Full(queued)) => queued.event,
                }
            }
            None => event,
        };
        while line.role != Role::Background && self.count() <= 1 {
            let room = async {
                let place = line.room.enter(size).await;
                (place, line.events.reserve().await)
            };
            tokio::select! {
                (place, room) = room => {
                    let Ok(room) = room else { return Err(event) };
                    room.send(Queued { event, _place: place });
                    return Ok(());
                }
                () = tokio::time::sleep(OTHERS) => {}
            }
        }
        tracing::debug!("a message for a caller that does not read was dropped or refused");
        Err(event)
    }

    /// Brings a request of the upstream to its call.
    pub(super) async fn ask(&self, request: Request) -> Result<(), Unasked> {
        let Some(call) = self.of_request(&request) else {
            return Err(Unasked::OfNobody(request));
        };
        let id = request.id.clone();
        let asked = self.deliver(call, Event::Request(request)).await;
        asked.map_err(|_| {
            self.answered(&id);
            Unasked::Refused(id)
        })
    }

    /// Where to send a notification: the call whose progress token it names, the one whose question
    /// it takes back, or the only one in flight. Progress tokens towards upstreams are the ids of
    /// their calls.
    pub(super) fn of_notification(&self, notification: &Notification) -> Option<Line> {
        if let Some(listen) = self.of_subscription(notification) {
            return Some(listen);
        }
        if notification.method == "notifications/progress" {
            let params = notification.params.as_ref()?;
            let token = Object::parse(params).ok()?.get("progressToken")?;
            return self.of_id(&Id::from_raw(token.to_owned().into())?);
        }
        if let Some(question) = notification.cancels() {
            let call = self.questions.lock().remove(&question)?;
            return self.of_id(&call);
        }
        Some(self.sole()?.1)
    }

    /// The `subscriptions/listen` call that a notification names (2026-07-28, Subscriptions).
    pub(super) fn of_subscription(&self, notification: &Notification) -> Option<Line> {
        let params = notification.params.as_ref()?;
        memchr::memmem::find(params.as_bytes(), b"subscriptionId")?;
        let meta = Object::parse(params).ok()?.get("_meta")?;
        let id = Object::parse(meta).ok()?.get(meta::SUBSCRIPTION_ID)?;
        self.of_id(&Id::from_raw(id.to_owned().into())?)
    }

    /// Whether the call that a message is for is in flight here.
    pub(super) fn has(&self, named: &Named) -> bool {
        let id = |text: &str| Id::from_raw(text.to_owned().into());
        match named {
            Named::Sole => self.sole().is_some(),
            Named::Call(call) => id(call).is_some_and(|id| self.of_id(&id).is_some()),
            Named::Question(question) => {
                id(question).is_some_and(|id| self.questions.lock().contains_key(&id))
            }
        }
    }

    /// Where to send a request that names no call: the only one in flight, or nowhere.
    fn of_request(&self, request: &Request) -> Option<Line> {
        let (id, call) = self.sole()?;
        self.asked(&request.id, &id);
        Some(call)
    }

    /// Notes that the upstream has asked something in the call `call`: what it says of the
    /// question later may come elsewhere, and names only that.
    pub(super) fn asked(&self, question: &Id, call: &Id) {
        let mut questions = self.questions.lock();
        if questions.len() < MAX_QUESTIONS {
            questions.insert(question.detached(), call.clone());
        }
    }

    /// Notes that a question has its answer.
    pub(super) fn answered(&self, question: &Id) {
        self.questions.lock().remove(question);
    }

    fn of_id(&self, id: &Id) -> Option<Line> {
        self.in_flight.lock().get(id).map(InFlight::line)
    }

    /// The call of a request or notification that names none: the only one in flight, or none.
    fn sole(&self) -> Option<(Id, Line)> {
        let in_flight = self.in_flight.lock();
        let mut calls = in_flight.iter().filter(|(_, call)| call.role == Role::Call);
        match (calls.next(), calls.next()) {
            (Some((id, call)), None) => Some((id.clone(), call.line())),
            _ => None,
        }
    }
}

impl InFlight {
    fn line(&self) -> Line {
        Line {
            role: self.role,
            events: self.events.clone(),
            room: self.room.shared(),
        }
    }
}

/// The bytes of an event that waits.
fn size_of(event: &Event) -> usize {
    match event {
        Event::Notification(notification) => notification.text.len(),
        Event::Request(request) => request.text.len(),
        Event::Response(response) => response.text.len(),
        Event::TooLarge(_) => 0,
    }
}

/// The call that a notification names; `None` where it should name one and does not.
pub(super) fn named_by(notification: &Notification) -> Option<Named> {
    if notification.method == "notifications/progress" {
        let params = Object::parse(notification.params.as_ref()?).ok()?;
        return Some(Named::Call(params.get("progressToken")?.to_owned()));
    }
    if notification.method == "notifications/cancelled" {
        let question = notification.cancels()?;
        return Some(Named::Question(question.as_raw().to_owned()));
    }
    Some(Named::Sole)
}

/// Whether a notification is about the session and not about any call.
pub(super) fn is_of_session(notification: &Notification) -> bool {
    matches!(
        &*notification.method,
        "notifications/tools/list_changed"
            | "notifications/prompts/list_changed"
            | "notifications/resources/list_changed"
            | "notifications/resources/updated"
            | "notifications/elicitation/complete"
    )
}

#[cfg(test)]
mod tests;
