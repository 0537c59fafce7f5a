//! What a legacy upstream asks a legacy client during a call: put to the client under ids of its
//! session, answered under the upstream's.

use bytestring::ByteString;
use futures_util::{
    StreamExt,
    future::{AbortHandle, Abortable, BoxFuture, FutureExt},
    stream::FuturesUnordered,
};
use mcp_ultra_protocol::{Id, Notification, Response, json::Object};

use crate::session::Asked;

/// How many requests of one call may wait for the client at once.
const MAX_ASKED: usize = 64;

/// The questions of one call that wait for the client.
#[derive(Default)]
pub(super) struct Questions {
    answers: FuturesUnordered<Abortable<BoxFuture<'static, Response>>>,
    open: Vec<Question>,
}

struct Question {
    of_upstream: Id,
    of_client: Id,
    withdraw: AbortHandle,
}

impl Questions {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether the client has as many to answer as it may.
    pub(super) fn is_full(&self) -> bool {
        self.open.len() >= MAX_ASKED
    }

    /// Waits for the answer to what the upstream has asked as `of_upstream`.
    pub(super) fn add(&mut self, of_upstream: Id, asked: Asked) {
        let of_client = asked.id().clone();
        let id = of_upstream.clone();
        let answer = async move { asked.wait().await.with_id(&id) };
        let (withdraw, registration) = AbortHandle::new_pair();
        self.answers
            .push(Abortable::new(answer.boxed(), registration));
        self.open.push(Question {
            of_upstream,
            of_client,
            withdraw,
        });
    }

    /// The next answer, under the upstream's own id. Never completes where nothing is open.
    pub(super) async fn answered(&mut self) -> Response {
        loop {
            match self.answers.next().await {
                Some(Ok(answer)) => {
                    self.open
                        .retain(|question| answer.id.as_ref() != Some(&question.of_upstream));
                    return answer;
                }
                // Withdrawn.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Ends the question that the upstream no longer wants an answer to. Returns what the client
    /// has to be told; `None` where nothing of the kind is open.
    pub(super) fn withdraw(&mut self, cancelled: &Notification) -> Option<ByteString> {
        let id = cancelled.cancels()?;
        let at = self
            .open
            .iter()
            .position(|question| question.of_upstream == id)?;
        let question = self.open.swap_remove(at);
        question.withdraw.abort();
        let params = Object::parse(cancelled.params.as_ref()?).ok()?;
        let params = params.edit().set("requestId", question.of_client.as_raw());
        Some(cancelled.with_params(params.finish()).text)
    }
}
