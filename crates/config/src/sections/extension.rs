//! Extensions of the protocol that the gateway can pass through.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::validate::Findings;

/// An extension of the protocol. It passes only where client, server and configuration allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Extension {
    /// Calls that outlive their request (`tasks/…`).
    Tasks,
    /// User interfaces as resources (`_meta.ui`).
    Ui,
    /// Skills as resources.
    Skills,
}

impl Extension {
    /// All of them: the default.
    pub const ALL: [Self; 3] = [Self::Tasks, Self::Ui, Self::Skills];
}

pub(super) fn check(list: &[Extension], path: &str, findings: &mut Findings) {
    for (index, extension) in list.iter().enumerate() {
        if list[..index].contains(extension) {
            findings.report(
                format!("{path}[{index}]"),
                "this extension is listed twice",
                "remove one of the two",
            );
        }
    }
}
