//! Where a value came from.

use std::{fmt, sync::Arc};

use serde::Serialize;

/// The source that decided a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "source", rename_all = "lowercase")]
pub enum Origin {
    /// Nothing set it: the built-in default.
    Default,
    /// A line of the configuration file. Line and column count from 1, columns in characters.
    File {
        /// The file as it was named to the program.
        file: Arc<str>,
        /// The line, from 1.
        line: u32,
        /// The column, from 1.
        column: u32,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        name: Arc<str>,
    },
    /// A command-line flag.
    Flag {
        /// The flag as it was written, such as `--port`.
        name: Arc<str>,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line, .. } => write!(f, "{file}:{line}"),
            Self::Environment { name } => write!(f, "env {name}"),
            Self::Flag { name } => write!(f, "flag {name}"),
        }
    }
}
