use std::{
    fmt::{self, Write as _},
    str::FromStr,
};

use aws_lc_rs::digest::{SHA256, digest};
use mcp_ultra_protocol::json::{self, Object};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Levels of nesting that are read by meaning; what is deeper counts by its text.
const DEPTH: usize = 64;

/// The SHA-256 of a definition by its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// A text that is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is `sha256:` and 64 hexadecimal digits")]
pub struct NoFingerprint;

/// The fingerprint of the JSON text of a definition. All of it counts, unknown members too. The
/// order of keys, white space, and how strings and numbers are written do not.
///
/// A part that has no single meaning (a key that is there twice, an escape that is no character)
/// counts by its text.
pub fn fingerprint(definition: &str) -> Fingerprint {
    let mut canonical = String::with_capacity(definition.len());
    write_value(definition.trim(), DEPTH, &mut canonical);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, canonical.as_bytes()).as_ref());
    Fingerprint(bytes)
}

/// Writes a value so that two of one meaning have one text, and others never do.
fn write_value(value: &str, depth: usize, out: &mut String) {
    let written = depth > 0
        && match value.as_bytes().first() {
            Some(b'{') => write_object(value, depth, out),
            Some(b'[') => write_array(value, depth, out),
            Some(b'"') => match json::as_str(value) {
                Some(text) => {
                    out.push_str(&json::quote(&text));
                    true
                }
                None => false,
            },
            Some(b'-' | b'0'..=b'9') => write_number(value, out),
            _ => false,
        };
    if !written {
        // With its length, so that it can't be taken for something else. `true`, `false` and `null`
        // are written so too.
        // Writing into a string does not fail.
        let _ = write!(out, "!{}:{value}", value.len());
    }
}

fn write_object(value: &str, depth: usize, out: &mut String) -> bool {
    let Ok(object) = Object::parse(value) else {
        return false;
    };
    let mut members: Vec<_> = object.members().iter().collect();
    members.sort_by(|a, b| a.key.cmp(&b.key));
    out.push('{');
    for member in members {
        out.push_str(&json::quote(&member.key));
        out.push(':');
        write_value(member.value, depth - 1, out);
        out.push(',');
    }
    out.push('}');
    true
}

fn write_array(value: &str, depth: usize, out: &mut String) -> bool {
    let Some(elements) = json::elements(value) else {
        return false;
    };
    out.push('[');
    for element in elements {
        write_value(element, depth - 1, out);
        out.push(',');
    }
    out.push(']');
    true
}

/// Digits without zeros around them, and the power of ten that they are multiplied by: numbers of
/// any length, exactly.
fn write_number(value: &str, out: &mut String) -> bool {
    let (negative, rest) = match value.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let Ok(exponent) = exponent.parse::<i64>() else {
        return false;
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let digits = digits.trim_start_matches('0');
    let short = digits.trim_end_matches('0');
    if short.is_empty() {
        // Minus zero is zero.
        out.push('0');
        return true;
    }
    let length = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
    let zeros = length(digits) - length(short);
    let Some(power) = exponent
        .checked_sub(length(fraction))
        .and_then(|power| power.checked_add(zeros))
    else {
        return false;
    };
    if negative {
        out.push('-');
    }
    // Writing into a string does not fail.
    let _ = write!(out, "{short}e{power}");
    true
}

impl Fingerprint {
    /// Enough of it to tell two apart in a log.
    pub fn short(&self) -> String {
        self.to_string().chars().take(19).collect()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Fingerprint {
    type Err = NoFingerprint;

    fn from_str(text: &str) -> Result<Self, NoFingerprint> {
        let hex = text.strip_prefix("sha256:").ok_or(NoFingerprint)?;
        if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NoFingerprint);
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            let pair = hex.get(2 * index..2 * index + 2).ok_or(NoFingerprint)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| NoFingerprint)?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_same_meaning_has_the_same_fingerprint() {
        for (one, other) in [
            (
                r#"{"a":1,"b":[true,"x"]}"#,
                "{ \"b\" : [ true , \"\\u0078\" ], \"a\" : 1.0 }",
            ),
            ("[100, 0.5, -0]", "[1e2,5E-1,0.0]"),
            (r#"{"\u0061":"\/"}"#, r#"{"a":"/"}"#),
        ] {
            assert_eq!(fingerprint(one), fingerprint(other), "{one}");
        }
    }

    #[test]
    fn another_meaning_has_another_fingerprint() {
        let all = [
            "{}",
            "[]",
            "null",
            "true",
            "\"true\"",
            "0",
            "\"0\"",
            "1",
            "-1",
            "10",
            "0.1",
            "[1,2]",
            "[2,1]",
            "[[1],2]",
            "[1,[2]]",
            "[12]",
            "[\"1,2\"]",
            "{\"a\":{}}",
            "{\"a\":[]}",
            "{\"a\":null}",
            "9007199254740993",
            "9007199254740992",
            "1e400",
            "1e401",
            r#"{"a":1,"a":2}"#,
            r#"{"a":2,"a":1}"#,
            r#"{"a":2}"#,
            r#""\ud800""#,
            r#""\ud801""#,
        ];
        for (index, one) in all.iter().enumerate() {
            for other in &all[index + 1..] {
                assert_ne!(fingerprint(one), fingerprint(other), "{one} {other}");
            }
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(100), "]".repeat(100));
        assert_ne!(fingerprint(&deep("1")), fingerprint(&deep("2")));
    }

    #[test]
    fn it_is_read_as_it_is_written() {
        let one = fingerprint("{}");
        assert_eq!(one.to_string().parse(), Ok(one));
        for text in [
            "",
            "sha256:",
            "sha256:zz",
            &format!("{one}0"),
            &"é".repeat(36),
        ] {
            assert_eq!(text.parse::<Fingerprint>(), Err(NoFingerprint));
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,3}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// The text with keys in reverse order.
    fn reversed(value: &Value) -> String {
        match value {
            Value::Object(map) => {
                let mut parts: Vec<String> = map
                    .iter()
                    .map(|(key, value)| format!("{}: {}", json::quote(key), reversed(value)))
                    .collect();
                parts.reverse();
                format!("{{ {} }}", parts.join(" , "))
            }
            Value::Array(items) => {
                let parts: Vec<String> = items.iter().map(reversed).collect();
                format!("[{}]", parts.join(","))
            }
            other => other.to_string(),
        }
    }

    proptest! {
        #[test]
        fn order_of_keys_does_not_matter_and_meaning_does(one in value(), other in value()) {
            let text = one.to_string();
            prop_assert_eq!(fingerprint(&text), fingerprint(&reversed(&one)));
            prop_assert_eq!(one == other, fingerprint(&text) == fingerprint(&other.to_string()));
        }

        #[test]
        fn anything_has_a_fingerprint(text in any::<String>()) {
            prop_assert_eq!(fingerprint(&text), fingerprint(&text));
        }
    }
}
