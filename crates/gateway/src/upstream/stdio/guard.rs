//! The guard: a small process between the gateway and a stdio server that outlives neither.
//!
//! One thread, one `poll` loop, no runtime. It copies its stdin to the server's and otherwise
//! waits. The end comes in steps, each with a time limit: the server's stdin is closed, its
//! processes get SIGTERM, they get SIGKILL. What begins it:
//!
//! - stdin ends: the gateway has closed it or is dead;
//! - the server closes its stdin or exits;
//! - SIGTERM, SIGINT or SIGHUP. SIGQUIT goes straight to SIGKILL.
//!
//! The guard is a child subreaper, so whatever the server starts and abandons, also in sessions of
//! its own, becomes the guard's child and is found. `PR_SET_PDEATHSIG` would be no help: it fires
//! when the *thread* that started the guard ends, and a runtime's threads come and go.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, dup2_stdout, getpgrp, getpid, setpgid};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

use super::process_tree::{descendants, signal_all};

mod args;
mod input;

pub use args::{DEFAULT_GRACE, DEFAULT_TERM_WAIT, GuardArgs, GuardArgsError, SUBCOMMAND};
use input::{Input, InputEnd};

/// How long killed processes may take to disappear; one that hangs in the kernel is given up.
const KILL_WAIT: Duration = Duration::from_secs(5);
/// Between two looks for processes that were forked while others were being killed.
const KILL_PAUSE: Duration = Duration::from_millis(10);
/// The guard could not do its work; by the custom of `timeout` and `env`.
const EXIT_GUARD_FAILED: u8 = 125;

/// Runs the command until it ends, see the module. The whole of the hidden subcommand: call it
/// before anything else in `main`, above all before threads are started.
///
/// Returns the command's exit code, 128 + n when signal n ended it, 127 when it was not found, 126
/// when it could not be started, 125 when the guard itself failed. Messages go to stderr, one line
/// each.
pub fn run(args: GuardArgs) -> ExitCode {
    // The gateway does without huge pages, which is inherited and nobody else's business. Where it can't be
    // undone, the command is slower at worst.
    let _ = prctl::set_thp_disable(false);
    match Guard::start(args) {
        Ok(guard) => ExitCode::from(guard.watch()),
        Err(Failure { code, message }) => {
            say(&message);
            ExitCode::from(code)
        }
    }
}

/// Stderr may be gone; there is nobody else to tell.
fn say(message: &str) {
    let _ = writeln!(io::stderr(), "mcp-ultra guard: {message}");
}

struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    fn guard(step: &str, error: impl Into<io::Error>) -> Self {
        let message = format!("can't {step}: {}", error.into());
        Self {
            code: EXIT_GUARD_FAILED,
            message,
        }
    }

    fn command(command: &OsString, error: &io::Error) -> Self {
        let code = if error.kind() == io::ErrorKind::NotFound {
            127
        } else {
            126
        };
        let message = format!("can't start {}: {error}", command.display());
        Self { code, message }
    }
}

type Signals = SignalDelivery<UnixStream, SignalOnly>;

struct Guard {
    signals: Signals,
    input: Input,
    command: Pid,
    /// The command's exit code, once it has exited.
    exit_code: Option<u8>,
    phase: Phase,
    grace: Duration,
    term_wait: Duration,
}

/// How far the end has come, and until when the next step waits.
#[derive(Debug, Clone, Copy)]
enum Phase {
    Running,
    Closing(Instant),
    Terminating(Instant),
    Killing(Instant),
}

impl Guard {
    fn start(args: GuardArgs) -> Result<Self, Failure> {
        // The gateway has done so already; by hand from a shell it has not, and then signals to
        // the group would hit the rest of a pipeline.
        if getpgrp() != getpid() {
            setpgid(Pid::from_raw(0), Pid::from_raw(0))
                .map_err(|error| Failure::guard("lead a process group", error))?;
        }
        prctl::set_child_subreaper(true)
            .map_err(|error| Failure::guard("become a child subreaper", error))?;
        // Handlers rather than a signal mask: the command would inherit a mask. For the same
        // reason one that the gateway may have is cleared.
        let signals = watch_signals().map_err(|error| Failure::guard("watch signals", error))?;
        SigSet::empty()
            .thread_set_mask()
            .map_err(|error| Failure::guard("clear the signal mask", error))?;

        let mut child = Command::new(&args.command)
            .args(args.args)
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|error| Failure::command(&args.command, &error))?;
        let guard = Self {
            signals,
            input: Input::new(child.stdin.take()),
            command: Pid::from_raw(child.id().cast_signed()),
            exit_code: None,
            phase: Phase::Running,
            grace: args.grace,
            term_wait: args.term_wait,
        };
        let_go_of_stdout();
        Ok(guard)
    }

    fn watch(mut self) -> u8 {
        loop {
            if !self.reap() {
                return self.exit_code.unwrap_or(EXIT_GUARD_FAILED);
            }
            if !self.advance(Instant::now()) {
                say("some processes of the server can't be ended; giving up");
                return self.exit_code.unwrap_or(EXIT_GUARD_FAILED);
            }
            let ready = self.input.wait(self.signals.get_read(), self.time_left());
            // First, so that a server that is to be killed does not read the end of its stdin
            // before: it could still do something about that.
            self.take_signals();
            if matches!(self.phase, Phase::Killing(_)) {
                continue;
            }
            if self.input.copy(ready) == InputEnd::Reached {
                self.begin_end();
            }
        }
    }

    /// Collects every child that has ended; `false` when none is left.
    fn reap(&mut self) -> bool {
        loop {
            let (pid, code) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, code),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as i32),
                Ok(WaitStatus::StillAlive) => return true,
                Err(Errno::ECHILD) => return false,
                Ok(_) | Err(_) => continue,
            };
            if pid == self.command {
                self.exit_code = Some(u8::try_from(code).unwrap_or(u8::MAX));
            }
        }
    }

    /// Takes the next step if it is due; `false` when the last one is over.
    fn advance(&mut self, now: Instant) -> bool {
        match self.phase {
            // What the command has left behind has nobody to wait for.
            Phase::Running | Phase::Closing(_) if self.exit_code.is_some() => self.terminate(now),
            Phase::Closing(until) if now >= until => self.terminate(now),
            Phase::Terminating(until) if now >= until => {
                self.phase = Phase::Killing(now + KILL_WAIT);
            }
            _ => {}
        }
        if let Phase::Killing(until) = self.phase {
            // Not the group: that would be the guard too.
            signal_all(&descendants(getpid()), Signal::SIGKILL);
            self.input.close();
            return now < until;
        }
        true
    }

    fn begin_end(&mut self) {
        if matches!(self.phase, Phase::Running) {
            self.phase = Phase::Closing(Instant::now() + self.grace);
        }
    }

    fn terminate(&mut self, now: Instant) {
        self.input.close();
        self.phase = Phase::Terminating(now + self.term_wait);
        // The group at once, guard included (which ignores it), so that no fork is missed; then
        // whoever has left the group. Some get it twice. These are looked for before as well: when
        // its parent ends of the signal, a process moves up to the guard, and whoever walks the
        // tree meanwhile may find it in neither place.
        let before = descendants(getpid());
        let _ = killpg(getpid(), Signal::SIGTERM);
        let after = descendants(getpid());
        let left = before.iter().filter(|pid| !after.contains(pid));
        signal_all(left.chain(&after), Signal::SIGTERM);
    }

    fn take_signals(&mut self) {
        for signal in self.signals.pending().collect::<Vec<_>>() {
            match signal {
                SIGQUIT if matches!(self.phase, Phase::Killing(_)) => {}
                SIGQUIT => self.phase = Phase::Killing(Instant::now() + KILL_WAIT),
                SIGTERM | SIGINT | SIGHUP => {
                    self.input.finish();
                    self.begin_end();
                }
                _ => {}
            }
        }
    }

    /// Until the next step is due; `None` for ever.
    fn time_left(&self) -> Option<Duration> {
        match self.phase {
            Phase::Running => None,
            Phase::Closing(until) | Phase::Terminating(until) => {
                Some(until.saturating_duration_since(Instant::now()))
            }
            Phase::Killing(_) => Some(KILL_PAUSE),
        }
    }
}

fn watch_signals() -> io::Result<Signals> {
    let (read, write) = UnixStream::pair()?;
    let watched = [SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT];
    SignalDelivery::with_pipe(read, write, SignalOnly, watched)
}

/// The gateway must see the end of stdout when the server closes it.
fn let_go_of_stdout() {
    let let_go = std::fs::File::options()
        .write(true)
        .open("/dev/null")
        .and_then(|null| dup2_stdout(null).map_err(io::Error::from));
    if let Err(error) = let_go {
        say(&format!(
            "can't let go of stdout, its end will be seen late: {error}"
        ));
    }
}
