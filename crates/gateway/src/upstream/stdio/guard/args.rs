//! The command line between the gateway and its guard.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use thiserror::Error;

/// The hidden subcommand under which the binary calls [`run`](super::run).
pub const SUBCOMMAND: &str = "__guard";
/// How long a server may run on after its stdin has ended.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(2);
/// How long a server may run on after SIGTERM.
pub const DEFAULT_TERM_WAIT: Duration = Duration::from_secs(1);

/// What a guard is started with: `[--grace-ms N] [--term-wait-ms N] -- COMMAND ARGS…`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardArgs {
    /// The program to run, found on `PATH`.
    pub command: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// From the end of stdin to SIGTERM.
    pub grace: Duration,
    /// From SIGTERM to SIGKILL.
    pub term_wait: Duration,
}

/// A command line that is no guard's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GuardArgsError {
    /// An unknown word before `--`.
    #[error(
        "unexpected argument {}: use [--grace-ms N] [--term-wait-ms N] -- COMMAND ARGS…",
        .0.display()
    )]
    Unexpected(OsString),
    /// An option whose value is missing or no number.
    #[error("{0} needs a whole number of milliseconds")]
    Milliseconds(&'static str),
    /// Nothing to run.
    #[error("no command: give it after --")]
    NoCommand,
}

impl GuardArgs {
    /// Reads what follows the subcommand.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, GuardArgsError> {
        let mut args = args.into_iter();
        let (mut grace, mut term_wait) = (DEFAULT_GRACE, DEFAULT_TERM_WAIT);
        loop {
            let Some(arg) = args.next() else {
                return Err(GuardArgsError::NoCommand);
            };
            match arg.to_str() {
                Some("--") => break,
                Some("--grace-ms") => grace = milliseconds("--grace-ms", args.next().as_deref())?,
                Some("--term-wait-ms") => {
                    term_wait = milliseconds("--term-wait-ms", args.next().as_deref())?;
                }
                _ => return Err(GuardArgsError::Unexpected(arg)),
            }
        }
        let command = args.next().ok_or(GuardArgsError::NoCommand)?;
        Ok(Self {
            command,
            args: args.collect(),
            grace,
            term_wait,
        })
    }

    /// What [`GuardArgs::parse`] reads.
    pub(in super::super) fn to_args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec![
            "--grace-ms".into(),
            self.grace.as_millis().to_string().into(),
            "--term-wait-ms".into(),
            self.term_wait.as_millis().to_string().into(),
            "--".into(),
            self.command.clone(),
        ];
        args.extend(self.args.iter().cloned());
        args
    }
}

fn milliseconds(option: &'static str, value: Option<&OsStr>) -> Result<Duration, GuardArgsError> {
    let value = value
        .and_then(OsStr::to_str)
        .and_then(|text| text.parse::<u32>().ok());
    let millis = value.ok_or(GuardArgsError::Milliseconds(option))?;
    Ok(Duration::from_millis(millis.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<GuardArgs, GuardArgsError> {
        GuardArgs::parse(args.iter().map(Into::into))
    }

    #[test]
    fn what_is_written_is_read() {
        let written = GuardArgs {
            command: "npx".into(),
            args: vec!["-y".into(), "--".into(), "--grace-ms".into()],
            grace: Duration::from_millis(5),
            term_wait: Duration::from_secs(3),
        };
        assert_eq!(GuardArgs::parse(written.to_args()), Ok(written));
    }

    #[test]
    fn defaults_and_mistakes() {
        let args = parse(&["--", "true"]).unwrap();
        assert_eq!(
            (args.grace, args.term_wait),
            (DEFAULT_GRACE, DEFAULT_TERM_WAIT)
        );
        assert_eq!(parse(&[]), Err(GuardArgsError::NoCommand));
        assert_eq!(parse(&["--"]), Err(GuardArgsError::NoCommand));
        assert_eq!(
            parse(&["true"]),
            Err(GuardArgsError::Unexpected("true".into()))
        );
        let no_number = Err(GuardArgsError::Milliseconds("--grace-ms"));
        assert_eq!(parse(&["--grace-ms", "soon", "--", "true"]), no_number);
        assert_eq!(parse(&["--grace-ms"]), no_number);
    }
}
