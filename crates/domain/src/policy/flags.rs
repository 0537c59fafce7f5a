//! The flags that policies speak of: `context.flags`, with a type for each.

use std::fmt::Write;

use cedar_policy_core::ast::Value;
use smol_str::SmolStr;

use super::{
    needs::{Needs, Wanted},
    value::{Functions, extension},
};
use crate::flags::{Flag, FlagContext, FlagType, FlagValue, Flags, whole};

/// The type of a flag for Cedar; `None` for what it has no type for: objects, and numbers of more
/// than four decimal places.
fn cedar_type(flag: &Flag) -> Option<&'static str> {
    match flag.flag_type() {
        FlagType::Boolean => Some("Bool"),
        FlagType::Text => Some("String"),
        FlagType::Object => None,
        FlagType::Number => {
            let all = |fits: fn(f64) -> bool| {
                let mut variants = flag.variants();
                variants
                    .all(|(_, value)| matches!(value, FlagValue::Number(number) if fits(*number)))
            };
            if all(|number| whole(number).is_some()) {
                Some("Long")
            } else if all(|number| decimal(number).is_some()) {
                Some("decimal")
            } else {
                None
            }
        }
    }
}

/// A number as Cedar writes decimals; `None` where it has too many places.
fn decimal(number: f64) -> Option<String> {
    let text = format!("{number:.4}");
    let same = text.parse() == Ok(number);
    same.then_some(text)
}

/// The type `Flags` of the schema. A policy that speaks of another flag is refused when it is read.
pub(super) fn declared(flags: Option<&Flags>) -> String {
    let mut text = String::from("type Flags = {\n");
    for flag in flags.into_iter().flat_map(Flags::iter) {
        if let Some(of) = cedar_type(flag) {
            let _ = writeln!(text, "  \"{}\": {of},", flag.key().escape_debug());
        }
    }
    text.push_str("};\n");
    text
}

/// The flags that are spoken of.
pub(super) fn wanted<'f>(
    flags: &'f Flags,
    wanted: &Wanted,
) -> impl Iterator<Item = &'f Flag> + use<'f> {
    let named: Option<Vec<SmolStr>> = match wanted {
        Wanted::All => None,
        Wanted::Some(names) => Some(names.iter().cloned().collect()),
    };
    let all = named.is_none().then(|| flags.iter());
    let some = named.into_iter().flatten();
    let some = some.filter_map(|name| flags.get(&name));
    let found = all.into_iter().flatten().chain(some);
    found
        .map(|flag| &**flag)
        .filter(|flag| cedar_type(flag).is_some())
}

/// The value of a flag; `None` where it can't be evaluated. A disabled one has its default.
pub(super) fn value(
    flag: &Flag,
    context: &FlagContext<'_>,
    functions: &Functions,
) -> Option<Value> {
    Some(match flag.value(context)? {
        FlagValue::Boolean(value) => (*value).into(),
        FlagValue::Text(text) => (**text).into(),
        FlagValue::Number(number) if cedar_type(flag) == Some("Long") => whole(*number)?.into(),
        FlagValue::Number(number) => extension(&functions.decimal, &decimal(*number)?)?,
        FlagValue::Object(_) => return None,
    })
}

impl Needs {
    /// The same, with what the flags depend on that are spoken of.
    pub(super) fn with_flags(mut self, flags: Option<&Flags>) -> Self {
        let (Some(spoken), Some(flags)) = (&self.flags, flags) else {
            return self;
        };
        for flag in wanted(flags, spoken) {
            let depends = flag.depends();
            self.timed_flags |= depends.time;
            self.resource |= depends.name;
            self.principal.identity |= depends.identity;
            self.principal.roles |= depends.roles;
            self.principal.scopes |= depends.scopes;
        }
        self
    }
}
