//! Processes of a test's own: started from a path, watched until they say that they are ready, their
//! output kept in memory, ended by their process id.

use std::{
    ffi::OsStr,
    io::{self, Read, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};

/// Between two looks at a process or its output.
const POLL: Duration = Duration::from_millis(10);
/// How long a process has to end after SIGTERM before it gets SIGKILL, when it is dropped.
const GRACE: Duration = Duration::from_secs(5);
/// No more output than this is kept of each stream.
const LARGEST_CAPTURE: usize = 32 * 1024 * 1024;

/// What can go wrong with a process.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("can't start {program}: {source}")]
    Start {
        /// The path that was given.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// It ended when it should not have.
    #[error(
        "{program} ended with {status} while {waiting_for} was waited for; its stderr:\n{stderr}"
    )]
    Ended {
        /// The path that was given.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// What was waited for.
        waiting_for: String,
        /// All that it wrote there.
        stderr: String,
    },
    /// Something did not come in time.
    #[error("{waiting_for} did not come from {program} within {limit:?}; its stderr:\n{stderr}")]
    TooLate {
        /// The path that was given.
        program: String,
        /// What was waited for.
        waiting_for: String,
        /// How long.
        limit: Duration,
        /// All that it wrote there so far.
        stderr: String,
    },
    /// The system refused something else.
    #[error("{doing} {program}: {source}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// The path that was given.
        program: String,
        /// What the system said.
        source: io::Error,
    },
}

/// A running process; dropping it ends it, first with SIGTERM, after five seconds with SIGKILL.
pub struct Process {
    program: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
}

impl Process {
    /// Starts `program` with stdin, stdout and stderr as pipes. Its environment is that of the test,
    /// with `environment` on top.
    pub fn start<A: AsRef<OsStr>>(
        program: impl AsRef<Path>,
        arguments: impl IntoIterator<Item = A>,
        environment: &[(&str, &str)],
    ) -> Result<Self, ProcessError> {
        let mut command = Command::new(program.as_ref());
        command.args(arguments).envs(environment.iter().copied());
        Self::start_command(command)
    }

    /// Starts a command that is built elsewhere, for example with a working folder.
    pub fn start_command(mut command: Command) -> Result<Self, ProcessError> {
        let program = command.get_program().to_string_lossy().into_owned();
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| ProcessError::Start {
            program: program.clone(),
            source,
        })?;
        let stdout = capture(child.stdout.take());
        let stderr = capture(child.stderr.take());
        let stdin = child.stdin.take();
        Ok(Self {
            program,
            child,
            stdin,
            stdout,
            stderr,
        })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that it has written to stdout so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&lock(&self.stdout)).into_owned()
    }

    /// All that it has written to stderr so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&lock(&self.stderr)).into_owned()
    }

    /// Waits for a whole line of stdout, or else of stderr, that `pick` makes something of.
    pub async fn line<T>(
        &mut self,
        waiting_for: &str,
        limit: Duration,
        pick: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ProcessError> {
        let begun = Instant::now();
        loop {
            // Asked first, so that output which came just before the end is still seen.
            let ended = self.status()?;
            for output in [self.stdout(), self.stderr()] {
                if let Some(found) = whole_lines(&output).find_map(&pick) {
                    return Ok(found);
                }
            }
            if let Some(status) = ended {
                return Err(ProcessError::Ended {
                    program: self.program.clone(),
                    status,
                    waiting_for: waiting_for.to_owned(),
                    stderr: self.stderr(),
                });
            }
            if begun.elapsed() > limit {
                return Err(self.too_late(waiting_for, limit));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Writes to its stdin and flushes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), ProcessError> {
        let written = match &mut self.stdin {
            Some(stdin) => stdin.write_all(bytes).and_then(|()| stdin.flush()),
            None => Err(io::Error::new(io::ErrorKind::BrokenPipe, "stdin is closed")),
        };
        written.map_err(|source| self.system("can't write to", source))
    }

    /// Closes its stdin.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// How it ended, or `None` while it runs.
    pub fn status(&mut self) -> Result<Option<ExitStatus>, ProcessError> {
        match self.child.try_wait() {
            Ok(status) => Ok(status),
            Err(source) => Err(self.system("can't ask after", source)),
        }
    }

    /// Sends a signal.
    pub fn signal(&mut self, signal: Signal) -> Result<(), ProcessError> {
        if self.status()?.is_some() {
            return Ok(());
        }
        // Not waited for yet, so the id cannot have been given to another process.
        let sent = signal::kill(self.pid(), signal);
        sent.map_err(|errno| self.system("can't signal", errno.into()))
    }

    /// Waits for its end.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus, ProcessError> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.status()? {
                return Ok(status);
            }
            if begun.elapsed() > limit {
                return Err(self.too_late("its end", limit));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    fn too_late(&self, waiting_for: &str, limit: Duration) -> ProcessError {
        ProcessError::TooLate {
            program: self.program.clone(),
            waiting_for: waiting_for.to_owned(),
            limit,
            stderr: self.stderr(),
        }
    }

    fn system(&self, doing: &'static str, source: io::Error) -> ProcessError {
        ProcessError::System {
            doing,
            program: self.program.clone(),
            source,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stdin = None;
        if self.signal(Signal::SIGTERM).is_ok() {
            let begun = Instant::now();
            while begun.elapsed() < GRACE {
                match self.child.try_wait() {
                    Ok(Some(_)) => return,
                    Ok(None) => thread::sleep(POLL),
                    Err(_) => break,
                }
            }
        }
        // Nothing is left to do about a process that can't even be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines that have their newline: the last one may still be on its way.
fn whole_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'))
}

fn lock(bytes: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    bytes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps what comes out of a pipe, in a thread that ends with the pipe.
fn capture(pipe: Option<impl Read + Send + 'static>) -> Arc<Mutex<Vec<u8>>> {
    let captured = Arc::new(Mutex::new(Vec::new()));
    let Some(mut pipe) = pipe else {
        return captured;
    };
    let shared = Arc::clone(&captured);
    thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            let mut kept = lock(&shared);
            let room = LARGEST_CAPTURE.saturating_sub(kept.len());
            kept.extend_from_slice(&buffer[..count.min(room)]);
        }
    });
    captured
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        Process::start("/bin/sh", ["-c", script], &[("GREETING", "hello")]).expect("sh starts")
    }

    #[tokio::test]
    async fn a_ready_line_is_found_and_the_process_ends_when_dropped() {
        let mut process = shell("echo first; echo \"ready $GREETING\"; exec sleep 60");
        let found = process
            .line("ready", Duration::from_secs(5), |line| {
                line.strip_prefix("ready ").map(ToOwned::to_owned)
            })
            .await
            .expect("a ready line");
        assert_eq!(found, "hello");
        let pid = process.pid();
        drop(process);
        assert!(
            signal::kill(pid, None).is_err(),
            "the process is still there"
        );
    }

    #[tokio::test]
    async fn an_early_end_is_told_with_its_stderr() {
        let mut process = shell("echo no such option >&2; exit 3");
        let error = process
            .line("ready", Duration::from_secs(5), |line| {
                (line == "ready").then_some(())
            })
            .await
            .expect_err("it ended");
        assert!(matches!(error, ProcessError::Ended { .. }), "{error}");
        assert!(
            process
                .wait(Duration::from_secs(1))
                .await
                .expect("a status")
                .code()
                == Some(3)
        );
    }

    #[tokio::test]
    async fn what_is_written_to_stdin_arrives() {
        let mut process = shell("read line; echo \"got $line\"");
        process.write(b"this\n").expect("written");
        let found = process
            .line("an answer", Duration::from_secs(5), |line| {
                line.starts_with("got").then(|| line.to_owned())
            })
            .await;
        assert_eq!(found.expect("a line"), "got this");
    }

    #[test]
    fn a_line_without_its_end_is_no_line() {
        assert_eq!(whole_lines("a\nb").collect::<Vec<_>>(), ["a"]);
    }
}
