//! Where the gateway keeps what must outlive it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::session::{SealingKey, check_keys};
use crate::validate::Findings;

/// Without it nothing is kept, and what needs a store can't be switched on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StorageSection {
    /// The file of an SQLite database, for a single gateway. It is made where there is none, with
    /// its folder, and only its owner can read it.
    pub sqlite: Option<String>,
    /// The keys that the tokens of grants are encrypted with before they are kept: the first one
    /// encrypts, all of them decrypt, so that keys can be rotated. Whoever loses them asks people
    /// to connect their servers again.
    pub keys: Vec<SealingKey>,
}

impl StorageSection {
    pub(super) fn check(&self, findings: &mut Findings) {
        if self.sqlite.as_ref().is_some_and(String::is_empty) {
            findings.report(
                "storage.sqlite",
                "the name of the file is empty",
                "name a file, such as /var/lib/mcp-ultra/state.db, or leave the key out",
            );
        }
        check_keys("storage.keys", &self.keys, findings);
    }
}
