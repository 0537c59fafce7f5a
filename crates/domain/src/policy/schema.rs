//! Our schema, and what the operator adds to it: the types of arguments, and flags.

use cedar_policy::{Schema, SchemaFragment};

use super::{Source, arguments, error::Problem, flags};
use crate::flags::Flags;

/// What policies may speak of: principals, actions, resources and circumstances, as a Cedar schema.
/// `Arguments` is missing in it, and declared by the operator; so is `Flags`, which is made of the
/// definitions of flags.
pub const SCHEMA: &str = include_str!("schema.cedarschema");

/// What stands for the types of an operator who declares none.
const NO_ARGUMENTS: &str = "type Arguments = {};";

/// The whole schema.
pub(super) struct Known {
    pub schema: Schema,
    pub arguments: arguments::Members,
}

/// Adds the operator's types to our schema.
pub(super) fn read(types: &[&Source], flags: Option<&Flags>) -> Result<Known, Vec<Problem>> {
    let ours = fragment("schema.cedarschema", SCHEMA)?;
    let flags = fragment("flags", &flags::declared(flags))?;
    let mut fragments = vec![ours, flags];
    let mut members = arguments::Members::new();
    let mut declared = false;
    for source in types {
        let fragment = fragment(&source.name, &source.text)?;
        let json = fragment
            .clone()
            .to_json_value()
            .map_err(|error| vec![Problem::of(&source.name, &source.text, &error)])?;
        let whole = |message: String| vec![Problem::whole(&source.name, message)];
        let is_empty = |part: &serde_json::Value, key: &str| {
            part.get(key)
                .and_then(serde_json::Value::as_object)
                .is_none_or(serde_json::Map::is_empty)
        };
        for (namespace, part) in json.as_object().into_iter().flatten() {
            let only_types = is_empty(part, "entityTypes") && is_empty(part, "actions");
            if !namespace.is_empty() || !only_types {
                return Err(whole(
                    "only types may be declared here, and outside of a namespace: entities and actions are given".to_owned(),
                ));
            }
            let common = part.get("commonTypes").unwrap_or(&serde_json::Value::Null);
            if common.get("Arguments").is_some() {
                declared = true;
                members = arguments::declared(common).map_err(whole)?;
            }
        }
        fragments.push(fragment);
    }
    if !declared {
        fragments.push(fragment("schema.cedarschema", NO_ARGUMENTS)?);
    }
    let schema = Schema::from_schema_fragments(fragments).map_err(|error| {
        let first = types.first();
        let (name, text) = first.map_or(("schema.cedarschema", SCHEMA), |source| {
            (&*source.name, &*source.text)
        });
        vec![Problem::of(name, text, &error)]
    })?;
    Ok(Known {
        schema,
        arguments: members,
    })
}

fn fragment(name: &str, text: &str) -> Result<SchemaFragment, Vec<Problem>> {
    SchemaFragment::from_cedarschema_str(text)
        .map(|(fragment, _)| fragment)
        .map_err(|error| vec![Problem::of(name, text, &error)])
}
