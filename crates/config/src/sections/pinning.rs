//! What is done about definitions of tools that nobody has agreed to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Config;
use crate::{period::Period, validate::Findings};

/// Definitions of tools are compared with those that were agreed to: by the lock file, where there
/// is one, else the first that was seen of each tool. Those are kept in `storage`; without it,
/// until the gateway stops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PinningSection {
    /// What is done about a definition that nobody has agreed to.
    pub mode: PinningMode,
    /// The file of `mcp-ultra tools lock`: what is not in it was not agreed to. It is read again
    /// when it changes, and on SIGHUP.
    pub lock_file: Option<String>,
    /// For how long a tool is remembered that its server offers no more, 1d to 366d: what comes back
    /// later is seen for the first time. What waits for approval is remembered, and so is everything
    /// while there is a lock file.
    pub forget_after: Period,
}

/// The least `forget_after`: a server must not get a first sight by taking a tool away for a moment.
const LEAST_MEMORY: Period = Period::from_secs(24 * 60 * 60);

impl Default for PinningSection {
    fn default() -> Self {
        Self {
            mode: PinningMode::default(),
            lock_file: None,
            forget_after: Period::from_secs(90 * 24 * 60 * 60),
        }
    }
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
        if section.forget_after < LEAST_MEMORY {
            findings.report(
                "pinning.forget_after",
                format!(
                    "{} is shorter than 1d: a server that takes a tool away for a while could bring back another one as if it were new",
                    section.forget_after
                ),
                "use at least 1d; 90d is usual",
            );
        }
        if section.lock_file.is_some() || config.storage.is_on() {
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
                "set storage.sqlite to a file, such as /var/lib/mcp-ultra/state.db, or storage.postgres to a server, or pinning.lock_file to that of `mcp-ultra tools lock`",
            );
        }
    }
}
