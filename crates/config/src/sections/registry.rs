//! Servers, policies and feature flags that are changed while the gateway runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Config, storage};
use crate::{period::Period, secret::SecretName, validate::Findings};

/// The registry: servers, policies and feature flags that operators change by the admin API while the
/// gateway runs, kept in `storage` and in force on all gateways that share it. What the file defines can't be
/// changed by it and wins by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RegistrySection {
    /// Whether there is one.
    pub enabled: bool,
    /// How often a gateway looks for changes that it was not told of (`messaging`).
    pub poll: Period,
    /// Whether servers of the registry may be programs (`command`): whoever may change servers by
    /// the admin API then runs what they like on the machine of every gateway.
    pub allow_stdio: bool,
    /// The names of secrets that servers of the registry may refer to as `${secret:NAME}`, since
    /// whoever names a server can have them sent there. A `*` at the end stands for any text.
    pub secrets: Vec<String>,
}

impl Default for RegistrySection {
    fn default() -> Self {
        Self {
            enabled: false,
            poll: Period::from_secs(2),
            allow_stdio: false,
            secrets: Vec::new(),
        }
    }
}

impl RegistrySection {
    /// Whether servers of the registry may refer to this secret.
    pub fn may_use(&self, secret: &SecretName) -> bool {
        let name = secret.to_string();
        self.secrets
            .iter()
            .any(|pattern| match pattern.strip_suffix('*') {
                Some(beginning) => name.starts_with(beginning),
                None => name == *pattern,
            })
    }

    pub(super) fn check(config: &Config, findings: &mut Findings) {
        let section = &config.registry;
        findings.not_zero("registry.poll", section.poll);
        if section.enabled && !config.storage.is_on() {
            findings.report(
                "registry.enabled",
                "the registry needs a place where it is kept",
                storage::NAME_ONE,
            );
        }
        for (index, pattern) in section.secrets.iter().enumerate() {
            let name = pattern.strip_suffix('*').unwrap_or(pattern);
            if pattern.is_empty() || name.contains('*') {
                findings.report(
                    format!("registry.secrets[{index}]"),
                    format!("`{pattern}` names no secrets"),
                    "write the name of a secret, such as crm-token, or its beginning and a `*`, such as servers/*",
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_secrets_that_are_named_may_be_used() {
        let section = RegistrySection {
            secrets: vec!["crm".into(), "servers/*".into()],
            ..RegistrySection::default()
        };
        for (name, fine) in [
            ("crm", true),
            ("crm#token", false),
            ("crm2", false),
            ("servers/a#b", true),
            ("servers", false),
            ("postgres", false),
        ] {
            let name = SecretName::parse(name).expect(name);
            assert_eq!(section.may_use(&name), fine, "{name}");
        }
    }
}
