//! The way back to the client: what one request is answered with.

mod taken;
mod way;

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use bytestring::ByteString;
use mcp_ultra_protocol::{Era, Id, Outcome, Response, WireError, error, json::Object};
use tokio::sync::mpsc;

use crate::{
    cache::{Keep, Wrote},
    limits::Exceeded,
    room::{Place, Room},
};

pub(crate) use taken::{Taken, Taker};

/// How long an answer waits for a client that does not read what came before it.
const LAST_WAIT: Duration = Duration::from_secs(30);

/// What goes back to the client.
#[derive(Debug)]
pub(crate) enum Down {
    /// A notification or a server-to-client request on the way to the answer, and the room that it
    /// takes among those that wait.
    Message { text: ByteString, _place: Place },
    /// The answer: the last one.
    Answer(Answer),
}

impl Down {
    /// A message that no room is counted for.
    pub(crate) fn uncounted(text: ByteString) -> Self {
        Self::counted(text, None)
    }

    pub(crate) fn counted(text: ByteString, place: Place) -> Self {
        Self::Message {
            text,
            _place: place,
        }
    }
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The whole response.
    pub text: ByteString,
    /// The HTTP status, where nothing has been sent before.
    pub status: u16,
    /// The session that `initialize` has opened.
    pub session: Option<String>,
    /// The limit that was reached, where that is the answer.
    pub limit: Option<Box<Exceeded>>,
    /// In how many seconds it may be tried again, where that is known.
    pub retry_after: Option<u64>,
    /// Whoever passes the answer on says here that it has.
    pub taker: Taker,
}

impl Answer {
    /// An answer without anything besides.
    pub(crate) fn new(text: ByteString, status: u16) -> Self {
        Self {
            text,
            status,
            session: None,
            limit: None,
            retry_after: None,
            taker: Taker::default(),
        }
    }
}

/// Where the answer to one request goes, and what comes before it.
#[derive(Debug)]
pub(crate) struct Reply {
    id: Id,
    era: Era,
    /// Whether the client takes anything before the answer.
    streams: bool,
    sender: way::Sender,
    /// For what comes before the answer.
    room: Room,
    /// Where the answer may be kept.
    keep: Option<Box<Keep>>,
    /// What is outdated once the call has come to its end, or to an answer.
    wrote: Option<Box<Wrote>>,
}

/// The other end: what the HTTP side sends on.
#[derive(Debug)]
pub(crate) struct Replies(Source);

#[derive(Debug)]
enum Source {
    /// One call.
    Call(way::Receiver),
    /// Everything that has the sender: the calls of a batch, a session.
    Many(mpsc::Receiver<Down>),
}

impl Replies {
    /// What comes from any number of senders.
    pub(crate) fn of_many(receiver: mpsc::Receiver<Down>) -> Self {
        Self(Source::Many(receiver))
    }

    /// The next message; `None` once all have come and there will be no more.
    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Down>> {
        match &mut self.0 {
            Source::Call(receiver) => receiver.poll_recv(cx),
            Source::Many(receiver) => receiver.poll_recv(cx),
        }
    }

    /// Takes no more: whoever sends is told that the client is gone.
    pub(crate) fn close(&mut self) {
        match &mut self.0 {
            Source::Call(receiver) => receiver.close(),
            Source::Many(receiver) => receiver.close(),
        }
    }

    /// As [`Replies::poll_recv`].
    pub(crate) async fn recv(&mut self) -> Option<Down> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }
}

/// A way back for the request `id`. Until the era is known, refusals bring a status of their own.
pub(crate) fn channel(id: Id) -> (Reply, Replies) {
    let (sender, receiver) = way::new();
    (
        Reply {
            id,
            era: Era::Legacy,
            streams: true,
            sender,
            room: Room::default(),
            keep: None,
            wrote: None,
        },
        Replies(Source::Call(receiver)),
    )
}

impl Reply {
    /// Sets the era by whose rules errors get their HTTP status.
    pub(crate) fn in_era(self, era: Era) -> Self {
        Self { era, ..self }
    }

    /// The same way back for a client that takes the answer alone.
    pub(crate) fn answer_only(self) -> Self {
        Self {
            streams: false,
            ..self
        }
    }

    /// The same way back, on which the answer of the upstream is kept.
    pub(crate) fn keeping(self, keep: Box<Keep>) -> Self {
        Self {
            keep: Some(keep),
            ..self
        }
    }

    /// The same way back of a call that may change something.
    pub(crate) fn writing(self, wrote: Box<Wrote>) -> Self {
        Self {
            wrote: Some(wrote),
            ..self
        }
    }

    /// Takes what an upstream of 2026-07-28 says in its answer of how long it is good.
    pub(crate) fn hint(&self, outcome: &Outcome) {
        if let Some(keep) = &self.keep {
            keep.hint(outcome);
        }
    }

    /// The answer goes by more than was asked, so it is no other call's.
    pub(crate) fn spoil(&self) {
        if let Some(keep) = &self.keep {
            keep.spoil();
        }
    }

    /// How long it was waited for others who ask for the same, or have the answer.
    pub(crate) fn waited(&self) -> Duration {
        self.keep
            .as_ref()
            .map_or(Duration::ZERO, |keep| keep.waited)
    }

    /// The result that is kept for the case that the upstream has failed, if there is one.
    pub(crate) fn stale(&mut self) -> Option<String> {
        self.keep.take()?.stale()
    }

    /// Whether the client takes anything before the answer.
    pub(crate) fn streams(&self) -> bool {
        self.streams
    }

    /// The same way back without the request's memory: for streams that stay open for long.
    pub(crate) fn detached(self) -> Self {
        Self {
            id: self.id.detached(),
            ..self
        }
    }

    /// The id of the request.
    pub(crate) fn id(&self) -> &Id {
        &self.id
    }

    /// Sends a message before the answer; `false` where the client is gone, or takes the answer
    /// alone. Waits while too many wait before it, or too much.
    pub(crate) async fn message(&self, text: ByteString) -> bool {
        self.spoil();
        if !self.streams {
            return false;
        }
        // What waits is let go with the other end, so that this does not wait for ever.
        let place = self.room.enter(text.len()).await;
        self.sender.send(Down::counted(text, place)).await
    }

    /// Completes when the client is gone.
    pub(crate) async fn gone(&self) {
        self.sender.gone().await;
    }

    /// Answers with the outcome of an upstream, as it is for this client. `original` is the
    /// upstream's response, where it has members that must not be lost.
    pub(crate) async fn finish(mut self, original: Option<&Response>, outcome: &Outcome) {
        // Before it is sent: who asks again at once finds it.
        if let Some(keep) = self.keep.take() {
            keep.answered(outcome, original.is_none());
        }
        let status = match (outcome, self.era) {
            // An error of a request that was accepted here, whatever the upstream says of it: a
            // legacy client reads no answer of another status.
            (Outcome::Result(_), _) | (_, Era::Legacy) => 200,
            (Outcome::Error(text), Era::Modern) => {
                code(text).map_or(200, |code| error::http_status(code, self.era))
            }
        };
        let text = match (original, outcome) {
            (Some(original), outcome) => original.passed_on(&self.id, outcome).text,
            (None, Outcome::Result(result)) => Response::text_of_result(&self.id, &[result]),
            (None, Outcome::Error(text)) => Response::raw_error(&self.id, text).text,
        };
        self.send(text, status, None).await;
    }

    /// Answers with the result of the gateway's own.
    pub(crate) async fn result(self, result: &str) {
        self.result_of(&[result]).await;
    }

    /// Answers with a result that the client has to come back with, if it gets it; that is told.
    pub(crate) async fn result_to_take(self, result: &str) -> Taken {
        let (taker, taken) = taken::new();
        let text = Response::text_of_result(&self.id, &[result]);
        let answer = Answer {
            taker,
            ..Answer::new(text, 200)
        };
        self.send_answer(answer).await;
        taken
    }

    /// Answers with a result that is there in pieces.
    pub(crate) async fn result_of(self, pieces: &[&str]) {
        let text = Response::text_of_result(&self.id, pieces);
        self.send(text, 200, None).await;
    }

    /// Answers `initialize`.
    pub(crate) async fn opened(self, result: &str, session: String) {
        let text = Response::text_of_result(&self.id, &[result]);
        self.send(text, 200, Some(session)).await;
    }

    /// Answers with an error of the gateway's own.
    pub(crate) async fn error(self, error: &WireError) {
        let status = error::http_status(error.code, self.era);
        self.error_with_status(error, status).await;
    }

    /// Answers with an error under a status of its own.
    pub(crate) async fn error_with_status(self, error: &WireError, status: u16) {
        let text = Response::error(Some(&self.id), error).text;
        self.send(text, status, None).await;
    }

    /// Answers with the error of a limit that is reached.
    pub(crate) async fn limited(self, error: &WireError, limit: Option<Box<Exceeded>>) {
        let text = Response::error(Some(&self.id), error).text;
        let answer = Answer {
            limit,
            ..Answer::new(text, 429)
        };
        self.send_answer(answer).await;
    }

    /// 503: the upstream is not asked now, and may be again in so many seconds.
    pub(crate) async fn unavailable(self, error: &WireError, retry_after: Option<u64>) {
        let text = Response::error(Some(&self.id), error).text;
        let answer = Answer {
            retry_after,
            ..Answer::new(text, 503)
        };
        self.send_answer(answer).await;
    }

    /// Answers with what another replica has made of it.
    pub(crate) async fn passed_on(self, answer: Answer) {
        self.send_answer(answer).await;
    }

    async fn send(self, text: ByteString, status: u16, session: Option<String>) {
        let answer = Answer {
            session,
            ..Answer::new(text, status)
        };
        self.send_answer(answer).await;
    }

    async fn send_answer(mut self, answer: Answer) {
        // Before it is sent: who looks at once sees what has changed.
        drop(self.wrote.take());
        // A client that is gone is told nothing, and for one that does not read the answer does
        // not wait for ever.
        if let Err(way::Refused::Full(answer)) = self.sender.try_send(Down::Answer(answer)) {
            // Boxed: rare.
            let sending = tokio::time::timeout(LAST_WAIT, self.sender.send(answer));
            drop(Box::pin(sending).await);
        }
    }
}

fn code(error: &str) -> Option<i64> {
    Object::parse(error).ok()?.get("code")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn status(era: Era, error: &'static str) -> u16 {
        let (reply, mut replies) = channel(Id::from(1));
        let outcome = Outcome::Error(ByteString::from_static(error));
        reply.in_era(era).finish(None, &outcome).await;
        match replies.recv().await {
            Some(Down::Answer(answer)) => answer.status,
            other => panic!("an answer, not {other:?}"),
        }
    }

    #[tokio::test]
    async fn an_error_of_an_upstream_has_the_status_of_the_callers_era() {
        let refused = r#"{"code":-32600,"message":"no"}"#;
        assert_eq!(status(Era::Legacy, refused).await, 200);
        assert_eq!(status(Era::Modern, refused).await, 400);
        let unknown = r#"{"code":-32601,"message":"no"}"#;
        assert_eq!(status(Era::Legacy, unknown).await, 200);
        assert_eq!(status(Era::Modern, unknown).await, 404);
    }

    #[tokio::test]
    async fn a_client_that_takes_the_answer_alone_gets_nothing_before_it() {
        let (reply, mut replies) = channel(Id::from(1));
        let reply = reply.answer_only();
        assert!(!reply.message("{}".into()).await);
        reply.result("{}").await;
        assert!(matches!(replies.recv().await, Some(Down::Answer(_))));
    }

    #[tokio::test]
    async fn whoever_asks_learns_whether_the_client_has_the_question() {
        let (reply, replies) = channel(Id::from(1));
        let taken = reply.result_to_take("{}").await;
        drop(replies);
        assert!(!taken.await, "it lay there, and nobody came for it");

        let (reply, replies) = channel(Id::from(1));
        drop(replies);
        assert!(!reply.result_to_take("{}").await.await, "nobody was there");

        let (reply, mut replies) = channel(Id::from(1));
        let taken = reply.result_to_take("{}").await;
        let Some(Down::Answer(answer)) = replies.recv().await else {
            panic!("an answer");
        };
        answer.taker.has_it();
        drop(replies);
        assert!(taken.await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_a_slow_client_is_bounded_in_bytes() {
        let (reply, mut replies) = channel(Id::from(1));
        let large = ByteString::from("x".repeat(crate::room::BYTES / 2));
        let soon = Duration::from_secs(1);
        let queued = async |text: &ByteString| {
            tokio::time::timeout(soon, reply.message(text.clone()))
                .await
                .is_ok()
        };
        assert!(queued(&large).await && queued(&large).await);
        assert!(!queued(&"{}".into()).await, "the room is full");
        assert!(replies.recv().await.is_some());
        assert!(queued(&"{}".into()).await, "there is room again");
        let waiting = reply.message(large.clone());
        drop(replies);
        assert!(!waiting.await, "nobody reads any more");
    }
}
