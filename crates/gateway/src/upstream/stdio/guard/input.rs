//! Copying the guard's stdin to the server's, without ever waiting for a server that does not read.

use std::io::{self, Write};
use std::ops::Range;
use std::os::fd::AsFd;
use std::process::ChildStdin;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::read;

/// As much as a pipe holds.
const BUFFER_BYTES: usize = 64 * 1024;

/// Whether the way to the server has come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InputEnd {
    /// No.
    Open,
    /// The guard's stdin has no writer any more, or the server's no reader.
    Reached,
}

/// What has happened to the guard's stdin and to the server's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ready {
    from: PollFlags,
    to: PollFlags,
}

/// Both ends of the copy.
pub(super) struct Input {
    stdin: io::Stdin,
    /// `None` once closed.
    server: Option<ChildStdin>,
    /// Always of full length: clearing and growing it would cost more than the copy.
    buffer: Box<[u8]>,
    /// What of the buffer is read but not yet written.
    waiting: Range<usize>,
    /// The guard's stdin has no writer any more; the pipe may still hold something.
    hung_up: bool,
    /// Nothing more is to be read.
    finished: bool,
}

impl Input {
    /// `server` is made non-blocking, which concerns only the guard's end of the pipe.
    pub(super) fn new(server: Option<ChildStdin>) -> Self {
        if let Some(server) = &server {
            // A pipe that has just been made can't refuse.
            let _ = fcntl(server, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
        }
        Self {
            stdin: io::stdin(),
            server,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            waiting: 0..0,
            hung_up: false,
            finished: false,
        }
    }

    /// Closes the server's stdin once what has been read is written.
    pub(super) fn finish(&mut self) {
        self.finished = true;
        self.close_if_done();
    }

    /// Closes the server's stdin at once.
    pub(super) fn close(&mut self) {
        self.finished = true;
        self.server = None;
    }

    /// Copies what can be copied, after [`wait`](Self::wait) has told what that is.
    pub(super) fn copy(&mut self, Ready { from, to }: Ready) -> InputEnd {
        if from.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL) {
            self.hung_up = true;
        }
        // With no events asked for, only a hang-up was reported and there may be nothing to read.
        if self.wants_input() && !from.is_empty() {
            self.read();
        }
        if to.contains(PollFlags::POLLERR) {
            self.close();
        } else {
            self.write();
        }
        self.close_if_done();
        let reached = self.hung_up || self.finished || self.server.is_none();
        if reached {
            InputEnd::Reached
        } else {
            InputEnd::Open
        }
    }

    fn wants_input(&self) -> bool {
        !self.finished && self.server.is_some() && self.waiting.is_empty()
    }

    /// Waits until `wake` is readable, something can be copied, an end is reached or `limit` is
    /// over. Returns early on a signal.
    pub(super) fn wait(&self, wake: &impl AsFd, limit: Option<Duration>) -> Ready {
        let from = if self.wants_input() {
            PollFlags::POLLIN
        } else {
            PollFlags::empty()
        };
        let to = if self.waiting.is_empty() {
            PollFlags::empty()
        } else {
            PollFlags::POLLOUT
        };
        // A hang-up is always reported, whether asked for or not: once it is known and nothing is
        // to be read, polling for it would spin.
        let watch_from = self.wants_input() || !(self.finished || self.hung_up);

        let mut fds = vec![PollFd::new(wake.as_fd(), PollFlags::POLLIN)];
        let from_at = watch_from.then(|| {
            fds.push(PollFd::new(self.stdin.as_fd(), from));
            fds.len() - 1
        });
        let to_at = self.server.as_ref().map(|server| {
            fds.push(PollFd::new(server.as_fd(), to));
            fds.len() - 1
        });
        if poll(&mut fds, timeout(limit)).is_err() {
            return Ready {
                from: PollFlags::empty(),
                to: PollFlags::empty(),
            };
        }
        let happened = |at: Option<usize>| {
            at.and_then(|at| fds.get(at)?.revents())
                .unwrap_or(PollFlags::empty())
        };
        Ready {
            from: happened(from_at),
            to: happened(to_at),
        }
    }

    fn read(&mut self) {
        match read(&self.stdin, &mut self.buffer) {
            Ok(got @ 1..) => self.waiting = 0..got,
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Ok(_) | Err(_) => self.finished = true,
        }
    }

    fn write(&mut self) {
        let Some(server) = &mut self.server else {
            return;
        };
        while !self.waiting.is_empty() {
            match server.write(&self.buffer[self.waiting.clone()]) {
                Ok(sent) => self.waiting.start += sent,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.close(),
            }
        }
    }

    fn close_if_done(&mut self) {
        if self.finished && self.waiting.is_empty() {
            self.server = None;
        }
    }
}

/// Rounded up, so that what was waited for is due when the time is over.
fn timeout(limit: Option<Duration>) -> PollTimeout {
    let Some(limit) = limit else {
        return PollTimeout::NONE;
    };
    let millis = limit.as_nanos().div_ceil(1_000_000);
    u16::try_from(millis).map_or(PollTimeout::from(u16::MAX), PollTimeout::from)
}
