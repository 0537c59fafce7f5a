//! The signals that end the process. They are listened for before anything is shown or served: one
//! that comes while its handler is being set is lost, and nobody can know yet that there is a process
//! to end.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::ServeError;

/// SIGTERM and SIGINT, from now on.
pub(crate) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// Listens for them. Needs the runtime that [`block_on`](super::block_on) starts.
    pub(crate) fn new() -> Result<Self, ServeError> {
        Self::listen().map_err(ServeError::System)
    }

    fn listen() -> io::Result<Self> {
        // SIGHUP means "read again" as soon as there is something that was read. Until then it is
        // nothing, and by itself it would end the process.
        drop(signal(SignalKind::hangup())?);
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Resolves with the name of the next one.
    pub(super) async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// What `starting` comes to, given up at the first of them.
    pub(crate) async fn unless_told<T>(
        &mut self,
        starting: impl Future<Output = Result<T, ServeError>>,
    ) -> Result<T, ServeError> {
        tokio::select! {
            started = starting => started,
            signal = self.wait() => Err(ServeError::StoppedStarting(signal)),
        }
    }
}
