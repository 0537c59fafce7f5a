//! Feature flags.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::validate::Findings;

/// Feature flags, by which servers, tools and parts of the gateway are switched on and off while it
/// runs, for everybody or for some. Policies may read them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FlagsSection {
    /// Files of definitions in flagd's format (`.json`), and folders of such files. They are read
    /// again when they change, and on SIGHUP.
    pub files: Vec<String>,
}

impl FlagsSection {
    /// Whether there are flags.
    pub fn is_on(&self) -> bool {
        !self.files.is_empty()
    }

    pub(super) fn check(&self, findings: &mut Findings) {
        for (index, file) in self.files.iter().enumerate() {
            if file.trim().is_empty() {
                findings.report(
                    format!("flags.files[{index}]"),
                    "the name of the file is empty",
                    "name a .json file of flag definitions, or a folder of them",
                );
            }
        }
    }
}
