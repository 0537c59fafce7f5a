//! The way to a stdio upstream: one message a line, through a queue with a bound in bytes.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Duration, sleep};
use tokio_util::sync::CancellationToken;

/// Bytes that may wait for a server that does not read, besides what its pipes hold (128 KiB).
const QUEUE_BYTES: usize = 1024 * 1024;
/// What a queued message costs besides its text, so that many tiny ones stay bounded too.
const MESSAGE_OVERHEAD: usize = 64;
/// How long what is queued may still be written once the end has been asked for.
const FLUSH_LIMIT: Duration = Duration::from_millis(250);

/// Why a message was not sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SendError {
    /// A line feed or carriage return would let one message end and another begin. The encoder
    /// must have removed those between tokens; inside strings JSON does not allow them.
    #[error(
        "a message for a stdio upstream has a raw line break at byte {0}; \
         it was not sent because the upstream would read it as two messages"
    )]
    LineBreak(usize),
    /// An empty line is no message.
    #[error("an empty message was not sent to a stdio upstream")]
    Empty,
    /// The upstream has ended or closed its stdin, or is being shut down.
    #[error("the stdio upstream no longer takes messages: it has ended or is being stopped")]
    Closed,
}

/// Sends messages to the upstream. Clones share one queue; when the last is dropped, the upstream's
/// stdin is closed, which asks it to end.
#[derive(Debug, Clone)]
pub struct StdioWriter {
    queue: mpsc::UnboundedSender<Queued>,
    room: Arc<Semaphore>,
}

#[derive(Debug)]
struct Queued {
    line: Bytes,
    /// Gives its room back once the line is written.
    _room: OwnedSemaphorePermit,
}

impl StdioWriter {
    /// Starts the task that owns `stdin`. It ends when all writers are gone, when `stop` is
    /// cancelled, or when the upstream no longer reads.
    pub(super) fn start(stdin: ChildStdin, stop: CancellationToken) -> Self {
        let (queue, queued) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(QUEUE_BYTES));
        tokio::spawn(write_lines(stdin, queued, stop, room.clone()));
        Self { queue, room }
    }

    /// Queues one message; `line` is without its line end.
    ///
    /// Waits while the queue is full, without a limit of its own: a caller that cannot wait wraps
    /// this in a timeout. When the future is dropped the message is queued whole or not at all.
    /// `Ok` says that the message is queued, not that it has been read.
    pub async fn send_line(&self, line: Bytes) -> Result<(), SendError> {
        if line.is_empty() {
            return Err(SendError::Empty);
        }
        if let Some(at) = memchr::memchr2(b'\n', b'\r', &line) {
            return Err(SendError::LineBreak(at));
        }
        // One that is larger than the whole queue goes through when the queue is empty.
        let cost = line.len().saturating_add(MESSAGE_OVERHEAD).min(QUEUE_BYTES);
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        let permit = self.room.clone().acquire_many_owned(cost).await;
        let room = permit.map_err(|_| SendError::Closed)?;
        self.queue
            .send(Queued { line, _room: room })
            .map_err(|_| SendError::Closed)
    }
}

async fn write_lines(
    stdin: ChildStdin,
    queued: mpsc::UnboundedReceiver<Queued>,
    stop: CancellationToken,
    room: Arc<Semaphore>,
) {
    let too_late = async {
        stop.cancelled().await;
        sleep(FLUSH_LIMIT).await;
    };
    tokio::select! {
        () = drain(stdin, queued, &stop) => {}
        () = too_late => {}
    }
    // Who waits for room learns that none will come.
    room.close();
}

async fn drain(
    mut stdin: ChildStdin,
    mut queued: mpsc::UnboundedReceiver<Queued>,
    stop: &CancellationToken,
) {
    loop {
        let next = tokio::select! {
            biased;
            next = queued.recv() => next,
            () = stop.cancelled(), if !queued.is_closed() => {
                queued.close();
                continue;
            }
        };
        let Some(Queued { line, _room }) = next else {
            return;
        };
        // Message and line end in one system call where the pipe has room.
        if stdin
            .write_all_buf(&mut line.chain(&b"\n"[..]))
            .await
            .is_err()
        {
            return;
        }
    }
}
