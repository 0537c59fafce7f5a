//! What legacy clients send beside their requests: it may be for what another replica has begun.

use std::{sync::Arc, time::Duration};

use mcp_ultra_domain::ports::NotMet;
use mcp_ultra_protocol::{Body, Id, Message, Notification, Response, json};

use super::{
    Errand, Outcome, Replicas,
    wire::{self, Greeting, Listener, News, Said, Speaker},
};
use crate::{Gateway, session::Live};

/// How long the replica that has asked may take for the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What became of the answer of a client to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is with the one who has asked, or nobody waits for it.
    Yes,
    /// The replica that has asked can't be reached at the moment: it may be sent again.
    NotYet,
}

/// The id of a question that says which replica has asked it.
pub(super) fn question_id(number: u64, replica: &str) -> Option<Id> {
    Id::from_raw(json::quote(&format!("{number}-{replica}")).into())
}

/// The replica that has asked a question.
fn asked_by(id: &Id) -> Option<String> {
    let id = json::as_str(id.as_raw())?;
    let (number, replica) = id.split_once('-')?;
    number.parse::<u64>().ok()?;
    Some(replica.to_owned())
}

fn unwanted() {
    tracing::debug!("a client answered a request that nobody waits for");
}

pub(super) fn of(live: &Live) -> wire::Session {
    wire::Session {
        session: live.id.to_string(),
        principal: live.principal.id().to_owned(),
    }
}

impl Replicas {
    /// The id of a question of this replica.
    pub(crate) fn question(&self, number: u64) -> Option<Id> {
        question_id(number, self.own())
    }

    /// Brings the answer of a client to the replica that has asked.
    async fn bring_answer(&self, live: &Live, response: Response) -> Taken {
        let replica = response.id.as_ref().and_then(asked_by);
        let Some(replica) = replica.filter(|replica| replica != self.own()) else {
            unwanted();
            return Taken::Yes;
        };
        let opened = self.open(&replica, &Greeting::Answer(of(live))).await;
        let (mut speaker, mut listener) = match opened {
            Ok(halves) => halves,
            Err(error) => {
                tracing::debug!(%error, "the gateway that has asked a client was not met");
                self.count(Errand::Answer, Outcome::NotMet);
                return match error {
                    NotMet::Unreachable => Taken::NotYet,
                    _ => Taken::Yes,
                };
            }
        };
        let said = async {
            speaker.say(Said::Text(response.text)).await;
            listener.next().await
        };
        let outcome = match tokio::time::timeout(PATIENCE, said).await {
            Ok(Some(Said::Done)) => Outcome::Done,
            Ok(Some(_)) => Outcome::NotThere,
            Ok(None) | Err(_) => Outcome::Lost,
        };
        self.count(Errand::Answer, outcome);
        if outcome != Outcome::Done {
            unwanted();
        }
        Taken::Yes
    }

    /// Tells the others that a session is not subscribed to a resource any more.
    pub(crate) fn unsubscribed(&self, live: &Live, uri: &str) {
        self.tell(&News::Unsubscribed {
            of: of(live),
            uri: uri.to_owned(),
        });
    }

    /// Tells the others that a subscription of a session, whose stream is here, is served here.
    pub(crate) fn serves(&self, live: &Live, uri: &str) {
        self.tell(&News::Served {
            of: of(live),
            uri: uri.to_owned(),
        });
    }

    /// Tells the others that a server has told of a changed list where they do not hear it.
    pub(crate) fn list_changed(&self, server: &str, method: &str) {
        self.tell(&News::ListChanged {
            server: server.to_owned(),
            method: method.to_owned(),
        });
    }
}

impl Gateway {
    /// Takes the answer of a legacy client to a question, wherever that was asked.
    pub(crate) async fn take_answer(&self, live: &Live, response: Response) -> Taken {
        let Some(response) = live.answered(response) else {
            return Taken::Yes;
        };
        if let Some(replicas) = &self.replicas {
            return replicas.bring_answer(live, response).await;
        }
        unwanted();
        Taken::Yes
    }

    /// Takes a notification of a legacy client over, and passes on what its servers want to know.
    pub(crate) fn take_notification(&self, live: &Live, notification: &Notification) {
        let is_for_here = live.notified(notification);
        let changes_roots = notification.method == "notifications/roots/list_changed";
        if changes_roots {
            self.tell_upstreams(live, notification);
        }
        let Some(replicas) = &self.replicas else {
            return;
        };
        if changes_roots {
            replicas.tell(&News::Roots {
                of: of(live),
                text: notification.text.to_string(),
            });
        } else if !is_for_here && let Some(id) = notification.cancels() {
            replicas.tell(&News::Cancelled {
                of: of(live),
                id: id.as_raw().to_owned(),
            });
        }
    }
}

/// Takes in the answer of a client to a question that was asked here.
pub(super) async fn host_answer(
    gateway: Arc<Gateway>,
    of: wire::Session,
    mut speaker: Speaker,
    mut listener: Listener,
) {
    let said = tokio::time::timeout(PATIENCE, listener.next()).await;
    let Ok(Some(Said::Text(text))) = said else {
        return;
    };
    let is_taken = match (session(&gateway, &of), Body::parse(text.into_bytes())) {
        (Some(live), Ok(Body::Single(Message::Response(response)))) => {
            live.answered(response).is_none()
        }
        _ => false,
    };
    let said = if is_taken { Said::Done } else { Said::NotHere };
    speaker.say(said).await;
}

/// The session, where it lives here and is that principal's.
pub(super) fn session(gateway: &Gateway, of: &wire::Session) -> Option<Arc<Live>> {
    let live = gateway.sessions.get(&of.session);
    live.filter(|live| live.principal.id() == of.principal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_question_says_who_has_asked() {
        let id = question_id(7, "0123abc").unwrap();
        assert_eq!(id.as_raw(), "\"7-0123abc\"");
        assert_eq!(asked_by(&id).as_deref(), Some("0123abc"));
        for other in ["7", "\"7\"", "\"x-0123\"", "\"-1\""] {
            let id = Id::from_raw(other.into()).unwrap();
            assert_eq!(asked_by(&id), None, "{other}");
        }
    }
}
