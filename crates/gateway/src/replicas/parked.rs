//! A parked call whose caller comes back at another replica than the one that holds it.
//!
//! The retry has passed all stages where it has arrived. Its answers are brought to the holder, and what the
//! call says from then on is brought to the client: its messages, another `input_required`, its answer. A
//! client that goes away cancels the call there. Each place is good for one return, so a call is never gone on
//! with twice.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use bytestring::ByteString;
use mcp_ultra_domain::ports::NotMet;
use mcp_ultra_edge::credentials::{CallerToken, Subject};
use mcp_ultra_protocol::{Era, Id};

use super::{
    Errand, Outcome, Replicas,
    wire::{self, Greeting, Listener, Said, Speaker},
};
use crate::{
    Gateway,
    call::Caller,
    era::park,
    reply::{self, Down, Reply, Taker},
};

/// How long the answers of a caller may take after its greeting.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of a caller that has come back.
pub(crate) enum Brought {
    /// It has its answer, or has gone away.
    Answered,
    /// The call does not wait any more, or the replica that held it is gone. Nothing has been done.
    NotWaiting(Reply),
    /// The replica that holds the call can't be reached at the moment; the same retry may succeed later.
    Unreachable(Reply),
    /// The replica was lost after it had gone on with the call.
    Lost(Reply),
}

/// Brings a caller to its call at `holder`, and to the end of it.
pub(crate) async fn bring(
    replicas: &Replicas,
    holder: &str,
    call: &str,
    caller: &Caller,
    responses: String,
    reply: Reply,
) -> Brought {
    let token = caller.token.as_ref();
    let greeting = Greeting::Resume(wire::Resume {
        call: call.to_owned(),
        principal: caller.principal.id().to_owned(),
        id: reply.id().as_raw().to_owned(),
        streams: reply.streams(),
        token: token.map(|token| token.sealed_by(str::to_owned)),
    });
    let (mut speaker, mut listener) = match replicas.open(holder, &greeting).await {
        Ok(halves) => halves,
        Err(error) => {
            tracing::debug!(%error, "the gateway that holds a parked call was not met");
            replicas.count(Errand::Resume, Outcome::NotMet);
            return match error {
                NotMet::Gone => Brought::NotWaiting(reply),
                _ => Brought::Unreachable(reply),
            };
        }
    };
    let told = speaker.say(Said::Text(responses.into())).await;
    let (outcome, brought) = if told {
        follow(&mut listener, reply).await
    } else {
        (Outcome::Lost, Brought::Lost(reply))
    };
    replicas.count(Errand::Resume, outcome);
    brought
}

/// Gives the client all that its call says.
async fn follow(listener: &mut Listener, reply: Reply) -> (Outcome, Brought) {
    loop {
        let said = tokio::select! {
            biased;
            said = listener.next() => said,
            // The line ends with this, which cancels the call.
            () = reply.gone() => return (Outcome::Done, Brought::Answered),
        };
        match said {
            // A client that is gone is noticed above.
            Some(Said::Text(text)) => drop(reply.message(text).await),
            Some(Said::Answer(answer)) => {
                reply.passed_on(answer).await;
                return (Outcome::Done, Brought::Answered);
            }
            Some(Said::NotHere) => return (Outcome::NotThere, Brought::NotWaiting(reply)),
            Some(Said::Done) | None => return (Outcome::Lost, Brought::Lost(reply)),
        }
    }
}

/// Counts a call that is carried on for another replica.
struct Carried<'r>(&'r Replicas);

impl Drop for Carried<'_> {
    fn drop(&mut self) {
        self.0.carried.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes in a caller that has come back at another replica.
pub(super) async fn host(
    gateway: Arc<Gateway>,
    replicas: Arc<Replicas>,
    resume: wire::Resume,
    mut speaker: Speaker,
    mut listener: Listener,
) {
    replicas.carried.fetch_add(1, Ordering::Relaxed);
    let _carried = Carried(&replicas);
    let Ok(Some(Said::Text(responses))) = tokio::time::timeout(PATIENCE, listener.next()).await
    else {
        return;
    };
    let Some((back, replies)) = back(&gateway, &resume, &responses) else {
        speaker.say(Said::NotHere).await;
        return;
    };
    if gateway.parking.resume(&resume.call, back).await.is_err() {
        speaker.say(Said::NotHere).await;
        return;
    }
    carry(replies, &mut speaker, &mut listener).await;
}

/// The caller as its call knows one; `None` where it is not the one that the call waits for.
fn back(
    gateway: &Gateway,
    resume: &wire::Resume,
    responses: &ByteString,
) -> Option<(park::Resume, reply::Replies)> {
    let principal = gateway.parking.waits_for(&resume.call)?;
    if principal.id() != resume.principal {
        return None;
    }
    let id = Id::from_raw(resume.id.clone().into())?;
    let (reply, replies) = reply::channel(id);
    let reply = reply.in_era(Era::Modern);
    let reply = if resume.streams {
        reply
    } else {
        reply.answer_only()
    };
    let token = resume.token.as_ref().map(|text| {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        CallerToken::new(text, sha256)
    });
    let back = park::Resume {
        responses: responses.to_string(),
        reply,
        subject: Subject::Caller { principal, token },
    };
    Some((back, replies))
}

/// Says all that the call says, until its answer. Its client is gone where the other end is: the call
/// learns of it by `replies` being dropped.
async fn carry(mut replies: reply::Replies, speaker: &mut Speaker, listener: &mut Listener) {
    loop {
        let down = tokio::select! {
            down = replies.recv() => down,
            // Nothing more comes from there but the end.
            _ = listener.next() => return,
        };
        let mut taker = Taker::default();
        let (said, is_last) = match down {
            Some(Down::Message { text, .. }) => (Said::Text(text), false),
            Some(Down::Answer(mut answer)) => {
                taker = std::mem::take(&mut answer.taker);
                (Said::Answer(answer), true)
            }
            // The call has ended without one.
            None => (Said::NotHere, true),
        };
        let is_taken = tokio::select! {
            is_taken = speaker.say(said) => is_taken,
            _ = listener.next() => false,
        };
        if is_taken {
            taker.has_it();
        }
        if is_last || !is_taken {
            return;
        }
    }
}
