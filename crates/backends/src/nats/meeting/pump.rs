//! One end of a line: sends what there is to send, and looks whether the other end is still there.

use std::{sync::Arc, time::Duration};

use mcp_ultra_domain::ports::NotMet;
use tokio::sync::mpsc;

use super::{
    LARGEST, LATER, Meeting,
    frame::{Frame, Kind},
};

/// After so long without anything to send it is looked whether the other end is there.
const LOOK: Duration = Duration::from_secs(2);
/// How long the other end may take nothing of what was sent before this end was done with the line.
const FAREWELL: Duration = Duration::from_secs(30);
/// How often it is looked whether anybody still receives.
const NOW_AND_THEN: Duration = Duration::from_millis(200);

/// Serves the line until both ends are done with it, or the other one is gone.
pub(super) async fn run(
    meeting: Arc<Meeting>,
    id: String,
    other: String,
    outgoing: mpsc::Receiver<Vec<u8>>,
) {
    let mut pump = Pump {
        meeting: &meeting,
        id: &id,
        other: &other,
        number: 0,
    };
    if let Err(error) = pump.serve(outgoing).await {
        tracing::debug!(%error, "a line to another gateway has ended");
    }
    // Whoever receives learns that nothing more will come.
    meeting.lines.lock().remove(&id);
}

struct Pump<'a> {
    meeting: &'a Meeting,
    id: &'a str,
    other: &'a str,
    /// Of the next frame.
    number: u64,
}

impl Pump<'_> {
    async fn serve(&mut self, mut outgoing: mpsc::Receiver<Vec<u8>>) -> Result<(), NotMet> {
        let (meeting, id) = (self.meeting, self.id);
        loop {
            let next = tokio::time::timeout(LOOK, outgoing.recv()).await;
            match next {
                Ok(Some(message)) => {
                    // What was sent last is not held up for ever by one who does not take it.
                    let sending = self.send(message);
                    tokio::pin!(sending);
                    tokio::select! {
                        sent = &mut sending => sent?,
                        () = abandoned(meeting, id) => {
                            let rest = tokio::time::timeout(FAREWELL, sending).await;
                            rest.unwrap_or(Err(NotMet::Refused))?;
                        }
                    }
                }
                Ok(None) => break,
                Err(_) => self.look().await?,
            }
        }
        self.frame(Kind::Close, &[]).await?;
        // The other half goes on for as long as somebody receives.
        loop {
            let over = abandoned(meeting, id);
            match tokio::time::timeout(LOOK, over).await {
                Ok(()) => return Ok(()),
                Err(_) => self.look().await?,
            }
        }
    }

    async fn send(&mut self, message: Vec<u8>) -> Result<(), NotMet> {
        if message.len() > LARGEST {
            tracing::error!(
                bytes = message.len(),
                "a message for another gateway is too large"
            );
            return Err(NotMet::TooLong);
        }
        let part = self.meeting.part();
        let mut rest = &message[..];
        while rest.len() > part {
            let (first, more) = rest.split_at(part);
            self.frame(Kind::Part, first).await?;
            rest = more;
        }
        self.frame(Kind::Last, rest).await
    }

    async fn frame(&mut self, kind: Kind, bytes: &[u8]) -> Result<(), NotMet> {
        let frame = Frame::of(kind, self.id, self.number, bytes);
        self.meeting.deliver(self.other, &frame, &LATER).await?;
        self.number += 1;
        Ok(())
    }

    async fn look(&self) -> Result<(), NotMet> {
        let frame = Frame::of(Kind::Ping, self.id, 0, &[]);
        self.meeting.deliver(self.other, &frame, &LATER).await
    }
}

/// Until nobody receives what arrives on the line, or nothing more will. Looked at now and then: to
/// hold the sender would keep the line open for who receives.
async fn abandoned(meeting: &Meeting, id: &str) {
    loop {
        let is_over = {
            let lines = meeting.lines.lock();
            let into = lines.get(id).and_then(|line| line.into.as_ref());
            into.is_none_or(mpsc::Sender::is_closed)
        };
        if is_over {
            return;
        }
        tokio::time::sleep(NOW_AND_THEN).await;
    }
}
