use futures_util::FutureExt;
use mcp_ultra_protocol::Response;

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

#[test]
fn who_joins_a_session_has_ids_that_nobody_else_in_it_has() {
    let all = [Calls::default(), Calls::of_joined(), Calls::of_joined()];
    let ids = all
        .iter()
        .flat_map(|calls| [calls.next_id(), calls.next_id()]);
    let ids: std::collections::HashSet<Id> = ids.collect();
    assert_eq!(ids.len(), 6);
    let call = all[1].next_id();
    let _events = all[1].begin(&call, Role::Call);
    let named = all[1].of_notification(&progress(call.as_raw()));
    assert!(named.is_some(), "it is the progress token too");
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
        drop(calls.deliver(stream, Event::Notification(changed)).await);
    }
    let _call = calls.begin(&call, Role::Call);
    let sole = calls.of_notification(&log).unwrap();
    let delivered = calls.deliver(sole, Event::Notification(log)).await;
    assert!(delivered.is_ok());
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
    let told = calls.deliver(call, note()).now_or_never();
    assert!(matches!(told, Some(Ok(()))));
    let told = asked.recv().now_or_never();
    assert!(told.flatten().is_some(), "to the one that was asked");
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
    let mut slow = calls.begin(&a, Role::Call);
    let other = calls.begin(&b, Role::Call);
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
    let mut slow = calls.begin(&a, Role::Call);
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
    let (mut one, mut other) = (calls.begin(&a, Role::Call), calls.begin(&b, Role::Call));
    calls.answer_all_too_large(9);
    assert!(matches!(one.recv().await, Some(Event::TooLarge(9))));
    assert!(matches!(other.recv().await, Some(Event::TooLarge(9))));
}
