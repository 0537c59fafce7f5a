use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use mcp_ultra_protocol::{Id, Notification, Request, Response, WireError, json::Object, meta};
use parking_lot::Mutex;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::Event;
use crate::room::{Place, Room};

/// How many events of one call may wait for their reader; in bytes they are bounded by their
/// [`Room`]. A caller that does not read slows its upstream session down, it does not make the
/// gateway grow.
const QUEUE: usize = 64;
/// How often a session that waits for its only caller looks whether others have come.
const OTHERS: Duration = Duration::from_millis(100);

/// The ids below are those of the messages that open a session: `server/discover` and
/// `initialize`. All are small, since servers read ids into all kinds of numbers.
const FIRST_CALL: u64 = 2;

/// The calls in flight of one upstream session.
#[derive(Debug, Default)]
pub(super) struct Calls {
    next: AtomicU64,
    in_flight: Mutex<HashMap<Id, InFlight>>,
    /// The log level that the session was last set to.
    log_level: Mutex<Option<String>>,
    /// How many callers are subscribed to each resource.
    subscribed: Mutex<HashMap<String, usize>>,
}

/// A call as far as its session knows it.
#[derive(Debug)]
struct InFlight {
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
}

impl Calls {
    /// An id that no other request of the session has.
    pub(super) fn next_id(&self) -> Id {
        Id::from(self.next.fetch_add(1, Ordering::Relaxed) + FIRST_CALL)
    }

    /// Registers the call `id`; its events come out of the receiver.
    pub(super) fn begin(&self, id: &Id) -> Events {
        let (events, receiver) = mpsc::channel(QUEUE);
        let call = InFlight {
            events,
            room: Room::default(),
            answered: false,
        };
        self.in_flight.lock().insert(id.clone(), call);
        Events(receiver)
    }

    /// Forgets the call `id`; `true` where it was in flight.
    pub(super) fn end(&self, id: &Id) -> bool {
        self.in_flight.lock().remove(id).is_some()
    }

    /// Forgets all calls: their receivers end.
    pub(super) fn end_all(&self) {
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

    /// Notes a subscription; `true` where it is the resource's first.
    pub(super) fn subscribe(&self, uri: &str) -> bool {
        let mut subscribed = self.subscribed.lock();
        let count = subscribed.entry(uri.to_owned()).or_default();
        *count += 1;
        *count == 1
    }

    /// Notes the end of a subscription; `true` where it was the resource's last.
    pub(super) fn unsubscribe(&self, uri: &str) -> bool {
        let mut subscribed = self.subscribed.lock();
        let Some(count) = subscribed.get_mut(uri) else {
            return false;
        };
        *count -= 1;
        let last = *count == 0;
        if last {
            subscribed.remove(uri);
        }
        last
    }

    pub(super) fn has_subscriptions(&self) -> bool {
        !self.subscribed.lock().is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.in_flight.lock().len()
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
        while self.count() <= 1 {
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

    /// Brings a request of the upstream to its call. The response is for those that no call gets.
    pub(super) async fn ask(&self, request: Request) -> Option<Response> {
        if request.method == "ping" {
            return Some(Response::result(&request.id, "{}"));
        }
        let id = request.id.clone();
        let Some(call) = self.sole() else {
            return Some(Response::error(Some(&id), &no_caller()));
        };
        let asked = self.deliver(call, Event::Request(request)).await;
        asked
            .is_err()
            .then(|| Response::error(Some(&id), &too_much()))
    }

    /// Where to send a notification: the call whose progress token it names, or the only one in
    /// flight. Progress tokens towards upstreams are the ids of their calls.
    pub(super) fn of_notification(&self, notification: &Notification) -> Option<Line> {
        if let Some(listen) = self.of_subscription(notification) {
            return Some(listen);
        }
        if notification.method == "notifications/progress" {
            let params = notification.params.as_ref()?;
            let token = Object::parse(params).ok()?.get("progressToken")?;
            return self.of_id(&Id::from_raw(token.to_owned().into())?);
        }
        self.sole()
    }

    /// The `subscriptions/listen` call that a notification names (2026-07-28, Subscriptions).
    pub(super) fn of_subscription(&self, notification: &Notification) -> Option<Line> {
        let params = notification.params.as_ref()?;
        memchr::memmem::find(params.as_bytes(), b"subscriptionId")?;
        let meta = Object::parse(params).ok()?.get("_meta")?;
        let id = Object::parse(meta).ok()?.get(meta::SUBSCRIPTION_ID)?;
        self.of_id(&Id::from_raw(id.to_owned().into())?)
    }

    fn of_id(&self, id: &Id) -> Option<Line> {
        self.in_flight.lock().get(id).map(InFlight::line)
    }

    /// The call of a request or notification that names none: the only one in flight, or none.
    fn sole(&self) -> Option<Line> {
        let in_flight = self.in_flight.lock();
        let mut calls = in_flight.values();
        match (calls.next(), calls.next()) {
            (Some(call), None) => Some(call.line()),
            _ => None,
        }
    }
}

impl InFlight {
    fn line(&self) -> Line {
        Line {
            events: self.events.clone(),
            room: self.room.shared(),
        }
    }
}

/// What an upstream gets that asks without a call that could be meant.
fn no_caller() -> WireError {
    WireError::invalid_request(
        "no single call is in flight that this request could belong to; send it on the stream of its call",
    )
}

/// What an upstream gets that asks a caller which does not read.
fn too_much() -> WireError {
    WireError::internal("the caller has not read what was sent before, or is gone")
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
mod tests {
    use super::*;

    fn progress(token: &str) -> Notification {
        let params = format!("{{\"progressToken\":{token},\"progress\":1}}");
        Notification::new("notifications/progress", Some(&params))
    }

    #[test]
    fn what_names_no_call_goes_to_the_only_one_or_nowhere() {
        let calls = Calls::default();
        let log = Notification::new("notifications/message", None);
        assert!(calls.of_notification(&log).is_none());
        let (a, b) = (calls.next_id(), calls.next_id());
        let _a = calls.begin(&a);
        assert!(calls.of_notification(&log).is_some());
        let _b = calls.begin(&b);
        assert!(
            calls.of_notification(&log).is_none(),
            "two in flight: it could be either's"
        );
        assert!(calls.of_notification(&progress(a.as_raw())).is_some());
        assert!(calls.of_notification(&progress("99")).is_none());
        assert!(calls.end(&a) && !calls.end(&a));
    }

    fn note() -> Event {
        Event::Notification(progress("1"))
    }

    /// A log message of this many bytes.
    fn log(bytes: usize) -> Event {
        let params = format!("{{\"data\":\"{}\"}}", "x".repeat(bytes));
        Event::Notification(Notification::new("notifications/message", Some(&params)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_does_not_read_holds_up_nobody_else() {
        let calls = Calls::default();
        let (a, b) = (calls.next_id(), calls.next_id());
        let (mut slow, mut other) = (calls.begin(&a), calls.begin(&b));
        let mut dropped = 0;
        for _ in 0..QUEUE + 10 {
            let delivered = calls.deliver(calls.of_id(&a).unwrap(), note()).await;
            dropped += usize::from(delivered.is_err());
        }
        assert_eq!(dropped, 10);
        let answer = || Event::Response(Response::result(&a, "{}"));
        assert!(calls.answer(&a, answer()));
        assert!(!calls.answer(&a, answer()), "a second answer is none");
        let to_other = calls.deliver(calls.of_id(&b).unwrap(), note()).await;
        assert!(to_other.is_ok() && other.recv().await.is_some());
        let mut got = 0;
        while !matches!(slow.recv().await, Some(Event::Response(_))) {
            got += 1;
        }
        assert_eq!(
            got, QUEUE,
            "what did not fit was dropped, the answer was not"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_a_caller_is_bounded_in_bytes() {
        let calls = Calls::default();
        let (a, b) = (calls.next_id(), calls.next_id());
        let mut slow = calls.begin(&a);
        let other = calls.begin(&b);
        let line = || calls.of_id(&a).unwrap();
        let half = || log(crate::room::BYTES * 2 / 3);
        assert!(calls.deliver(line(), half()).await.is_ok());
        assert!(calls.deliver(line(), half()).await.is_err(), "among others");
        let question = Request::new(Id::from(1), "roots/list", None);
        let params = format!("{{\"m\":\"{}\"}}", "x".repeat(crate::room::BYTES * 2 / 3));
        let large = Request::new(Id::from(1), "sampling/createMessage", Some(&params));
        assert!(
            calls
                .deliver(line(), Event::Request(question))
                .await
                .is_ok()
        );
        let refused = calls.deliver(line(), Event::Request(large)).await;
        assert!(matches!(refused, Err(Event::Request(_))), "{refused:?}");

        drop(other);
        calls.end(&b);
        let (delivered, ()) = tokio::join!(calls.deliver(line(), half()), async {
            tokio::time::sleep(OTHERS * 3).await;
            assert!(slow.recv().await.is_some());
        });
        assert!(delivered.is_ok(), "alone, it waited for its reader");
    }

    #[tokio::test(start_paused = true)]
    async fn the_only_caller_slows_its_upstream_down() {
        let calls = Calls::default();
        let a = calls.next_id();
        let mut slow = calls.begin(&a);
        let all = async {
            for _ in 0..2 * QUEUE {
                let line = calls.of_id(&a).unwrap();
                assert!(calls.deliver(line, note()).await.is_ok());
            }
        };
        let read = async {
            for _ in 0..2 * QUEUE {
                assert!(slow.recv().await.is_some());
            }
        };
        tokio::join!(all, read);
    }

    #[tokio::test]
    async fn all_calls_hear_of_what_may_have_been_their_answer() {
        let calls = Calls::default();
        let (a, b) = (calls.next_id(), calls.next_id());
        let (mut one, mut other) = (calls.begin(&a), calls.begin(&b));
        calls.answer_all_too_large(9);
        assert!(matches!(one.recv().await, Some(Event::TooLarge(9))));
        assert!(matches!(other.recv().await, Some(Event::TooLarge(9))));
    }
}
