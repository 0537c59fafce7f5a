//! What an upstream sends in a session of its own accord: brought to the call that it belongs to,
//! answered, or given to whoever the session is kept for.

use mcp_ultra_protocol::{Id, Message, Notification, Request, Response, WireError};

use super::{
    Event, Session, Sink,
    calls::{Named, Unasked, is_of_session, named_by},
};

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
                    Some(call) => {
                        let event = Event::Notification(notification);
                        drop(calls.deliver(call, event).await);
                    }
                    None => self.take_unclaimed(notification, sink).await,
                }
            }
            Message::Request(request) if request.method == "ping" => {
                self.answer_itself(&request).await;
            }
            Message::Request(request) => match calls.ask(request).await {
                Ok(()) => {}
                Err(Unasked::OfNobody(request)) => self.take_unasked(request).await,
                Err(Unasked::Refused(id)) => self.refuse(&id).await,
            },
            // Over HTTP answers of resumed calls may come here; each call reads its own stream.
            Message::Response(response) => {
                let id = response.id.clone();
                let answers = |id| calls.answer(&id, Event::Response(response));
                if !id.is_some_and(answers) {
                    tracing::debug!("a response to no call in flight was dropped");
                }
            }
        }
    }

    /// A notification that is for no call here. In a session that replicas share it may be for one at
    /// another of them, or for whoever listens there.
    async fn take_unclaimed(&self, notification: Notification, sink: &Sink) {
        if let Some(ticket) = self.ticket() {
            if is_of_session(&notification) {
                ticket.tell(&notification);
            } else if let Some(named) = named_by(&notification)
                && ticket.bring(named, &notification.text).await
            {
                return;
            }
        }
        sink(notification);
    }

    /// A request that is for no call here: the same. Nothing waits for that, since the next message may
    /// be for a call here.
    async fn take_unasked(&self, request: Request) {
        if self.ticket().is_none() {
            return self.answer_itself(&request).await;
        }
        let session = self.clone();
        tokio::spawn(async move {
            let brought = match session.ticket() {
                Some(ticket) => ticket.bring(Named::Sole, &request.text).await,
                None => false,
            };
            if !brought {
                session.answer_itself(&request).await;
            }
        });
    }

    /// Takes a message for a call that another replica has heard; `false` where the call is not here.
    pub(crate) async fn take_brought(&self, message: Message) -> bool {
        let calls = self.calls();
        match message {
            Message::Notification(notification) => match calls.of_notification(&notification) {
                Some(call) => {
                    let event = Event::Notification(notification);
                    calls.deliver(call, event).await.is_ok()
                }
                None => false,
            },
            Message::Request(request) => match calls.ask(request).await {
                Ok(()) => true,
                Err(Unasked::OfNobody(_)) => false,
                Err(Unasked::Refused(id)) => {
                    self.refuse(&id).await;
                    true
                }
            },
            Message::Response(_) => false,
        }
    }

    async fn refuse(&self, request: &Id) {
        self.respond(Response::error(Some(request), &too_much()))
            .await;
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
        self.respond(answer).await;
    }

    async fn respond(&self, answer: Response) {
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

/// What an upstream gets that asks a caller which does not read.
fn too_much() -> WireError {
    WireError::internal("the caller has not read what was sent before, or is gone")
}
