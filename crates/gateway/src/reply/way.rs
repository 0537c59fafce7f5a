//! The queue from one call to its client: one sender, one receiver, in one allocation.
//!
//! Most calls send one message, their answer, and have it taken in the same task right away. A
//! channel for many senders costs several times as much for that, in memory that is made and
//! thrown away with each call.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

use super::Down;

/// How many messages may wait for a client that reads slowly, before its call waits too; in bytes
/// they are bounded by their [`Room`](crate::room::Room).
pub(super) const LENGTH: usize = 16;

/// A new queue.
pub(super) fn new() -> (Sender, Receiver) {
    let way = Arc::new(Mutex::new(Way::default()));
    (Sender(way.clone()), Receiver(way))
}

/// The call's end.
#[derive(Debug)]
pub(super) struct Sender(Arc<Mutex<Way>>);

/// The client's end.
#[derive(Debug)]
pub(super) struct Receiver(Arc<Mutex<Way>>);

/// Why something could not be sent now.
#[derive(Debug)]
pub(super) enum Refused {
    /// Too much waits already.
    Full(Down),
    /// Nobody receives any more.
    Gone,
}

#[derive(Debug, Default)]
struct Way {
    /// The next message. Apart, so that an answer alone takes no memory of a queue.
    first: Option<Down>,
    /// Those behind it; none while there is no first one.
    more: VecDeque<Down>,
    /// No message will come any more.
    finished: bool,
    /// Nobody receives any more.
    gone: bool,
    receiver: Option<Waker>,
    /// Who waits for room, or for the client to go. Almost always one task at the most.
    sender: Option<Waker>,
    more_senders: Vec<Waker>,
}

impl Way {
    fn push(&mut self, down: Down) -> Result<Option<Waker>, Refused> {
        if self.gone {
            return Err(Refused::Gone);
        }
        if self.first.is_none() {
            self.first = Some(down);
        } else if self.more.len() + 1 < LENGTH {
            self.more.push_back(down);
        } else {
            return Err(Refused::Full(down));
        }
        Ok(self.receiver.take())
    }

    fn pop(&mut self) -> Option<Down> {
        let next = self.first.take();
        self.first = self.more.pop_front();
        next
    }

    fn wait(&mut self, waker: &Waker) {
        match &self.sender {
            None => self.sender = Some(waker.clone()),
            Some(known) if known.will_wake(waker) => {}
            Some(_) if self.more_senders.iter().any(|known| known.will_wake(waker)) => {}
            Some(_) => self.more_senders.push(waker.clone()),
        }
    }

    fn senders(&mut self) -> (Option<Waker>, Vec<Waker>) {
        (self.sender.take(), std::mem::take(&mut self.more_senders))
    }
}

fn wake((one, more): (Option<Waker>, Vec<Waker>)) {
    one.into_iter().chain(more).for_each(Waker::wake);
}

impl Sender {
    /// Sends, where there is room.
    pub(super) fn try_send(&self, down: Down) -> Result<(), Refused> {
        let receiver = self.0.lock().push(down)?;
        if let Some(receiver) = receiver {
            receiver.wake();
        }
        Ok(())
    }

    /// Sends as soon as there is room; `false` where nobody receives any more.
    pub(super) async fn send(&self, down: Down) -> bool {
        let mut waiting = Some(down);
        poll_fn(|cx| {
            let Some(down) = waiting.take() else {
                return Poll::Ready(false);
            };
            let mut way = self.0.lock();
            match way.push(down) {
                Ok(receiver) => {
                    drop(way);
                    receiver.into_iter().for_each(Waker::wake);
                    Poll::Ready(true)
                }
                Err(Refused::Gone) => Poll::Ready(false),
                Err(Refused::Full(down)) => {
                    waiting = Some(down);
                    way.wait(cx.waker());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Completes when nobody receives any more.
    pub(super) async fn gone(&self) {
        poll_fn(|cx| {
            let mut way = self.0.lock();
            if way.gone {
                return Poll::Ready(());
            }
            way.wait(cx.waker());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let receiver = {
            let mut way = self.0.lock();
            way.finished = true;
            way.receiver.take()
        };
        receiver.into_iter().for_each(Waker::wake);
    }
}

impl Receiver {
    /// The next message; `None` once all have come and there will be no more.
    pub(super) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Down>> {
        let mut way = self.0.lock();
        if let Some(down) = way.pop() {
            let senders = way.senders();
            drop(way);
            wake(senders);
            return Poll::Ready(Some(down));
        }
        if way.finished {
            return Poll::Ready(None);
        }
        if way
            .receiver
            .as_ref()
            .is_none_or(|known| !known.will_wake(cx.waker()))
        {
            way.receiver = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Receiver {
    /// Receives no more: whoever sends is told that the client is gone.
    pub(super) fn close(&mut self) {
        // What waits is dropped outside of the lock: it gives back room that somebody waits for.
        let (_first, _more, senders) = {
            let mut way = self.0.lock();
            way.gone = true;
            let more = std::mem::take(&mut way.more);
            (way.first.take(), more, way.senders())
        };
        wake(senders);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn message(number: usize) -> Down {
        Down::uncounted(number.to_string().into())
    }

    fn number(down: &Down) -> usize {
        match down {
            Down::Message { text, .. } => text.parse().unwrap(),
            Down::Answer(_) => panic!("a message"),
        }
    }

    async fn next(receiver: &mut Receiver) -> Option<usize> {
        poll_fn(|cx| receiver.poll_recv(cx))
            .await
            .map(|down| number(&down))
    }

    #[tokio::test]
    async fn messages_come_in_their_order_and_then_the_end() {
        let (sender, mut receiver) = new();
        for at in 0..LENGTH {
            sender.try_send(message(at)).unwrap();
        }
        assert!(matches!(
            sender.try_send(message(99)),
            Err(Refused::Full(_))
        ));
        drop(sender);
        for at in 0..LENGTH {
            assert_eq!(next(&mut receiver).await, Some(at));
        }
        assert_eq!(next(&mut receiver).await, None);
        assert_eq!(next(&mut receiver).await, None);
    }

    #[tokio::test]
    async fn several_senders_wait_for_room_and_all_get_it() {
        let (sender, mut receiver) = new();
        let sender = Arc::new(sender);
        let tasks: Vec<_> = (0..LENGTH * 4)
            .map(|at| {
                let sender = sender.clone();
                tokio::spawn(async move { sender.send(message(at)).await })
            })
            .collect();
        drop(sender);
        let mut seen = Vec::new();
        while let Some(at) = next(&mut receiver).await {
            seen.push(at);
            tokio::task::yield_now().await;
        }
        for task in tasks {
            assert!(task.await.unwrap());
        }
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..LENGTH * 4));
    }

    #[tokio::test]
    async fn who_waits_hears_that_the_client_is_gone() {
        let (sender, receiver) = new();
        let sender = Arc::new(sender);
        for at in 0..LENGTH {
            assert!(sender.send(message(at)).await);
        }
        let waits = tokio::spawn({
            let sender = sender.clone();
            async move { sender.send(message(0)).await }
        });
        let watches = tokio::spawn({
            let sender = sender.clone();
            async move { sender.gone().await }
        });
        tokio::task::yield_now().await;
        drop(receiver);
        let soon = Duration::from_secs(5);
        assert!(!tokio::time::timeout(soon, waits).await.unwrap().unwrap());
        tokio::time::timeout(soon, watches).await.unwrap().unwrap();
        assert!(matches!(sender.try_send(message(0)), Err(Refused::Gone)));
    }

    #[tokio::test]
    async fn a_receiver_in_another_task_is_woken() {
        let (sender, mut receiver) = new();
        let reads = tokio::spawn(async move {
            let mut seen = 0;
            while next(&mut receiver).await.is_some() {
                seen += 1;
            }
            seen
        });
        for at in 0..100 {
            assert!(sender.send(message(at)).await);
            tokio::task::yield_now().await;
        }
        drop(sender);
        assert_eq!(reads.await.unwrap(), 100);
    }
}
