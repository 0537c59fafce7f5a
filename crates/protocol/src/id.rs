use std::{
    fmt,
    hash::{Hash, Hasher},
};

use bytestring::ByteString;

use crate::json;

/// The longest request id that is accepted, in bytes of its JSON text.
const MAX_ID: usize = 1024;

/// A JSON-RPC request id: the JSON text of a string or an integer, of any size, as it came.
///
/// Two ids are equal when they mean the same: `"a"` and `"\u0061"` are, `1` and `"1"` are not.
#[derive(Debug, Clone)]
pub struct Id {
    raw: ByteString,
    /// The text without escapes, where `raw` has any.
    canonical: Option<ByteString>,
}

impl Id {
    /// Reads the id from its JSON text.
    ///
    /// `None` where the text is neither a string nor an integer, or over 1 KiB: MCP has no `null`
    /// and no fractional ids (2026-07-28, Base Protocol, Requests).
    pub fn from_raw(raw: ByteString) -> Option<Self> {
        if raw.len() > MAX_ID {
            return None;
        }
        if raw.starts_with('"') {
            if memchr::memchr(b'\\', raw.as_bytes()).is_none() {
                return Some(Self {
                    raw,
                    canonical: None,
                });
            }
            let text = json::as_str(&raw)?;
            let canonical = Some(json::quote(&text).into());
            return Some(Self { raw, canonical });
        }
        let digits = raw.strip_prefix('-').unwrap_or(&raw);
        let integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        integer.then_some(Self {
            raw,
            canonical: None,
        })
    }

    /// The same id in memory of its own. An id that was read is a slice of its message, and keeps
    /// the whole of it, and the buffer it was received in, for as long as it lives.
    #[must_use]
    pub fn detached(&self) -> Self {
        let copy = |text: &ByteString| ByteString::from(text.to_string());
        Self {
            raw: copy(&self.raw),
            canonical: self.canonical.as_ref().map(copy),
        }
    }

    /// The id as JSON text, spelled as it came.
    pub fn as_raw(&self) -> &str {
        &self.raw
    }

    /// The same id, kept as a slice of the message that now holds it.
    pub(crate) fn moved(self, raw: Option<ByteString>) -> Self {
        Self {
            raw: raw.unwrap_or(self.raw),
            canonical: self.canonical,
        }
    }

    /// The id as JSON text in one spelling: what equality compares.
    pub fn canonical(&self) -> &str {
        self.canonical.as_ref().unwrap_or(&self.raw)
    }
}

impl From<u64> for Id {
    fn from(number: u64) -> Self {
        Self {
            raw: number.to_string().into(),
            canonical: None,
        }
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.canonical() == other.canonical()
    }
}

impl Eq for Id {}

impl Hash for Id {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canonical().hash(state);
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(raw: &str) -> Option<Id> {
        Id::from_raw(raw.to_owned().into())
    }

    #[test]
    fn strings_and_integers_of_any_size_are_ids() {
        let long = "1".repeat(400);
        for raw in ["1", "-7", "\"a\"", "\"\"", &long] {
            assert_eq!(id(raw).unwrap().as_raw(), raw);
        }
    }

    #[test]
    fn anything_else_is_not() {
        let too_long = format!("\"{}\"", "x".repeat(MAX_ID));
        for raw in [
            "null",
            "1.5",
            "1e3",
            "true",
            "{}",
            "[]",
            "-",
            "\"\\ud800\"",
            &too_long,
        ] {
            assert!(id(raw).is_none(), "{raw}");
        }
    }

    #[test]
    fn equality_is_by_meaning() {
        assert_eq!(id(r#""a\/b""#), id(r#""a/b""#));
        assert_ne!(id("1"), id("\"1\""));
    }
}
