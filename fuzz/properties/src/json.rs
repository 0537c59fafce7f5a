//! The reader of JSON text and `serde_json` agree on every text.

use std::fmt;

use mcp_ultra_protocol::json::{self, Object, ObjectError};
use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The property.
pub fn holds(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let too_deep = json::check_depth(text).is_err();
    object(text, too_deep);

    let elements: Option<Vec<&RawValue>> = serde_json::from_str(text).ok();
    let elements = elements.map(|all| all.into_iter().map(RawValue::get).collect::<Vec<_>>());
    if !too_deep {
        assert_eq!(json::elements(text), elements, "elements");
    }
    if let Ok(value) = serde_json::from_str::<&RawValue>(text) {
        let string: Option<String> = serde_json::from_str(value.get()).ok();
        assert_eq!(json::as_str(value.get()).as_deref(), string.as_deref());
    }
    assert_eq!(json::as_str(&json::quote(text)).as_deref(), Some(text));
}

fn object(text: &str, too_deep: bool) {
    let read = Object::parse(text);
    let reference: Result<Pairs<'_>, _> = serde_json::from_str(text);
    match (read, reference) {
        (Ok(object), Ok(Pairs(pairs))) => {
            let members: Vec<(&str, &str)> = object
                .members()
                .iter()
                .map(|member| (&*member.key, member.value))
                .collect();
            let expected: Vec<(&str, &str)> = pairs
                .iter()
                .map(|(key, value)| (key.as_str(), value.get()))
                .collect();
            assert_eq!(members, expected);
            assert!(!too_deep && !has_duplicate(&pairs));
            assert_eq!(
                object.edit().finish(),
                object.text(),
                "no change, no change"
            );
        }
        (Err(ObjectError::DuplicateKey(_)), Ok(Pairs(pairs))) => assert!(has_duplicate(&pairs)),
        (Err(ObjectError::TooDeep(_)), _) => assert!(too_deep),
        (Err(ObjectError::NotAnObject), Err(_)) => {
            assert!(serde_json::from_str::<&RawValue>(text).is_ok());
        }
        (Err(ObjectError::Syntax(reason)), Err(_)) => assert!(!reason.is_empty()),
        (read, reference) => {
            unreachable!("{read:?}, but serde_json: {:?}", reference.err())
        }
    }
}

fn has_duplicate(pairs: &[(String, &RawValue)]) -> bool {
    let mut keys: Vec<&str> = pairs.iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair[0] == pair[1])
}

/// The members of an object as `serde_json` reads them, duplicates and all.
pub(crate) struct Pairs<'a>(pub(crate) Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}
