//! Whether an answer has come as far as the connection of its client: one that a client has to come
//! back with is waited with in vain where it has not.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::oneshot;

/// The end of whoever passes the answer on; dropped with an answer that is not.
#[derive(Debug, Default)]
pub(crate) struct Taker(Option<oneshot::Sender<()>>);

/// The end of whoever has answered: `true` once the answer was passed on, `false` where it will not be.
#[derive(Debug)]
pub(crate) struct Taken(oneshot::Receiver<()>);

pub(super) fn new() -> (Taker, Taken) {
    let (sender, receiver) = oneshot::channel();
    (Taker(Some(sender)), Taken(receiver))
}

impl Taker {
    /// The client has the answer, for all that is known here.
    pub(crate) fn has_it(self) {
        if let Some(sender) = self.0 {
            // Nobody asks any more.
            let _ = sender.send(());
        }
    }
}

impl Future for Taken {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        Pin::new(&mut self.0).poll(cx).map(|taken| taken.is_ok())
    }
}
