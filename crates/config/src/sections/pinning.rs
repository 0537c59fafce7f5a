//! What is done about definitions of tools that nobody has agreed to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Config;
use crate::validate::Findings;

/// Definitions of tools are compared with those that were agreed to: by the lock file, where there
/// is one, else the first that was seen of each tool. Those are kept in `storage`; without it,
/// until the gateway stops.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PinningSection {
    /// What is done about a definition that nobody has agreed to.
    pub mode: PinningMode,
    /// The file of `mcp-ultra tools lock`: what is not in it was not agreed to. It is read again
    /// when it changes, and on SIGHUP.
    pub lock_file: Option<String>,
}

/// What is done about a definition of a tool that nobody has agreed to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PinningMode {
    /// It is reported and held back: neither listed nor callable until it is approved.
    Enforce,
    /// It is reported.
    #[default]
    Warn,
    /// Nothing: definitions are neither compared nor scanned.
    Off,
}

impl PinningSection {
    pub(super) fn check(config: &Config, findings: &mut Findings) {
        let section = &config.pinning;
        if section.lock_file.as_ref().is_some_and(String::is_empty) {
            findings.report(
                "pinning.lock_file",
                "the name of the file is empty",
                "name the file of `mcp-ultra tools lock`, or leave the key out",
            );
        }
        if section.lock_file.is_some() || config.storage.sqlite.is_some() {
            return;
        }
        let own = config
            .servers
            .iter()
            .enumerate()
            .filter_map(|(at, server)| {
                let enforced = server.pinning == Some(PinningMode::Enforce);
                enforced.then(|| format!("servers[{at}].pinning"))
            });
        let general = (section.mode == PinningMode::Enforce).then(|| "pinning.mode".to_owned());
        for path in general.into_iter().chain(own) {
            findings.report(
                path,
                "after a restart nobody would know what was agreed to, and whatever servers offer then would be taken for it",
                "set storage.sqlite to a file, such as /var/lib/mcp-ultra/state.db, or pinning.lock_file to that of `mcp-ultra tools lock`",
            );
        }
    }
}
