//! What arrives. Nothing here waits for those who take it: what they have no room for is sent again.

use std::sync::{Arc, atomic::Ordering};

use async_nats::{Client, Message, SubscribeError};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::{sync::mpsc::error::TrySendError, time::Instant};

use super::{
    ALL, Connection, Incoming, LARGEST, Meeting,
    frame::{Frame, Kind, Said},
    is_name, pump,
};

/// Takes the connection away from the meeting when it is over, however that comes.
pub(in super::super) struct Connected(Arc<Meeting>);

impl Drop for Connected {
    fn drop(&mut self) {
        let since = Instant::now();
        self.0.link.send_replace(Connection::Away(since));
    }
}

impl Meeting {
    /// Can be reached over `client` for as long as what is returned is polled.
    pub(in super::super) async fn reachable(
        self: &Arc<Self>,
        client: &Client,
    ) -> Result<impl Future<Output = ()> + use<>, SubscribeError> {
        let own = client.subscribe(self.subject(&self.replica)).await?;
        let all = client.subscribe(self.subject(ALL)).await?;
        let was_there = self.was_there.swap(true, Ordering::Relaxed);
        self.link.send_replace(Connection::There {
            client: client.clone(),
            again: was_there.then(Instant::now),
        });
        let connected = Connected(self.clone());
        let client = client.clone();
        Ok(async move {
            let mut messages = stream::select(own, all);
            while let Some(message) = messages.next().await {
                connected.0.receive(&client, message).await;
            }
        })
    }

    async fn receive(self: &Arc<Self>, client: &Client, message: Message) {
        let Some(answer) = self.answer(&message.payload) else {
            return;
        };
        if let Some(to) = message.reply
            && let Err(error) = client.publish(to, answer).await
        {
            tracing::debug!(%error, "another gateway could not be answered");
        }
    }

    /// What is said to a message; `None` where nothing is.
    fn answer(self: &Arc<Self>, bytes: &Bytes) -> Option<Bytes> {
        let frame = Frame::read(bytes)?;
        let of_another = || is_name(&frame.from) && frame.from != self.replica;
        match frame.kind {
            Kind::Open => of_another().then(|| self.visited(&frame).to_bytes()),
            Kind::Part | Kind::Last | Kind::Close | Kind::Ping => {
                Some(self.arrived(&frame).to_bytes())
            }
            Kind::Question => {
                let guests = self.guests.get().filter(|_| of_another())?;
                let is_asked_for = guests.is_asked_for(&frame.bytes);
                is_asked_for.then(|| Bytes::copy_from_slice(self.replica.as_bytes()))
            }
            Kind::News => {
                let guests = self.guests.get().filter(|_| of_another())?;
                guests.told(&frame.bytes);
                None
            }
        }
    }

    fn visited(self: &Arc<Self>, frame: &Frame) -> Said {
        let Some(guests) = self.guests.get() else {
            return Said::Refused;
        };
        if !is_name(&frame.line) {
            return Said::Refused;
        }
        if self.lines.lock().contains_key(&frame.line) {
            // Sent again, since the answer was lost.
            return Said::Taken;
        }
        let Some((line, outgoing)) = self.line(&frame.line) else {
            return Said::Refused;
        };
        let (id, other) = (frame.line.clone(), frame.from.clone());
        tokio::spawn(pump::run(self.clone(), id, other, outgoing));
        guests.visited(&frame.bytes, line);
        Said::Taken
    }

    fn arrived(&self, frame: &Frame) -> Said {
        let mut lines = self.lines.lock();
        let Some(line) = lines.get_mut(&frame.line) else {
            return Said::Unknown;
        };
        if frame.kind == Kind::Ping || frame.number < line.next {
            return Said::Taken;
        }
        if frame.number > line.next {
            // It was never sent before the one that is missing was taken.
            return Said::Unknown;
        }
        let said = line.take(frame);
        if said == Said::Taken {
            line.next += 1;
        }
        said
    }
}

impl Incoming {
    fn take(&mut self, frame: &Frame) -> Said {
        let Some(into) = &self.into else {
            return Said::Unknown;
        };
        match frame.kind {
            Kind::Close => {
                self.into = None;
                return Said::Taken;
            }
            _ if self.part.len() + frame.bytes.len() > LARGEST => return Said::Unknown,
            Kind::Last => {}
            _ => {
                self.part.extend_from_slice(&frame.bytes);
                return Said::Taken;
            }
        }
        match into.try_reserve() {
            Ok(place) => {
                let mut message = std::mem::take(&mut self.part);
                message.extend_from_slice(&frame.bytes);
                place.send(message);
                Said::Taken
            }
            Err(TrySendError::Full(())) => Said::Full,
            Err(TrySendError::Closed(())) => Said::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meeting() -> Arc<Meeting> {
        Arc::new(Meeting::new("me", "test", || 7))
    }

    fn frame(kind: Kind, number: u64, bytes: &'static [u8]) -> Frame {
        Frame {
            kind,
            line: "line".into(),
            number,
            from: String::new(),
            bytes: Bytes::from_static(bytes),
        }
    }

    #[tokio::test]
    async fn what_is_sent_again_arrives_once_and_in_order() {
        let meeting = meeting();
        let (mut line, _outgoing) = meeting.line("line").unwrap();
        for (kind, number, bytes, expected) in [
            (Kind::Part, 0, &b"a"[..], Said::Taken),
            (Kind::Part, 0, b"a", Said::Taken),
            (Kind::Last, 1, b"b", Said::Taken),
            (Kind::Last, 1, b"b", Said::Taken),
            (Kind::Last, 3, b"d", Said::Unknown),
            (Kind::Last, 2, b"c", Said::Taken),
            (Kind::Ping, 0, b"", Said::Taken),
            (Kind::Close, 3, b"", Said::Taken),
            (Kind::Close, 3, b"", Said::Taken),
            (Kind::Last, 4, b"e", Said::Unknown),
        ] {
            assert_eq!(
                meeting.arrived(&frame(kind, number, bytes)),
                expected,
                "{number}"
            );
        }
        assert_eq!(line.receiver.recv().await.as_deref(), Some(&b"ab"[..]));
        assert_eq!(line.receiver.recv().await.as_deref(), Some(&b"c"[..]));
        assert_eq!(line.receiver.recv().await, None);
    }

    #[tokio::test]
    async fn what_is_not_taken_is_sent_again() {
        let meeting = meeting();
        let (mut line, _outgoing) = meeting.line("line").unwrap();
        let mut number = 0;
        while meeting.arrived(&frame(Kind::Last, number, b"x")) == Said::Taken {
            number += 1;
        }
        assert_eq!(number, 16, "no more wait");
        assert_eq!(
            meeting.arrived(&frame(Kind::Last, number, b"x")),
            Said::Full
        );
        assert!(line.receiver.recv().await.is_some());
        assert_eq!(
            meeting.arrived(&frame(Kind::Last, number, b"x")),
            Said::Taken
        );
        drop(line);
        assert_eq!(
            meeting.arrived(&frame(Kind::Last, number + 1, b"x")),
            Said::Unknown
        );
    }
}
