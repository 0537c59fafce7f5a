//! What can go wrong with a store of a test's own.

use std::{io, path::PathBuf, time::Duration};

use crate::{process::ProcessError, tls::CertificateError};

/// What can go wrong with a store of a test's own.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A program is not installed.
    #[error("{program} is missing: run `make setup`, which installs Debian's {package}")]
    Missing {
        /// The name of the program.
        program: String,
        /// The package that brings it.
        package: &'static str,
    },
    /// A file or folder could not be made.
    #[error("{path}: {source}")]
    File {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system has no such user to run servers as.
    #[error("servers are not run as root, and there is no user {0} to run them as")]
    NoAccount(&'static str),
    /// Its certificates could not be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Its process failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Somebody else was faster. Another port may be tried.
    #[error("port {0} is in use")]
    PortTaken(u16),
    /// It ended while it was started.
    #[error("{program} ended before it was ready; its output:\n{output}")]
    Ended {
        /// The program.
        program: String,
        /// All that it wrote.
        output: String,
    },
    /// It did not come to what was waited for.
    #[error("{what} did not come within {limit:?}; last: {last}")]
    NotReady {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
        /// What it said last.
        last: String,
    },
    /// A client's tool could not do what it was asked for.
    #[error("{program} failed: {output}")]
    Tool {
        /// The tool.
        program: String,
        /// What it wrote.
        output: String,
    },
}
