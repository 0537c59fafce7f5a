use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use mcp_ultra_protocol::{Id, Notification, Request, json::Object, meta};
use parking_lot::Mutex;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::{Event, Role};

/// How many events of one call may wait for their reader. A caller that does not read slows its
/// upstream session down, it does not make the gateway grow.
const QUEUE: usize = 64;
/// How many questions of an upstream are known at once.
const MAX_QUESTIONS: usize = 1024;
/// How often a session that waits for its only caller looks whether others have come.
const OTHERS: Duration = Duration::from_millis(100);

/// The ids below are those of the messages that open a session: `server/discover` and
/// `initialize`. All are small, since servers read ids into all kinds of numbers.
const FIRST_CALL: u64 = 2;

/// A call in flight, as messages are brought to it.
#[derive(Debug, Clone)]
pub(super) struct Call {
    events: mpsc::Sender<Event>,
    role: Role,
}

/// The calls in flight of one upstream session.
#[derive(Debug, Default)]
pub(super) struct Calls {
    next: AtomicU64,
    in_flight: Mutex<HashMap<Id, Call>>,
    /// The calls that the upstream's own requests were given to, by the ids of these.
    questions: Mutex<HashMap<Id, Id>>,
    /// The log level that the session was last set to.
    log_level: Mutex<Option<String>>,
}

impl Calls {
    /// An id that no other request of the session has.
    pub(super) fn next_id(&self) -> Id {
        Id::from(self.next.fetch_add(1, Ordering::Relaxed) + FIRST_CALL)
    }

    /// Registers the call `id`; its events come out of the receiver.
    pub(super) fn begin(&self, id: &Id, role: Role) -> mpsc::Receiver<Event> {
        let (events, receiver) = mpsc::channel(QUEUE);
        self.in_flight
            .lock()
            .insert(id.clone(), Call { events, role });
        receiver
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
        let needed = |call: &&Call| call.role != Role::Background;
        in_flight.values().filter(needed).count()
    }

    /// Where to send what belongs to the call `id`.
    pub(super) fn of_id(&self, id: &Id) -> Option<Call> {
        self.in_flight.lock().get(id).cloned()
    }

    /// Brings an event to its call without holding up the session's other calls. A caller that
    /// does not read slows its upstream down where it is the only one; where there are others, its
    /// notifications are dropped once its queue is full. Requests and answers never are: there is
    /// one of them at a time.
    pub(super) async fn deliver(&self, call: Call, event: Event) {
        let event = match call.events.try_send(event) {
            Ok(()) | Err(TrySendError::Closed(_)) => return,
            Err(TrySendError::Full(event)) => event,
        };
        if !matches!(event, Event::Notification(_)) {
            tokio::spawn(async move { call.events.send(event).await });
            return;
        }
        while call.role != Role::Background && self.count() <= 1 {
            tokio::select! {
                room = call.events.reserve() => {
                    if let Ok(room) = room {
                        room.send(event);
                    }
                    return;
                }
                () = tokio::time::sleep(OTHERS) => {}
            }
        }
        tracing::debug!("a notification for a caller that does not read was dropped");
    }

    /// Where to send a notification: the call whose progress token it names, the one whose question
    /// it takes back, or the only one in flight. Progress tokens towards upstreams are the ids of
    /// their calls.
    pub(super) fn of_notification(&self, notification: &Notification) -> Option<Call> {
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
    pub(super) fn of_subscription(&self, notification: &Notification) -> Option<Call> {
        let params = notification.params.as_ref()?;
        memchr::memmem::find(params.as_bytes(), b"subscriptionId")?;
        let meta = Object::parse(params).ok()?.get("_meta")?;
        let id = Object::parse(meta).ok()?.get(meta::SUBSCRIPTION_ID)?;
        self.of_id(&Id::from_raw(id.to_owned().into())?)
    }

    /// Where to send a request that names no call: the only one in flight, or nowhere.
    pub(super) fn of_request(&self, request: &Request) -> Option<Call> {
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

    fn sole(&self) -> Option<(Id, Call)> {
        let in_flight = self.in_flight.lock();
        let mut calls = in_flight.iter().filter(|(_, call)| call.role == Role::Call);
        match (calls.next(), calls.next()) {
            (Some((id, call)), None) => Some((id.clone(), call.clone())),
            _ => None,
        }
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
        let _a = calls.begin(&a, Role::Call);
        assert!(calls.of_notification(&log).is_some());
        let _b = calls.begin(&b, Role::Call);
        assert!(
            calls.of_notification(&log).is_none(),
            "two in flight: it could be either's"
        );
        assert!(calls.of_notification(&progress(a.as_raw())).is_some());
        assert!(calls.of_notification(&progress("99")).is_none());
        assert!(calls.end(&a) && !calls.end(&a));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_of_notifications_is_in_nobodys_way() {
        let calls = Calls::default();
        let (stream, call) = (calls.next_id(), calls.next_id());
        let mut told = calls.begin(&stream, Role::Background);
        let log = Notification::new("notifications/message", None);
        assert!(calls.of_notification(&log).is_none(), "names no stream");
        assert_eq!(calls.count(), 0, "keeps no session open");
        for _ in 0..2 * QUEUE {
            let changed = Notification::new("notifications/tools/list_changed", None);
            let stream = calls.of_id(&stream).unwrap();
            calls.deliver(stream, Event::Notification(changed)).await;
        }
        let _call = calls.begin(&call, Role::Call);
        let sole = calls.of_notification(&log).unwrap();
        calls.deliver(sole, Event::Notification(log)).await;
        assert!(told.recv().await.is_some());
    }

    #[test]
    fn a_question_that_is_taken_back_is_taken_back_from_the_call_it_was_put_to() {
        let calls = Calls::default();
        let cancelled = |id: &str| {
            let params = format!("{{\"requestId\":{id}}}");
            calls.of_notification(&Notification::new("notifications/cancelled", Some(&params)))
        };
        let question = |id: u64| Request::new(Id::from(id), "elicitation/create", None);
        let a = calls.next_id();
        let mut asked = calls.begin(&a, Role::Call);
        assert!(calls.of_request(&question(7)).is_some());
        assert!(calls.of_request(&question(8)).is_some());
        let b = calls.next_id();
        let _other = calls.begin(&b, Role::Call);
        let call = cancelled("7").expect("known though two are in flight");
        call.events.try_send(Event::TooLarge(1)).unwrap();
        assert!(asked.try_recv().is_ok(), "to the one that was asked");
        assert!(cancelled("7").is_none(), "once");
        calls.answered(&Id::from(8));
        assert!(cancelled("8").is_none(), "answered already");
        assert!(cancelled("9").is_none(), "never asked");
        calls.asked(&Id::from(9), &b);
        calls.end(&b);
        assert!(cancelled("9").is_none(), "over");
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_does_not_read_holds_up_nobody_else() {
        let calls = Calls::default();
        let (a, b) = (calls.next_id(), calls.next_id());
        let (mut slow, mut other) = (calls.begin(&a, Role::Call), calls.begin(&b, Role::Call));
        let note = || Event::Notification(progress("1"));
        for _ in 0..QUEUE + 10 {
            calls.deliver(calls.of_id(&a).unwrap(), note()).await;
        }
        let answer = Event::Response(mcp_ultra_protocol::Response::result(&a, "{}"));
        calls.deliver(calls.of_id(&a).unwrap(), answer).await;
        calls.deliver(calls.of_id(&b).unwrap(), note()).await;
        assert!(other.recv().await.is_some());
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
    async fn the_only_caller_slows_its_upstream_down() {
        let calls = Calls::default();
        let a = calls.next_id();
        let mut slow = calls.begin(&a, Role::Call);
        let call = calls.of_id(&a).unwrap();
        let all = async {
            for _ in 0..2 * QUEUE {
                calls
                    .deliver(call.clone(), Event::Notification(progress("1")))
                    .await;
            }
        };
        let read = async {
            for _ in 0..2 * QUEUE {
                assert!(slow.recv().await.is_some());
            }
        };
        tokio::join!(all, read);
    }
}
