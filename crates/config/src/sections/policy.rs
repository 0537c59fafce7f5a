//! What callers may do: policies in Cedar.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::validate::Findings;

/// What callers may do. Without `files` everyone may do everything; with them, only what a policy
/// permits and none forbids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PolicySection {
    /// Files of policies (`.cedar`) and of the types of arguments (`.cedarschema`), and folders of
    /// such files. They are read again when they change, and on SIGHUP.
    pub files: Vec<String>,
    /// The time zone of `context.time`, a name of the IANA database such as `America/Sao_Paulo`.
    /// Without it: UTC.
    pub time_zone: Option<String>,
}

impl PolicySection {
    /// Whether there are policies, and so only what they permit is allowed.
    pub fn is_on(&self) -> bool {
        !self.files.is_empty()
    }

    pub(super) fn check(&self, findings: &mut Findings) {
        for (index, file) in self.files.iter().enumerate() {
            if file.trim().is_empty() {
                findings.report(
                    format!("policy.files[{index}]"),
                    "the name of the file is empty",
                    "name a .cedar file, or a folder of them",
                );
            }
        }
        if self.time_zone.is_some() && !self.is_on() {
            findings.report(
                "policy.time_zone",
                "there is no policy that it could be for",
                "name a file in policy.files, or remove it",
            );
        }
    }
}

/// What something may hold, from the least to the most protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DataClass {
    /// Anyone may know it.
    Public,
    /// For the organisation itself.
    #[default]
    Internal,
    /// For some in the organisation.
    Confidential,
    /// Data of a person.
    Personal,
    /// Data of a person that the law protects in particular, such as health.
    Sensitive,
}

/// Things of one server and what they may hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassifiedNames {
    /// The server's own names of tools and prompts, and URIs and URI templates of resources. `*`
    /// stands for any text.
    pub names: Vec<String>,
    /// What they may hold.
    pub class: DataClass,
}

/// Checks the classes of one server.
pub(super) fn check_classes(classes: &[ClassifiedNames], path: &str, findings: &mut Findings) {
    for (index, class) in classes.iter().enumerate() {
        if class.names.is_empty() || class.names.iter().any(String::is_empty) {
            findings.report(
                format!("{path}[{index}].names"),
                "it names nothing",
                "write names of tools, prompts or resources, such as [get_customer, \"*_person\"]",
            );
        }
    }
}
