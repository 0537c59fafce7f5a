//! The way back to the client: what one request is answered with.

use std::time::Duration;

use bytestring::ByteString;
use mcp_ultra_protocol::{Era, Id, Outcome, Response, WireError, error, json::Object};
use tokio::sync::mpsc::{self, error::TrySendError};

/// How many messages may wait for a client that reads slowly, before its call waits too.
const QUEUE: usize = 16;

/// How long an answer waits for a client that does not read what came before it.
const LAST_WAIT: Duration = Duration::from_secs(30);

/// What goes back to the client.
#[derive(Debug)]
pub(crate) enum Down {
    /// A notification or a server-to-client request on the way to the answer.
    Message(ByteString),
    /// The answer: the last one.
    Answer(Answer),
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
}

/// Where the answer to one request goes, and what comes before it.
#[derive(Debug)]
pub(crate) struct Reply {
    id: Id,
    era: Era,
    sender: mpsc::Sender<Down>,
}

/// The other end: what the HTTP side sends on.
pub(crate) type Replies = mpsc::Receiver<Down>;

/// A way back for the request `id`. Until the era is known, refusals bring a status of their own.
pub(crate) fn channel(id: Id) -> (Reply, Replies) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (
        Reply {
            id,
            era: Era::Legacy,
            sender,
        },
        receiver,
    )
}

impl Reply {
    /// Sets the era by whose rules errors get their HTTP status.
    pub(crate) fn in_era(self, era: Era) -> Self {
        Self { era, ..self }
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

    /// Sends a message before the answer; `false` where the client is gone.
    pub(crate) async fn message(&self, text: ByteString) -> bool {
        self.sender.send(Down::Message(text)).await.is_ok()
    }

    /// Completes when the client is gone.
    pub(crate) async fn gone(&self) {
        self.sender.closed().await;
    }

    /// Answers with the outcome of an upstream, as it is for this client. `original` is the
    /// upstream's response, where it has members that must not be lost.
    pub(crate) async fn finish(self, original: Option<&Response>, outcome: &Outcome) {
        let status = match (outcome, self.era) {
            // An error of a request that was accepted here, whatever the upstream says of it: a
            // legacy client reads no answer of another status.
            (Outcome::Result(_), _) | (_, Era::Legacy) => 200,
            (Outcome::Error(text), Era::Modern) => {
                code(text).map_or(200, |code| error::http_status(code, self.era))
            }
        };
        let response = match (original, outcome) {
            (Some(original), outcome) => original.passed_on(&self.id, outcome),
            (None, Outcome::Result(result)) => Response::result(&self.id, result),
            (None, Outcome::Error(text)) => Response::raw_error(&self.id, text),
        };
        self.send(response, status, None).await;
    }

    /// Answers with the result of the gateway's own.
    pub(crate) async fn result(self, result: &str) {
        let response = Response::result(&self.id, result);
        self.send(response, 200, None).await;
    }

    /// Answers `initialize`.
    pub(crate) async fn opened(self, result: &str, session: String) {
        let response = Response::result(&self.id, result);
        self.send(response, 200, Some(session)).await;
    }

    /// Answers with an error of the gateway's own.
    pub(crate) async fn error(self, error: &WireError) {
        let status = error::http_status(error.code, self.era);
        self.error_with_status(error, status).await;
    }

    /// Answers with an error under a status of its own.
    pub(crate) async fn error_with_status(self, error: &WireError, status: u16) {
        let response = Response::error(Some(&self.id), error);
        self.send(response, status, None).await;
    }

    async fn send(self, response: Response, status: u16, session: Option<String>) {
        let answer = Answer {
            text: response.text,
            status,
            session,
        };
        // A client that is gone is told nothing, and for one that does not read the answer does
        // not wait for ever.
        if let Err(TrySendError::Full(answer)) = self.sender.try_send(Down::Answer(answer)) {
            drop(tokio::time::timeout(LAST_WAIT, self.sender.send(answer)).await);
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
}
