use std::{borrow::Cow, time::Duration};

use serde_json::{Map, Value as Json};

use super::logic::Value;
use crate::{
    Principal,
    policy::{Resource, Target, principal_id},
};

/// What a flag is evaluated for (`OpenFeature`, "evaluation context").
#[derive(Debug, Clone, Copy)]
pub struct FlagContext<'a> {
    /// Who calls.
    pub principal: &'a Principal,
    /// What is called; `None` where it is about the caller alone.
    pub target: Option<&'a Resource>,
    /// The time since the Unix epoch.
    pub now: Duration,
    /// More attributes, by name. They never take the place of those that the gateway knows.
    pub attributes: Option<&'a Map<String, Json>>,
}

/// Makes [`Attribute`] and [`ATTRIBUTES`] out of one list.
macro_rules! attributes {
    ($($name:ident = $spelling:literal $(| $other:literal)? => $doc:literal,)+) => {
        /// The attributes that rules may ask for (`{"var": "tenant"}`), and what they are.
        pub const ATTRIBUTES: [(&str, &str); [$($spelling),+].len()] = [$(($spelling, $doc)),+];

        /// What a rule asks for.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(super) enum Attribute {
            $(#[doc = $doc] $name,)+
            /// One that nobody but `flags eval` has, by the names that lead to it.
            Other(Box<[Box<str>]>),
        }

        impl Attribute {
            /// The attribute of that path; parts of a path are separated by dots.
            pub(super) fn named(path: &str) -> Self {
                match path {
                    $($spelling $(| $other)? => Self::$name,)+
                    _ => Self::Other(path.split('.').map(Into::into).collect()),
                }
            }
        }
    };
}

attributes! {
    TargetingKey = "targetingKey" | "principal" => "who calls, as policies name it: issuer, `|` and subject; nothing for an anonymous caller (also: principal)",
    Tenant = "tenant" => "the tenant of the caller",
    Subject = "subject" => "who the caller is for its issuer",
    Issuer = "issuer" => "who vouches for the caller",
    Kind = "kind" => "user, agent, workload or anonymous",
    Roles = "roles" => "the roles of the caller, an array",
    Scopes = "scopes" => "the scopes of the caller, an array",
    Tool = "tool" => "the public name of the tool that is called",
    Prompt = "prompt" => "the public name of the prompt that is called",
    Resource = "resource" => "the public URI or URI template of the resource that is called",
    Server = "server" => "the server of what is called",
    FlagKey = "$flagd.flagKey" => "the key of the flag",
    Timestamp = "$flagd.timestamp" => "the time, in seconds since 1970",
}

impl<'a> FlagContext<'a> {
    pub(super) fn value(&self, attribute: &Attribute, key: &'a str) -> Value<'a> {
        let caller = self.principal.attributes();
        let some = |text: &'a str| {
            if text.is_empty() {
                Value::Null
            } else {
                Value::Text(Cow::Borrowed(text))
            }
        };
        let named = |which: fn(&Target) -> bool| match self.target {
            Some(target) if which(&target.target) => some(&target.name),
            _ => Value::Null,
        };
        match attribute {
            Attribute::TargetingKey => match self.targeting_key() {
                Some(key) => Value::Text(Cow::Owned(key)),
                None => Value::Null,
            },
            Attribute::Tenant => some(&caller.tenant),
            Attribute::Subject => some(&caller.subject),
            Attribute::Issuer => some(&caller.issuer),
            Attribute::Kind => some(caller.kind.as_str()),
            Attribute::Roles => Value::Words(&caller.roles),
            Attribute::Scopes => Value::Words(&caller.scopes),
            Attribute::Tool => named(|target| matches!(target, Target::Tool(_))),
            Attribute::Prompt => named(|target| matches!(target, Target::Prompt)),
            Attribute::Resource => {
                named(|target| matches!(target, Target::Resource { .. } | Target::Template))
            }
            Attribute::Server => self
                .target
                .map_or(Value::Null, |target| some(&target.server)),
            Attribute::FlagKey => some(key),
            #[expect(
                clippy::cast_precision_loss,
                reason = "seconds are exact for hundreds of millions of years"
            )]
            Attribute::Timestamp => Value::Number(self.now.as_secs() as f64),
            Attribute::Other(path) => self.other(path),
        }
    }

    /// What shares are assigned by; `None` where nobody knows who calls.
    pub(super) fn targeting_key(&self) -> Option<String> {
        (!self.principal.is_anonymous()).then(|| principal_id(self.principal.attributes()))
    }

    fn other(&self, path: &[Box<str>]) -> Value<'a> {
        let Some((first, rest)) = path.split_first() else {
            return Value::Null;
        };
        let found = self.attributes.and_then(|all| all.get(&**first));
        found.map_or(Value::Null, |found| Value::of(found).member(rest))
    }
}
