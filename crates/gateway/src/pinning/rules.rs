use std::{collections::HashMap, sync::Arc};

use mcp_ultra_config::{Config, PinningMode};
use mcp_ultra_domain::pinning::{LockFile, Mode};

/// What is done about the tools of which server, and the lock file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct PinRules {
    general: Mode,
    own: HashMap<String, Mode>,
    lock: Option<Arc<LockFile>>,
}

impl PinRules {
    pub(crate) fn new(config: &Config, lock: Option<Arc<LockFile>>) -> Self {
        let own = config.servers.iter().filter(|one| one.pinning.is_some());
        Self {
            general: mode(config.pinning.mode),
            own: own
                .map(|server| (server.name.clone(), mode(config.pinning_mode(server))))
                .collect(),
            lock,
        }
    }

    /// What is done about the tools of a server.
    pub(crate) fn mode(&self, server: &str) -> Mode {
        self.own.get(server).copied().unwrap_or(self.general)
    }

    pub(crate) fn lock(&self) -> Option<&Arc<LockFile>> {
        self.lock.as_ref()
    }
}

fn mode(mode: PinningMode) -> Mode {
    match mode {
        PinningMode::Enforce => Mode::Enforce,
        PinningMode::Warn => Mode::Warn,
        PinningMode::Off => Mode::Off,
    }
}
