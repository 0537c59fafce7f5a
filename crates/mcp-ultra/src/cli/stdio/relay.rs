//! From an HTTP answer to lines.

use mcp_ultra_protocol::{Body, ByteString, EnvelopeError, Id, Message, Outcome, Response};

use super::bridge::Bridge;
use crate::client::{ClientError, Reply};

/// What a message on its way is looked at for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watch {
    /// Nothing.
    Nothing,
    /// The tools in it: their calls need headers.
    Tools,
}

impl Bridge {
    /// Passes on what `reply` holds, up to the answer to `id`; whether that came.
    pub(super) async fn relay(
        &self,
        reply: &mut Reply,
        id: &Id,
        watch: Watch,
    ) -> Result<bool, ClientError> {
        while let Some(text) = reply.next_text().await? {
            if self.pass(reply, text, id, watch).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Passes on one message; whether it answers `id`.
    pub(super) async fn pass(
        &self,
        reply: &Reply,
        text: ByteString,
        id: &Id,
        watch: Watch,
    ) -> Result<bool, ClientError> {
        match Body::parse(text.clone().into_bytes()) {
            Ok(Body::Single(Message::Response(response))) => {
                let (answers, response) = addressed(response, id);
                let response = if answers && watch == Watch::Tools {
                    self.learn(response)
                } else {
                    response
                };
                self.shared.output.write(&response.text).await;
                Ok(answers)
            }
            Ok(Body::Single(_)) => {
                self.shared.output.write(&text).await;
                Ok(false)
            }
            Ok(Body::Batch(messages)) => {
                self.shared.output.write(&text).await;
                Ok(messages.iter().any(|message| answers(message, id)))
            }
            // What is no message must not reach the client's line.
            Err(error) => Err(reply.not_mcp(error.to_string())),
        }
    }

    /// Keeps what the tools of a list need, and takes out those that can't be called over HTTP.
    fn learn(&self, response: Response) -> Response {
        let Outcome::Result(result) = &response.outcome else {
            return response;
        };
        match self.shared.schemas.learn(result) {
            Some(changed) => response.with_result(changed),
            None => response,
        }
    }
}

/// Whether a response answers `id`. An error about a request that could not be read has no id: on
/// HTTP it is known whose it is, on a line it would not be.
fn addressed(response: Response, id: &Id) -> (bool, Response) {
    match &response.id {
        None => (true, response.with_id(id)),
        Some(given) => (given == id, response),
    }
}

fn answers(message: &Result<Message, EnvelopeError>, id: &Id) -> bool {
    matches!(message, Ok(Message::Response(response)) if response.id.as_ref() == Some(id))
}
