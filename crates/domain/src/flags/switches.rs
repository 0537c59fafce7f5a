use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{Depends, Flag, FlagContext, FlagType, FlagValue, Flags, Reason};
use crate::{
    Principal,
    policy::{Resource, Target},
};

const SERVER: &str = "server.";
const TOOL: &str = "tool.";
const ENABLED: &str = ".enabled";

/// The key of the flag that switches a server, by its name in the configuration.
pub fn server_switch(server: &str) -> String {
    format!("{SERVER}{server}{ENABLED}")
}

/// The key of the flag that switches a tool, by its public name.
pub fn tool_switch(tool: &str) -> String {
    format!("{TOOL}{tool}{ENABLED}")
}

/// What a key switches.
fn switched<'k>(key: &'k str, prefix: &str) -> Option<&'k str> {
    let name = key.strip_prefix(prefix)?.strip_suffix(ENABLED)?;
    (!name.is_empty()).then_some(name)
}

/// The kill switches among the flags: `server.NAME.enabled` and `tool.NAME.enabled`. What has no
/// switch is on.
#[derive(Debug)]
pub struct Switches {
    servers: HashMap<Box<str>, Arc<Flag>>,
    tools: HashMap<Box<str>, Arc<Flag>>,
    depends: Depends,
}

/// Why something is off.
#[derive(Debug, Clone, Copy)]
pub struct SwitchedOff<'s> {
    /// The flag that says so.
    pub flag: &'s Arc<Flag>,
    /// Whether it is off because the flag could not be evaluated: nobody knows then whether it may
    /// be on.
    pub failed: bool,
}

impl Switches {
    /// Those among some flags; `None` where there are none.
    pub fn of(flags: &Flags) -> Option<Self> {
        let named = |prefix: &str| -> HashMap<Box<str>, Arc<Flag>> {
            let flags = flags.iter();
            flags
                .filter_map(|flag| Some((switched(flag.key(), prefix)?.into(), flag.clone())))
                .collect()
        };
        let (servers, tools) = (named(SERVER), named(TOOL));
        let mut all = servers.values().chain(tools.values()).peekable();
        all.peek()?;
        let depends = all.fold(Depends::default(), |sum, flag| sum.and(flag.depends()));
        Some(Self {
            servers,
            tools,
            depends,
        })
    }

    /// What of a caller and the circumstances they depend on.
    pub fn depends(&self) -> Depends {
        self.depends
    }

    /// The names of the servers that have a switch.
    pub fn servers(&self) -> impl Iterator<Item = &str> {
        self.servers.keys().map(|name| &**name)
    }

    /// What the switches of something depend on; `None` where it has none.
    pub fn of_resource(&self, resource: &Resource) -> Option<Depends> {
        let depends = self.flags_of(resource).map(|flag| flag.depends());
        depends.reduce(Depends::and)
    }

    /// The switches of something: its server's, and its own where it is a tool.
    fn flags_of(&self, resource: &Resource) -> impl Iterator<Item = &Arc<Flag>> {
        let server = self.servers.get(&*resource.server);
        let tool = match resource.target {
            Target::Tool(_) => self.tools.get(&*resource.name),
            _ => None,
        };
        server.into_iter().chain(tool)
    }

    /// Which flag switches something off for a caller; `None` where it is on. A switch that is
    /// disabled switches nothing, and one that can't be evaluated is off.
    pub fn off(
        &self,
        resource: &Resource,
        principal: &Principal,
        now: Duration,
    ) -> Option<SwitchedOff<'_>> {
        let context = FlagContext {
            principal,
            target: Some(resource),
            now,
            attributes: None,
        };
        self.flags_of(resource).find_map(|flag| {
            let details = flag.evaluate(&context);
            let failed = details.reason == Reason::Error;
            let off = failed || matches!(details.value, Some(FlagValue::Boolean(false)));
            off.then_some(SwitchedOff { flag, failed })
        })
    }

    /// What is wrong with a flag whose key is that of a switch, in words.
    pub(super) fn fault(flag: &Flag) -> Option<String> {
        let key = flag.key();
        let is_switch = [SERVER, TOOL]
            .into_iter()
            .any(|prefix| switched(key, prefix).is_some());
        (is_switch && flag.flag_type() != FlagType::Boolean)
            .then(|| format!("\"{key}\" is a kill switch, so its variants must be true and false"))
    }
}
