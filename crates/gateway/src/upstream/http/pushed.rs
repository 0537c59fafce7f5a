//! The server-to-client stream of a legacy session.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{HttpSession, HttpStream, Reply, body::StreamBody};
use crate::upstream::session::{Session, Sink};

/// The first and the longest wait before a server-to-client stream is opened again.
const PUSH_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

impl HttpSession {
    /// Reads the stream from now on, unless that is done already. The receiver is told once the
    /// upstream has replied to the first attempt.
    pub(in crate::upstream) fn listen(self: &Arc<Self>) -> oneshot::Receiver<()> {
        let (opened, open) = oneshot::channel();
        if !self.listens.swap(true, Ordering::Relaxed) {
            let (session, stop) = (Arc::downgrade(self), self.stop.clone());
            tokio::spawn(read_pushed(session, stop, self.sink.clone(), opened));
        }
        open
    }
}

/// Reads the server-to-client stream for as long as the session lives; tells `opened` once the
/// upstream has replied to the first attempt.
async fn read_pushed(
    session: std::sync::Weak<HttpSession>,
    stop: CancellationToken,
    sink: Sink,
    opened: oneshot::Sender<()>,
) {
    let mut opened = Some(opened);
    let mut had_stream = false;
    let mut pause = PUSH_PAUSE.0;
    loop {
        let Some(open) = session.upgrade() else {
            return;
        };
        let subject = open.subject();
        let asking = open
            .transport
            .get_legacy(open.id.as_ref(), open.version, None, &subject);
        let reply = tokio::select! {
            () = stop.cancelled() => return,
            reply = asking => reply,
        };
        // A server without such streams may say 404 to all that ask for one.
        if had_stream && reply.as_ref().is_ok_and(|reply| open.is_gone(reply)) {
            open.forget();
            return;
        }
        let is_shared = open.is_shared();
        drop(open);
        if let Some(opened) = opened.take() {
            // The session may have stopped waiting.
            let _ = opened.send(());
        }
        match reply {
            Ok(Reply::Stream(body, _)) => {
                had_stream = true;
                let since = tokio::time::Instant::now();
                if !read_stream(&session, body, &stop, &sink).await {
                    return;
                }
                if since.elapsed() > PUSH_PAUSE.1 {
                    pause = PUSH_PAUSE.0;
                }
            }
            // It may be overloaded, or on its way up.
            Ok(Reply::Status(500..)) | Err(_) => {}
            // There may be one only, and it does not know yet that the replica is gone which had it.
            Ok(Reply::Status(409)) if is_shared => {}
            // 405: the upstream has no such stream.
            Ok(Reply::Status(_) | Reply::Accepted | Reply::Answer(..)) => return,
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(PUSH_PAUSE.1);
    }
}

/// Reads one server-to-client stream to its end; `false` where the session has ended meanwhile.
async fn read_stream(
    session: &std::sync::Weak<HttpSession>,
    body: StreamBody,
    stop: &CancellationToken,
    sink: &Sink,
) -> bool {
    let Some(limit) = session.upgrade().map(|open| open.transport.max_message()) else {
        return false;
    };
    let mut stream = HttpStream::modern(body, limit);
    loop {
        let message = tokio::select! {
            () = stop.cancelled() => return false,
            message = stream.next_message() => message,
        };
        let Some(open) = session.upgrade() else {
            return false;
        };
        match message {
            Ok(message) => Session::Http(open).take(message, sink).await,
            Err(_) => return true,
        }
    }
}
