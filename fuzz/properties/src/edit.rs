//! An edited object means what the same changes of a map mean, and what was not changed keeps its
//! bytes and its order.
//!
//! The input is the object, then pairs of a key and a value, all separated by
//! [`crate::SEPARATOR`]; a value that is no JSON removes the key.

use mcp_ultra_protocol::json::Object;
use serde_json::value::RawValue;

use crate::json::Pairs;

/// The property.
pub fn holds(data: &[u8]) {
    let mut parts = crate::parts(data);
    let Some(Ok(object)) = parts.next().map(Object::parse) else {
        return;
    };
    let mut model: Vec<(String, String)> = object
        .members()
        .iter()
        .map(|member| (member.key.to_string(), member.value.to_owned()))
        .collect();
    let before = model.clone();
    let mut edit = object.edit();
    let mut changed = Vec::new();
    while let Some(key) = parts.next() {
        let value = parts
            .next()
            .and_then(|text| serde_json::from_str::<&RawValue>(text).ok());
        changed.push(key);
        let at = model.iter().position(|(known, _)| known == key);
        match (value.map(RawValue::get), at) {
            (Some(value), Some(at)) => value.clone_into(&mut model[at].1),
            (Some(value), None) => model.push((key.to_owned(), value.to_owned())),
            (None, Some(at)) => drop(model.remove(at)),
            (None, None) => {}
        }
        edit = match value {
            Some(value) => edit.set(key, value.get()),
            None => edit.remove(key),
        };
    }
    let out = edit.finish();
    let read: Result<Pairs<'_>, _> = serde_json::from_str(&out);
    assert!(read.is_ok(), "{out}");
    let after: Vec<(String, String)> = read.map_or_else(
        |_| Vec::new(),
        |pairs| {
            let pairs = pairs.0.into_iter();
            pairs
                .map(|(key, value)| (key, value.get().to_owned()))
                .collect()
        },
    );
    let sorted = |mut pairs: Vec<(String, String)>| {
        pairs.sort();
        pairs
    };
    assert_eq!(sorted(after.clone()), sorted(model), "{out}");

    let untouched = |pairs: Vec<(String, String)>| -> Vec<(String, String)> {
        let kept = pairs.into_iter();
        kept.filter(|(key, _)| !changed.contains(&key.as_str()))
            .collect()
    };
    assert_eq!(untouched(after), untouched(before), "order of the rest");
}
