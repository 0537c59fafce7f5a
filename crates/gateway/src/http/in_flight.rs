use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use crate::reply::{Down, Replies};

/// A call that runs where its client waits for it, which costs no task and no change of thread,
/// for as long as the client does wait. When the client goes, or is given a stream, the call goes
/// on in a task of its own: it is never dropped half-way.
pub(super) struct InFlight {
    call: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl InFlight {
    pub(super) fn new(call: impl Future<Output = ()> + Send + 'static) -> Self {
        Self {
            call: Some(Box::pin(call)),
        }
    }

    /// Runs the call until it has something for the client; `None` where it ends without.
    pub(super) async fn first(&mut self, replies: &mut Replies) -> Option<Down> {
        poll_fn(|cx| {
            self.advance(cx);
            replies.poll_recv(cx)
        })
        .await
    }

    fn advance(&mut self, cx: &mut Context<'_>) {
        if let Some(call) = &mut self.call
            && let Poll::Ready(()) = call.as_mut().poll(cx)
        {
            self.call = None;
        }
    }

    /// Lets the rest of the call run in a task of its own.
    pub(super) fn detach(&mut self) {
        let Some(call) = self.call.take() else { return };
        // Without a runtime the process is ending, and everything with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(call);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.detach();
    }
}
