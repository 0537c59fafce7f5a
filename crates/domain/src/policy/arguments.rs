//! The arguments that policies speak of: their declared types, and values of these types out of
//! the text of a call.

use std::collections::BTreeMap;

use cedar_policy_core::ast::{Name, Value};
use mcp_ultra_protocol::json::{self, Object};
use serde_json::Value as Json;
use smol_str::SmolStr;

use super::value::{Functions, extension};

/// How deep types may be nested, those that name each other included.
const DEEPEST: usize = 16;

/// A type that an argument may be declared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Long,
    String,
    Decimal,
    Address,
    Datetime,
    Set(Box<Type>),
    Record(Members),
}

/// The members of a record, all of them optional: nobody knows what a client sends.
pub(super) type Members = BTreeMap<SmolStr, Type>;

/// Reads the type `Arguments` out of a schema in Cedar's JSON form.
///
/// # Errors
/// What can't be used, in words.
pub(super) fn declared(common: &Json) -> Result<Members, String> {
    let Some(arguments) = common.get("Arguments") else {
        return Ok(Members::new());
    };
    match read(common, arguments, "Arguments", DEEPEST)? {
        Type::Record(members) => Ok(members),
        _ => Err("the type Arguments must be a record".to_owned()),
    }
}

fn read(common: &Json, declared: &Json, at: &str, depth: usize) -> Result<Type, String> {
    if depth == 0 {
        return Err(format!("{at} is nested more than {DEEPEST} deep"));
    }
    let text = |key: &str| declared.get(key).and_then(Json::as_str).unwrap_or_default();
    let named = match text("type") {
        "Record" => {
            let attributes = declared.get("attributes").and_then(Json::as_object);
            let members = attributes.into_iter().flatten().map(|(name, member)| {
                let at = format!("{at}.{name}");
                if member.get("required").and_then(Json::as_bool) != Some(false) {
                    return Err(format!(
                        "{at} must be optional, since clients may leave any argument out: write \"{name}?\""
                    ));
                }
                Ok((name.into(), read(common, member, &at, depth - 1)?))
            });
            return Ok(Type::Record(members.collect::<Result<_, _>>()?));
        }
        "Set" => {
            let element = declared.get("element").unwrap_or(&Json::Null);
            let element = read(common, element, &format!("the elements of {at}"), depth - 1)?;
            return Ok(Type::Set(Box::new(element)));
        }
        "EntityOrCommon" | "Extension" => text("name"),
        other => other,
    };
    match named.trim_start_matches("__cedar::") {
        "Bool" | "Boolean" => Ok(Type::Bool),
        "Long" => Ok(Type::Long),
        "String" => Ok(Type::String),
        "decimal" => Ok(Type::Decimal),
        "ipaddr" => Ok(Type::Address),
        "datetime" => Ok(Type::Datetime),
        other => match common.get(other) {
            Some(declared) => read(common, declared, at, depth - 1),
            None => Err(format!(
                "{at} can't be of type \"{other}\": arguments are Bool, Long, String, decimal, ipaddr, datetime, and sets and records of these"
            )),
        },
    }
}

impl Type {
    /// The value of a JSON text; `None` where it is not one of this type. Nothing is converted: a
    /// server might read `"5"` as a number, and a policy must not have seen something else.
    pub(super) fn value(&self, text: &str, functions: &Functions) -> Option<Value> {
        match self {
            Self::Bool => text.parse::<bool>().ok().map(Value::from),
            Self::Long => text.parse::<i64>().ok().map(Value::from),
            Self::String => Some(json::as_str(text)?.as_ref().into()),
            Self::Decimal => decimal(text, functions),
            Self::Address => written(text, &functions.address),
            Self::Datetime => written(text, &functions.datetime),
            Self::Set(element) => {
                let elements = json::elements(text)?;
                let values = elements
                    .into_iter()
                    .map(|text| element.value(text, functions))
                    .collect::<Option<Vec<_>>>()?;
                Some(Value::set(values, None))
            }
            Self::Record(members) => {
                let object = Object::parse(text).ok()?;
                let mut values: Vec<(SmolStr, Value)> = Vec::new();
                for (name, member) in members {
                    if let Some(text) = object.get(name).filter(|text| *text != "null") {
                        values.push((name.clone(), member.value(text, functions)?));
                    }
                }
                Some(Value::record(values, None))
            }
        }
    }
}

/// A string that an extension type is written as.
fn written(text: &str, function: &Name) -> Option<Value> {
    extension(function, &json::as_str(text)?)
}

/// A JSON number of at most four decimal places, or a string that holds one.
fn decimal(text: &str, functions: &Functions) -> Option<Value> {
    let text = json::as_str(text).unwrap_or(text.into());
    if text.contains('.') {
        extension(&functions.decimal, &text)
    } else {
        extension(&functions.decimal, &format!("{text}.0"))
    }
}
