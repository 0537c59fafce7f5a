//! What is written to the log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The log of `serve` goes to standard output; level changes apply without a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogSection {
    /// The least important messages that are written.
    pub level: LogLevel,
    /// How a message looks. Without it: text on a terminal, JSON elsewhere.
    pub format: Option<LogFormat>,
}

impl LogSection {
    /// The format in use, given whether the log goes to a terminal.
    pub fn format(&self, terminal: bool) -> LogFormat {
        self.format.unwrap_or(if terminal {
            LogFormat::Text
        } else {
            LogFormat::Json
        })
    }
}

/// How important a message must be to be written.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Nothing at all.
    Off,
    /// What failed and needs somebody.
    Error,
    /// What may need somebody.
    Warn,
    /// What an operator wants to know.
    #[default]
    Info,
    /// What helps to find a fault.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The word used in the configuration, which is also a filter of the `tracing` crates.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How a message looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line, for collectors.
    Json,
    /// One line for people.
    Text,
}
