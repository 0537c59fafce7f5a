//! Exit codes, and the one kind of error that a command ends with.

use std::process::ExitCode;

use miette::{Diagnostic, Report};

/// The exit codes of `mcp-ultra`. They are part of its contract: scripts rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: done.
    Ok,
    /// 1: what was asked for was tried and failed: a tool's error, a step of `smoke`, a server
    /// that can't be reached, a file that can't be written.
    Failed,
    /// 2: what was asked for makes no sense: wrong arguments (also those that clap refuses), or a
    /// configuration with a fault in it.
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Ok => Self::from(0),
            Exit::Failed => Self::from(1),
            Exit::Usage => Self::from(2),
        }
    }
}

/// Why a command ended: the exit code, and what the user reads.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The code to end with.
    pub(crate) exit: Exit,
    /// What happened, why, and what to do. `None` where the command has said it itself.
    pub(crate) report: Option<Report>,
}

/// What a command returns.
pub(crate) type CommandResult = Result<(), Failure>;

impl Failure {
    /// [`Exit::Failed`], explained.
    pub(crate) fn failed(why: impl Diagnostic + Send + Sync + 'static) -> Self {
        Self {
            exit: Exit::Failed,
            report: Some(Report::new(why)),
        }
    }

    /// [`Exit::Usage`], explained.
    pub(crate) fn usage(why: impl Diagnostic + Send + Sync + 'static) -> Self {
        Self {
            exit: Exit::Usage,
            report: Some(Report::new(why)),
        }
    }

    /// [`Exit::Failed`], where the output already says why.
    pub(crate) fn told() -> Self {
        Self {
            exit: Exit::Failed,
            report: None,
        }
    }
}

/// Standard output can't be written to.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the output could not be written")]
#[diagnostic(help("check the disk or the program that reads this output"))]
struct OutputError(#[source] std::io::Error);

/// Writes `text` and a line end to standard output.
///
/// A reader that has gone (`| head`) is no failure: there is nobody left to tell.
pub(crate) fn print(text: &str) -> CommandResult {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let written = out
        .write_all(text.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(OutputError(error)))
        }
        _ => Ok(()),
    }
}
