//! The life of one guard: noticing its exit, sweeping up behind it, and ending it.
//!
//! A thread per process waits for the exit. It costs a small stack, next to a whole server, and
//! unlike a task it outlives the runtime, so that no zombie stays when a runtime is dropped.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::process::Child;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::process_tree;

/// The environment variable whose value marks all processes of one guard.
pub(super) const MARK: &str = "MCP_ULTRA_GUARD";
/// How long a guard may take to end everything once told to, before its group is killed.
const KILL_LIMIT: Duration = Duration::from_secs(6);
/// How long the processes of a guard that was killed may take to be gone.
const SWEEP_LIMIT: Duration = Duration::from_secs(5);
const SWEEP_PAUSE: Duration = Duration::from_millis(10);
const STACK_BYTES: usize = 128 * 1024;

/// How an upstream's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessExit {
    /// With an exit code; by the custom of shells, 128 + n stands for signal n, 127 for a command
    /// that was not found and 126 for one that could not be started. 125 is the guard's own: it
    /// could not do its work, and its message is in the log.
    Code(i32),
    /// The guard itself was ended by this signal; what it guarded has been killed.
    GuardKilled(i32),
    /// Another part of the program has taken the exit status; what was guarded has been killed.
    Unknown,
}

impl ProcessExit {
    /// Whether the guard may have ended before its work was done: 101 is a panic's exit code (the
    /// command's or its own, which can't be told apart), 125 a failure that it has reported.
    fn is_of_guard(self) -> bool {
        matches!(
            self,
            Self::GuardKilled(_) | Self::Unknown | Self::Code(101 | 125)
        )
    }
}

impl fmt::Display for ProcessExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(0) => f.write_str("the process exited by itself, without an error"),
            Self::Code(125) => f.write_str("the guard could not do its work (exit code 125)"),
            Self::Code(126) => f.write_str(
                "the command could not be started (exit code 126): is it an executable file?",
            ),
            Self::Code(127) => f.write_str(
                "the command was not found (exit code 127): is it installed and on PATH?",
            ),
            Self::Code(code @ 129..=192) => {
                write!(f, "the process was ended by signal {}", code - 128)
            }
            Self::Code(code) => write!(f, "the process exited with code {code}"),
            Self::GuardKilled(signal) => write!(f, "the guard was ended by signal {signal}"),
            Self::Unknown => f.write_str("the process ended, its exit status is not known"),
        }
    }
}

/// Owns the upstream's process. Dropping it ends the process and all its descendants at once.
#[derive(Debug)]
pub struct StdioHandle {
    guard: Arc<Guard>,
    exit: watch::Receiver<Option<ProcessExit>>,
    stop_writing: CancellationToken,
}

/// The guard's process, which may be signalled only while it has not been reaped: afterwards the
/// number may belong to a stranger.
#[derive(Debug)]
struct Guard {
    pid: Pid,
    mark: String,
    alive: Mutex<bool>,
}

impl StdioHandle {
    /// Takes charge of a guard that leads its own process group.
    pub(super) fn new(
        mut child: Child,
        mark: String,
        stop_writing: CancellationToken,
    ) -> io::Result<Self> {
        let pid = Pid::from_raw(child.id().cast_signed());
        let guard = Arc::new(Guard {
            pid,
            mark,
            alive: Mutex::new(true),
        });
        let (announce, exit) = watch::channel(None);
        let watched = guard.clone();
        let watcher = thread::Builder::new()
            .name("stdio-exit".into())
            .stack_size(STACK_BYTES);
        let started = watcher.spawn(move || {
            announce.send_replace(Some(watched.wait_and_sweep()));
        });
        if let Err(no_thread) = started {
            let _ = killpg(pid, Signal::SIGKILL);
            let _ = child.wait();
            return Err(no_thread);
        }
        Ok(Self {
            guard,
            exit,
            stop_writing,
        })
    }

    /// The process id of the guard, which is also the number of the process group.
    pub fn pid(&self) -> u32 {
        self.guard.pid.as_raw().cast_unsigned()
    }

    /// How the process ended, if it has.
    pub fn exit_status(&self) -> Option<ProcessExit> {
        *self.exit.borrow()
    }

    /// Waits for the end of the process. The future holds nothing of the handle, so it can be
    /// awaited elsewhere; any number of them may wait. No process of the upstream is left then.
    pub fn exited(&self) -> impl Future<Output = ProcessExit> + Send + 'static {
        wait_for_exit(self.exit.clone())
    }

    pub(super) fn exit_receiver(&self) -> watch::Receiver<Option<ProcessExit>> {
        self.exit.clone()
    }

    /// Ends the upstream in the order of the specification: closes its stdin once what is queued
    /// has been written (a quarter of a second at most), waits up to `grace`, then has every
    /// process killed. Within its own grace the guard sends SIGTERM first, so a `grace` of a
    /// second more than the guard's grace and SIGTERM wait leaves time for all of it.
    pub async fn shutdown(self, grace: Duration) -> ProcessExit {
        self.stop_writing.cancel();
        if let Ok(exit) = timeout(grace, self.exited()).await {
            return exit;
        }
        self.guard.signal(Signal::SIGQUIT);
        if let Ok(exit) = timeout(KILL_LIMIT, self.exited()).await {
            return exit;
        }
        self.guard.kill_group();
        self.exited().await
    }
}

impl Drop for StdioHandle {
    fn drop(&mut self) {
        // Before the end of its stdin, which would be a request rather than an order.
        self.guard.signal(Signal::SIGQUIT);
        self.stop_writing.cancel();
        if self.exit.borrow().is_some() {
            return;
        }
        // The guard does as it is told unless it is stopped or starved; only then is this needed.
        let guard = self.guard.clone();
        let escalate = thread::Builder::new()
            .name("stdio-kill".into())
            .stack_size(STACK_BYTES);
        let escalating = escalate.spawn(move || {
            let deadline = Instant::now() + KILL_LIMIT;
            while *guard.alive.lock() && Instant::now() < deadline {
                thread::sleep(SWEEP_PAUSE);
            }
            guard.kill_group();
        });
        if escalating.is_err() {
            self.guard.kill_group();
        }
    }
}

async fn wait_for_exit(mut exit: watch::Receiver<Option<ProcessExit>>) -> ProcessExit {
    match exit.wait_for(Option::is_some).await {
        Ok(seen) => seen.unwrap_or(ProcessExit::Unknown),
        Err(_) => ProcessExit::Unknown,
    }
}

impl Guard {
    fn signal(&self, signal: Signal) {
        let alive = self.alive.lock();
        if *alive {
            let _ = kill(self.pid, signal);
        }
    }

    fn kill_group(&self) {
        let alive = self.alive.lock();
        if *alive {
            let _ = killpg(self.pid, Signal::SIGKILL);
        }
    }

    /// Blocks until the guard has ended and nothing of it is left.
    fn wait_and_sweep(&self) -> ProcessExit {
        // WNOWAIT leaves the zombie: as long as it is there, nobody else can get its number, and
        // the group can be killed without hitting a stranger.
        let ended = loop {
            match waitid(
                Id::Pid(self.pid),
                WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT,
            ) {
                Err(Errno::EINTR) => {}
                ended => break ended,
            }
        };
        self.kill_group();
        let reaped = {
            let mut alive = self.alive.lock();
            *alive = false;
            waitpid(self.pid, Some(WaitPidFlag::WNOHANG))
        };
        let exit = match reaped.or(ended) {
            Ok(WaitStatus::Exited(_, code)) => ProcessExit::Code(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => ProcessExit::GuardKilled(signal as i32),
            _ => ProcessExit::Unknown,
        };
        if exit.is_of_guard() {
            self.sweep();
        }
        exit
    }

    /// The guard could not tidy up: kills what carries its mark, which also finds processes that
    /// had left the group, and reaps what has become this process's child (as init of a container
    /// it inherits them).
    fn sweep(&self) {
        let deadline = Instant::now() + SWEEP_LIMIT;
        let group = Pid::from_raw(-self.pid.as_raw());
        let mut found = BTreeSet::new();
        loop {
            for pid in process_tree::with_variable(MARK, &self.mark) {
                let _ = kill(pid, Signal::SIGKILL);
                found.insert(pid);
            }
            // A zombie has no environment any more, so those that were found are remembered.
            found.retain(|pid| !reap(*pid) && process_tree::exists(*pid));
            while reap(group) {}
            let group_left = waitpid(group, Some(WaitPidFlag::WNOHANG)) != Err(Errno::ECHILD);
            if found.is_empty() && !group_left || Instant::now() >= deadline {
                return;
            }
            thread::sleep(SWEEP_PAUSE);
        }
    }
}

/// Whether `pid`, or with a negative number one of a group, was a child of this process that had
/// ended and is now gone.
fn reap(pid: Pid) -> bool {
    let ended = waitpid(pid, Some(WaitPidFlag::WNOHANG));
    matches!(ended, Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)))
}
