//! Starting a stdio upstream under its guard.

use std::collections::hash_map::RandomState;
use std::ffi::OsString;
use std::hash::BuildHasher;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio_util::sync::CancellationToken;

use super::environment::default_environment;
use super::guard::{DEFAULT_GRACE, DEFAULT_TERM_WAIT, GuardArgs, SUBCOMMAND};
use super::lifetime::{MARK, ProcessExit, StdioHandle};
use super::lines::StdioReader;
use super::stderr;
use super::writer::StdioWriter;

/// The longest line that is taken from an upstream, unless configured: 16 MiB.
pub const DEFAULT_MAX_LINE_BYTES: usize = 16 * 1024 * 1024;

/// What to start, and how.
#[derive(Debug, Clone)]
pub struct StdioSpec {
    /// The upstream's name, for the log.
    pub name: Arc<str>,
    /// The program whose hidden subcommand `__guard` is [`guard::run`](super::guard::run); an
    /// absolute path, usually [`own_program`].
    pub guard_program: PathBuf,
    /// The server's program: looked up on the `PATH` that the server gets, or a path, which is
    /// relative to `cwd`. No shell is involved.
    pub command: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables added to [`default_environment`]; one of the same name is replaced.
    pub env: Vec<(OsString, OsString)>,
    /// The working directory; the gateway's own when `None`.
    pub cwd: Option<PathBuf>,
    /// The longest line taken from the server, in bytes without the line end.
    pub max_line_bytes: usize,
    /// How long the server may run on after its stdin has ended, until the guard sends SIGTERM.
    pub grace: Duration,
    /// How long it may run on after SIGTERM, until the guard sends SIGKILL.
    pub term_wait: Duration,
}

impl StdioSpec {
    /// A command under this program's own guard, with everything else at its default.
    pub fn new(name: impl Into<Arc<str>>, command: impl Into<OsString>) -> Self {
        Self {
            name: name.into(),
            guard_program: own_program(),
            command: command.into(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            max_line_bytes: DEFAULT_MAX_LINE_BYTES,
            grace: DEFAULT_GRACE,
            term_wait: DEFAULT_TERM_WAIT,
        }
    }
}

/// This very program, also after its file has been replaced by a newer version: the path of the
/// file could then name another guard, or none.
pub fn own_program() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// Why a process could not be started. That COMMAND itself cannot be started is seen later, as
/// [`ProcessExit::Code`] 126 or 127.
#[derive(Debug, Error)]
pub enum SpawnError {
    /// The working directory is missing, no directory, or not accessible.
    #[error("upstream {upstream}: the working directory {} can't be used", cwd.display())]
    WorkingDirectory {
        /// The upstream's name.
        upstream: Arc<str>,
        /// The directory.
        cwd: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The guard did not start: out of processes, memory or files, or an argument, variable or
    /// name holds a NUL.
    #[error("upstream {upstream}: the guard process {} can't be started", program.display())]
    Guard {
        /// The upstream's name.
        upstream: Arc<str>,
        /// The guard's program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The guard started but could not be watched or connected, and has been ended.
    #[error("upstream {upstream}: its process can't be watched or connected")]
    Connect {
        /// The upstream's name.
        upstream: Arc<str>,
        /// What the system said.
        source: io::Error,
    },
}

/// A running stdio upstream, not yet taken apart.
#[derive(Debug)]
pub struct StdioProcess {
    writer: StdioWriter,
    reader: StdioReader,
    handle: StdioHandle,
}

impl StdioProcess {
    /// Starts the guard, which starts the command. Must be called within a Tokio runtime with I/O
    /// and time enabled; blocks for about a millisecond.
    pub fn spawn(spec: &StdioSpec) -> Result<Self, SpawnError> {
        check_working_directory(spec)?;
        let mark = new_mark();
        let child = guard_command(spec, &mark)
            .spawn()
            .map_err(|source| SpawnError::Guard {
                upstream: spec.name.clone(),
                program: spec.guard_program.clone(),
                source,
            })?;
        Self::connect(spec, child, mark).map_err(|source| SpawnError::Connect {
            upstream: spec.name.clone(),
            source,
        })
    }

    fn connect(spec: &StdioSpec, mut child: Child, mark: String) -> io::Result<Self> {
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let stop_writing = CancellationToken::new();
        // First of all, so that whatever fails below ends the child.
        let handle = StdioHandle::new(child, mark, stop_writing.clone())?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err(io::Error::other("the child has no pipes"));
        };
        let stdin = ChildStdin::from_std(stdin)?;
        let stdout = ChildStdout::from_std(stdout)?;
        let stderr = ChildStderr::from_std(stderr)?;
        log_stderr(spec.name.clone(), stderr, handle.exited());
        Ok(Self {
            writer: StdioWriter::start(stdin, stop_writing),
            reader: StdioReader::new(stdout, handle.exit_receiver(), spec.max_line_bytes),
            handle,
        })
    }

    /// The three parts: what sends, what receives, and what owns the process.
    pub fn split(self) -> (StdioWriter, StdioReader, StdioHandle) {
        (self.writer, self.reader, self.handle)
    }

    /// Ends the process, see [`StdioHandle::shutdown`].
    pub async fn shutdown(self, grace: Duration) -> ProcessExit {
        self.handle.shutdown(grace).await
    }
}

/// Without this check, a missing directory and a missing guard give the same error.
fn check_working_directory(spec: &StdioSpec) -> Result<(), SpawnError> {
    let Some(cwd) = &spec.cwd else { return Ok(()) };
    let checked = match std::fs::metadata(cwd) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
        Err(error) => Err(error),
    };
    checked.map_err(|source| SpawnError::WorkingDirectory {
        upstream: spec.name.clone(),
        cwd: cwd.clone(),
        source,
    })
}

fn guard_command(spec: &StdioSpec, mark: &str) -> Command {
    let guard = GuardArgs {
        command: spec.command.clone(),
        args: spec.args.clone(),
        grace: spec.grace,
        term_wait: spec.term_wait,
    };
    let mut command = Command::new(&spec.guard_program);
    command
        // Shown by `ps`, where the path may say as little as `/proc/self/exe`.
        .arg0("mcp-ultra")
        .arg(SUBCOMMAND)
        .args(guard.to_args())
        .env_clear()
        .envs(default_environment(std::env::vars_os()))
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .env(MARK, mark)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(cwd) = &spec.cwd {
        command.current_dir(cwd);
    }
    command
}

/// Unlike that of any other guard on the machine, however often gateways restart.
fn new_mark() -> String {
    format!(
        "{}-{:016x}",
        std::process::id(),
        RandomState::new().hash_one("mark")
    )
}

/// Logs stderr to its end, or until shortly after the exit: a process that could not be ended may
/// hold it open.
fn log_stderr(
    upstream: Arc<str>,
    stderr: ChildStderr,
    exited: impl Future<Output = ProcessExit> + Send + 'static,
) {
    tokio::spawn(async move {
        let held_open = async {
            exited.await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        };
        tokio::select! {
            () = stderr::log_lines(stderr, upstream) => {}
            () = held_open => {}
        }
    });
}
