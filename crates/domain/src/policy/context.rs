//! What conditions ask of the circumstances of a request, and what of it can't be had.

use std::collections::BTreeMap;

use cedar_policy_core::ast::Value;
use mcp_ultra_protocol::json::Object;
use smol_str::SmolStr;

use super::{
    decide::Asked,
    flags,
    needs::{Needs, Wanted},
    value,
};
use crate::flags::{FlagContext, Flags};

impl Asked<'_> {
    /// What the conditions ask for, and what of it can't be had.
    pub(super) fn context(
        &self,
        needs: &Needs,
        view: &'static str,
    ) -> (BTreeMap<SmolStr, Value>, Missing) {
        let vocabulary = self.policies.vocabulary();
        let mut context = BTreeMap::new();
        let mut missing = Missing::default();
        if needs.view {
            context.insert(SmolStr::new_static("view"), vocabulary.view(view));
        }
        if needs.time {
            let zone = self.policies.zone();
            match value::time(vocabulary, zone, self.circumstances.now, needs.moment) {
                Some(time) => drop(context.insert(SmolStr::new_static("time"), time)),
                None => missing.time = true,
            }
        }
        if needs.network {
            let address = self.circumstances.address;
            match address.and_then(|address| value::network(vocabulary, address)) {
                Some(network) => drop(context.insert(SmolStr::new_static("network"), network)),
                None => missing.network = true,
            }
        }
        if let Some(wanted) = &needs.arguments {
            let arguments = self.arguments(wanted, &mut missing);
            context.insert(
                SmolStr::new_static("arguments"),
                Value::record(arguments, None),
            );
        }
        if let (Some(wanted), Some(flags)) = (&needs.flags, self.policies.flags()) {
            let flags = self.flags(flags, wanted, &mut missing);
            context.insert(SmolStr::new_static("flags"), Value::record(flags, None));
        }
        (context, missing)
    }

    /// The flags that the conditions name. What can't be evaluated is missing.
    fn flags(
        &self,
        flags: &Flags,
        wanted: &Wanted,
        missing: &mut Missing,
    ) -> Vec<(SmolStr, Value)> {
        let functions = &self.policies.vocabulary().functions;
        let context = FlagContext {
            principal: self.standing.principal(),
            target: Some(self.resource),
            now: self.circumstances.now,
            attributes: None,
        };
        let mut values = Vec::new();
        for flag in flags::wanted(flags, wanted) {
            match flags::value(flag, &context, functions) {
                Some(value) => values.push((flag.key().into(), value)),
                None => missing.flags.push(flag.key().into()),
            }
        }
        values
    }

    /// The arguments that the conditions name. What is not of its declared type is missing.
    fn arguments(&self, wanted: &Wanted, missing: &mut Missing) -> Vec<(SmolStr, Value)> {
        let declared = self.policies.arguments();
        let functions = &self.policies.vocabulary().functions;
        let Some(text) = self.circumstances.arguments else {
            return Vec::new();
        };
        let Ok(object) = Object::parse(text) else {
            missing.arguments.extend(declared.keys().cloned());
            return Vec::new();
        };
        let is_wanted = |name: &SmolStr| match wanted {
            Wanted::All => true,
            Wanted::Some(names) => names.contains(name),
        };
        let mut values = Vec::new();
        for (name, of) in declared.iter().filter(|(name, _)| is_wanted(name)) {
            let Some(text) = object.get(name).filter(|text| *text != "null") else {
                continue;
            };
            match of.value(text, functions) {
                Some(value) => values.push((name.clone(), value)),
                None => missing.arguments.push(name.clone()),
            }
        }
        values
    }
}

/// What conditions ask for and can't be had. They can't be evaluated then.
#[derive(Default)]
pub(super) struct Missing {
    time: bool,
    network: bool,
    arguments: Vec<SmolStr>,
    flags: Vec<SmolStr>,
}

impl Missing {
    fn argument(&self, needs: &Needs) -> Option<&SmolStr> {
        first(&self.arguments, needs.arguments.as_ref())
    }

    fn flag(&self, needs: &Needs) -> Option<&SmolStr> {
        first(&self.flags, needs.flags.as_ref())
    }

    pub(super) fn concerns(&self, needs: &Needs) -> bool {
        (self.time && needs.time)
            || (self.network && needs.network)
            || self.argument(needs).is_some()
            || self.flag(needs).is_some()
    }

    pub(super) fn reason(&self, needs: &Needs) -> String {
        if let Some(name) = self.argument(needs) {
            format!("the argument \"{name}\" is not of its declared type")
        } else if let Some(name) = self.flag(needs) {
            format!("the flag \"{name}\" can't be evaluated")
        } else if self.network && needs.network {
            "the address of the caller is not known".to_owned()
        } else {
            "the time is not known".to_owned()
        }
    }
}

/// The first of some names that is wanted.
fn first<'n>(names: &'n [SmolStr], wanted: Option<&Wanted>) -> Option<&'n SmolStr> {
    let wanted = wanted?;
    names.iter().find(|name| match wanted {
        Wanted::All => true,
        Wanted::Some(names) => names.contains(*name),
    })
}
