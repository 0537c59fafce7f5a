use std::{sync::Arc, time::Duration};

use mcp_ultra_domain::{
    Principal,
    flags::{Depends, Feature, FlagContext, Flags, SwitchedOff, Switches},
    policy::{Policies, Resource, WithTime},
};

/// What a snapshot decides by: policies, and flags. Without any, everything is allowed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    policies: Option<Arc<Policies>>,
    flags: Option<Arc<Flags>>,
    /// Those among the flags; `None` where there are none.
    switches: Option<Arc<Switches>>,
}

impl Rules {
    pub(crate) fn new(policies: Option<Arc<Policies>>, flags: Option<Arc<Flags>>) -> Self {
        let switches = flags.as_deref().and_then(Switches::of).map(Arc::new);
        Self {
            policies,
            flags,
            switches,
        }
    }

    /// What callers may do; without it, everything that is not switched off.
    pub(crate) fn policies(&self) -> Option<&Arc<Policies>> {
        self.policies.as_ref()
    }

    pub(crate) fn flags(&self) -> Option<&Arc<Flags>> {
        self.flags.as_ref()
    }

    /// Whether callers may see different lists.
    pub(crate) fn governs(&self) -> bool {
        self.policies.is_some() || self.switches.is_some()
    }

    /// What tells these rules from others by which lists and calls are other ones.
    pub(crate) fn revision(&self) -> [Option<&Arc<str>>; 2] {
        let policies = self.policies.as_ref().map(|policies| policies.revision());
        let flags = self.flags.as_ref().filter(|_| self.switches.is_some());
        [policies, flags.map(|flags| flags.revision())]
    }

    /// When lists may be other ones with the time alone.
    pub(crate) fn with_time(&self) -> WithTime {
        let policies = self.policies.as_ref().map(|policies| policies.with_time());
        let switches = self
            .switches
            .as_ref()
            .map(|switches| with_time(switches.depends()));
        policies.max(switches).unwrap_or_default()
    }

    /// What they tell principals apart by: two with the same key are answered the same.
    pub(super) fn key(&self, principal: &Principal) -> String {
        let mut key = String::new();
        if let Some(policies) = &self.policies {
            key = policies.key(principal);
        }
        if let Some(switches) = &self.switches {
            key.push('|');
            key.push_str(&switches.depends().key(principal.attributes()));
        }
        key
    }

    /// When something may be switched on or off with the time alone; `None` where it has no switch.
    pub(super) fn switched(&self, resource: &Resource) -> Option<WithTime> {
        let switches = self.switches.as_ref()?;
        switches.of_resource(resource).map(with_time)
    }

    /// What switches something off for a principal; `None` where it is on.
    pub(super) fn off(
        &self,
        resource: &Resource,
        principal: &Principal,
        now: Duration,
    ) -> Option<SwitchedOff<'_>> {
        self.switches.as_ref()?.off(resource, principal, now)
    }

    /// Whether a part of the gateway is on for a principal.
    pub(crate) fn has(&self, feature: Feature, principal: &Principal, now: Duration) -> bool {
        self.flags.as_ref().is_none_or(|flags| {
            let context = FlagContext {
                principal,
                target: None,
                now,
                attributes: None,
            };
            feature.is_on(flags, &context)
        })
    }
}

fn with_time(depends: Depends) -> WithTime {
    if depends.time {
        WithTime::AnyMoment
    } else {
        WithTime::Never
    }
}
