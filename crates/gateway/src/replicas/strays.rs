//! What a server says in a session that replicas share: one of them hears what comes on no stream of a
//! call, and another one may have the call that it is for.

use std::sync::Arc;

use bytestring::ByteString;
use mcp_ultra_protocol::{Body, Message};

use super::{
    Errand, Outcome, PATIENCE, Replicas,
    wire::{Greeting, Listener, News, Question, Said, Speaker},
};
use crate::{
    Gateway,
    upstream::{Session, Stray},
};

impl Replicas {
    /// Brings a message of a server to the replica that has its call; `false` where none has.
    pub(crate) async fn bring_stray(&self, stray: Stray, text: &ByteString) -> bool {
        let Some(replica) = self.find(&Question::HasCall(stray.clone())).await else {
            return false;
        };
        let outcome = self.hand(&replica, &Greeting::Stray(stray), text).await;
        self.count(Errand::Stray, outcome);
        // What is lost on the way may have arrived.
        matches!(outcome, Outcome::Done | Outcome::Lost)
    }

    /// Tells the others that a server has told of a changed resource in a session that they may be in.
    pub(crate) fn updated(&self, server: &str, session: &str, text: &str) {
        self.tell(&News::Updated {
            server: server.to_owned(),
            session: session.to_owned(),
            text: text.to_owned(),
        });
    }
}

fn session(gateway: &Gateway, server: &str, name: &str) -> Option<Session> {
    gateway.snapshot().upstream(server)?.shared_session(name)
}

/// Whether the call of a message is here.
pub(super) fn is_here(gateway: &Gateway, stray: &Stray) -> bool {
    let session = session(gateway, &stray.server, &stray.session);
    session.is_some_and(|session| session.has_call(&stray.named))
}

/// Takes in a message for a call that is here.
pub(super) async fn host(
    gateway: Arc<Gateway>,
    stray: Stray,
    mut speaker: Speaker,
    mut listener: Listener,
) {
    let said = tokio::time::timeout(PATIENCE, listener.next()).await;
    let Ok(Some(Said::Text(text))) = said else {
        return;
    };
    let session = session(&gateway, &stray.server, &stray.session);
    let is_taken = match (session, Body::parse(text.into_bytes())) {
        (Some(session), Ok(Body::Single(message))) => session.take_brought(message).await,
        _ => false,
    };
    let said = if is_taken { Said::Done } else { Said::NotHere };
    speaker.say(said).await;
}

/// Tells whoever listens here that a resource has changed.
pub(super) fn hear(gateway: &Gateway, server: &str, name: &str, text: String) {
    let Some(session) = session(gateway, server, name) else {
        return;
    };
    if let Ok(Body::Single(Message::Notification(told))) = Body::parse(text) {
        session.hear_too(told);
    }
}
