//! What an upstream sends in a session of its own accord: brought to the call that it belongs to,
//! answered, or given to whoever the session is kept for.

use mcp_ultra_protocol::{Message, Request, Response, WireError};

use super::{Event, Session, Sink, calls::is_of_session};

impl Session {
    /// Takes a message that has not come on the stream of a call.
    pub(super) async fn take(&self, message: Message, sink: &Sink) {
        let calls = self.calls();
        match message {
            Message::Notification(notification) => {
                let call = calls.of_subscription(&notification).or_else(|| {
                    let of_session = is_of_session(&notification);
                    (!of_session).then(|| calls.of_notification(&notification))?
                });
                match call {
                    Some(call) => calls.deliver(call, Event::Notification(notification)).await,
                    None => sink(notification),
                }
            }
            Message::Request(request) => match calls.of_request(&request) {
                Some(call) if request.method != "ping" => {
                    calls.deliver(call, Event::Request(request)).await;
                }
                _ => self.answer_itself(&request).await,
            },
            // Over HTTP answers of resumed calls may come here; each call reads its own stream.
            Message::Response(response) => {
                let Some(call) = response.id.as_ref().and_then(|id| calls.of_id(id)) else {
                    return tracing::debug!("a response to no call in flight was dropped");
                };
                calls.deliver(call, Event::Response(response)).await;
            }
        }
    }

    /// Answers a request that can be put to nobody.
    pub(super) async fn answer_itself(&self, request: &Request) {
        let answer = match &*request.method {
            "ping" => Response::result(&request.id, "{}"),
            // The gateway declares roots, so that servers list all that they have. Some do not
            // come up before they know them.
            "roots/list" if self.is_own() => Response::result(&request.id, r#"{"roots":[]}"#),
            _ => Response::error(Some(&request.id), &no_caller()),
        };
        if let Err(error) = self.send_response(answer).await {
            tracing::debug!(%error, "a request of an upstream could not be answered");
        }
    }
}

/// What an upstream gets that asks without a call that could be meant.
fn no_caller() -> WireError {
    WireError::invalid_request(
        "no single call is in flight that this request could belong to; send it on the stream of its call",
    )
}
