//! Where the gateway runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kind of place a gateway runs in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// A developer's machine or a test.
    #[default]
    Development,
    /// A rehearsal of production, with its defaults.
    Staging,
    /// Real callers.
    Production,
}

impl Environment {
    /// The word used in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Staging => "staging",
            Self::Production => "production",
        }
    }
}
