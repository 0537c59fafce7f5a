use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{civil::Date, tz::TimeZone};
use serde_json::{Map, Value as Json};

use super::{
    Depends, Details, ErrorCode, FlagContext, FlagType, FlagValue, Reason,
    logic::{Evaluation, Expression, Value},
};

/// A flag, checked.
#[derive(Debug)]
pub struct Flag {
    pub(super) key: Arc<str>,
    pub(super) values: FlagType,
    pub(super) enabled: bool,
    /// In the order of the definition.
    pub(super) variants: Vec<(Box<str>, FlagValue)>,
    /// The position of the default among them.
    pub(super) default: usize,
    pub(super) targeting: Option<Expression>,
    pub(super) depends: Depends,
    pub(super) unknown: Vec<String>,
    pub(super) owner: String,
    pub(super) expires: Date,
    pub(super) metadata: Map<String, Json>,
    pub(super) file: Arc<str>,
    pub(super) line: usize,
}

impl Flag {
    /// What it is called.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The same, for keeping.
    pub fn shared_key(&self) -> &Arc<str> {
        &self.key
    }

    /// Of which type its values are.
    pub fn flag_type(&self) -> FlagType {
        self.values
    }

    /// Whether it is in use: its `state`.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Its variants, by name, in the order of the definition.
    pub fn variants(&self) -> impl Iterator<Item = (&str, &FlagValue)> {
        self.variants.iter().map(|(name, value)| (&**name, value))
    }

    /// The variant, with its value, of all for whom no rule says otherwise.
    pub fn default_variant(&self) -> (&str, &FlagValue) {
        let (name, value) = &self.variants[self.default];
        (name, value)
    }

    /// Whether it has rules, and so may be different for different callers.
    pub fn has_targeting(&self) -> bool {
        self.targeting.is_some()
    }

    /// What its answer depends on.
    pub fn depends(&self) -> Depends {
        self.depends
    }

    /// The attributes that its rules ask for and the gateway does not have: they are `null`.
    pub fn unknown_attributes(&self) -> &[String] {
        &self.unknown
    }

    /// Who answers for it.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The last day (UTC) on which it is needed. It is evaluated after that, too.
    pub fn expires(&self) -> Date {
        self.expires
    }

    /// Whether that day is over. `now` is the time since the Unix epoch.
    pub fn is_expired(&self, now: Duration) -> bool {
        let end = self.expires.tomorrow().ok();
        let end = end.and_then(|day| day.to_zoned_datetime(TimeZone::UTC).ok());
        let end = end.map(|end| end.timestamp().as_second());
        end.is_some_and(|end| i64::try_from(now.as_secs()).is_ok_and(|now| now >= end))
    }

    /// Its metadata and that of its file.
    pub fn metadata(&self) -> &Map<String, Json> {
        &self.metadata
    }

    /// Where it is defined: the file and the line.
    pub fn place(&self) -> (&str, usize) {
        (&self.file, self.line)
    }

    /// The answer for one context.
    pub fn evaluate<'a>(&'a self, context: &'a FlagContext<'a>) -> Details<'a> {
        if !self.enabled {
            return Details::DISABLED;
        }
        let default = &self.variants[self.default];
        let Some(targeting) = &self.targeting else {
            return Details::of(default, Reason::Static);
        };
        let evaluation = Evaluation::new(&self.key, context);
        let name = match evaluation.value(targeting, None) {
            Err(_) => return Details::error(ErrorCode::General),
            Ok(Value::Null) => return Details::of(default, Reason::Default),
            Ok(value) => value,
        };
        let reason = if evaluation.has_split() {
            Reason::Split
        } else {
            Reason::TargetingMatch
        };
        let named = name.variant();
        let found = named.and_then(|named| self.variants.iter().find(|(name, _)| **name == *named));
        match found {
            Some(variant) => Details::of(variant, reason),
            None => Details::error(ErrorCode::General),
        }
    }

    /// The value of a flag for those who have none of their own to fall back on: its default where
    /// it is disabled. `None` where it can't be evaluated.
    pub fn value<'a>(&'a self, context: &'a FlagContext<'a>) -> Option<&'a FlagValue> {
        let details = self.evaluate(context);
        match details.reason {
            Reason::Disabled => Some(self.default_variant().1),
            _ => details.value,
        }
    }
}

/// A set of flags that has been checked.
#[derive(Debug, Default)]
pub struct Flags {
    pub(super) flags: BTreeMap<Arc<str>, Arc<Flag>>,
    pub(super) revision: Arc<str>,
}

impl Flags {
    /// The flag of that key.
    pub fn get(&self, key: &str) -> Option<&Arc<Flag>> {
        self.flags.get(key)
    }

    /// All flags, by key.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Flag>> {
        self.flags.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.flags.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.flags.is_empty()
    }

    /// What tells this set from another: a hash of its text.
    pub fn revision(&self) -> &Arc<str> {
        &self.revision
    }

    /// The answer of the flag of that key, of whatever type it is.
    pub fn evaluate<'a>(&'a self, key: &str, context: &'a FlagContext<'a>) -> Details<'a> {
        match self.get(key) {
            Some(flag) => flag.evaluate(context),
            None => Details::error(ErrorCode::FlagNotFound),
        }
    }

    /// The answer of the flag of that key, where its values are of that type.
    pub fn evaluate_as<'a>(
        &'a self,
        key: &str,
        wanted: FlagType,
        context: &'a FlagContext<'a>,
    ) -> Details<'a> {
        match self.get(key) {
            Some(flag) if flag.flag_type() == wanted => flag.evaluate(context),
            Some(_) => Details::error(ErrorCode::TypeMismatch),
            None => Details::error(ErrorCode::FlagNotFound),
        }
    }
}
