use super::*;

fn live() -> Live {
    let negotiated = Negotiated {
        id: "s".into(),
        version: Version::LATEST_LEGACY.as_str().into(),
        capabilities: "{}".into(),
        client_info: None,
        issued: 0,
    };
    let nothing = SessionState::default();
    Live::new(&negotiated, Principal::anonymous(), nothing, None)
}

#[tokio::test]
async fn a_message_goes_on_one_stream_only() {
    let live = live();
    assert_eq!(live.push_here(&"a".into()), None);
    let (first, mut one) = live.open_push();
    let (second, two) = live.open_push();
    assert!(live.pushes_on(&second) && !live.pushes_on(&first));
    drop(two);
    let sent = live.push_here(&"b".into());
    assert_eq!(sent, Some(true), "the older one takes over");
    assert!(matches!(one.recv().await, Some(Down::Message { text, .. }) if text == "b"));
    assert!(live.idle_for().is_none());
    live.end();
    drop((first, one));
    assert!(live.idle_for().is_some());
}

#[tokio::test]
async fn a_subscription_that_begins_again_is_another_one() {
    let live = live();
    let first = live.subscribe("a://1").unwrap();
    assert!(live.subscribe("a://1").is_none());
    live.unsubscribe("a://1");
    let second = live.subscribe("a://1").unwrap();
    assert!(first.is_cancelled() && !second.is_cancelled());
    live.end();
    assert!(second.is_cancelled());
}

#[tokio::test]
async fn an_id_can_be_in_flight_once() {
    let live = live();
    let id = Id::from(1);
    let token = live.begin_call(&id).unwrap();
    assert!(live.begin_call(&id).is_none());
    live.cancel_call(&id);
    assert!(token.is_cancelled());
    live.end_call(&id);
    assert!(live.begin_call(&id).is_some());
}

#[tokio::test]
async fn a_client_that_takes_the_answer_alone_is_asked_on_its_other_stream_or_not_at_all() {
    let live = Arc::new(live());
    let (reply, _replies) = crate::reply::channel(Id::from(1));
    let reply = reply.answer_only();
    let asked = live.ask("roots/list", None, Some(&reply)).await;
    let answer = tokio::time::timeout(Duration::from_secs(5), asked.wait()).await;
    let text = answer.expect("an error at once").text;
    assert!(text.contains("text/event-stream"), "{text}");

    let (_sender, mut pushed) = live.open_push();
    let asked = live.ask("roots/list", None, Some(&reply)).await;
    let Some(Down::Message { text: question, .. }) = pushed.recv().await else {
        panic!("a question")
    };
    assert!(question.contains("roots/list"), "{question}");
    assert!(live.answered(Response::result(&asked.id, "{}")).is_none());
    assert!(asked.wait().await.text.contains("result"));
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_not_answered_in_time_is_withdrawn() {
    let live = Arc::new(live());
    let (_sender, mut pushed) = live.open_push();
    let asked = live.ask("elicitation/create", None, None).await;
    assert!(matches!(pushed.recv().await, Some(Down::Message { .. })));
    let id = asked.id.clone();
    let begun = Instant::now();
    let answer = asked.wait().await;
    assert_eq!(begun.elapsed(), ANSWER_TIME);
    assert!(answer.text.contains("in time"), "{}", answer.text);
    let Some(Down::Message { text, .. }) = pushed.recv().await else {
        panic!("a cancellation")
    };
    let params = format!("\"requestId\":{}", id.as_raw());
    assert!(text.contains("notifications/cancelled") && text.contains(&params));
    assert!(live.answered(Response::result(&id, "{}")).is_some(), "late");
}

#[tokio::test]
async fn what_waits_on_a_stream_is_bounded_in_bytes() {
    let live = live();
    let (_sender, mut pushed) = live.open_push();
    let large = ByteString::from("x".repeat(crate::room::BYTES));
    assert_eq!(live.push_here(&large), Some(true));
    assert_eq!(live.push_here(&"{}".into()), Some(false));
    assert!(pushed.recv().await.is_some());
    assert_eq!(live.push_here(&"{}".into()), Some(true));
}
