//! The headers that mirror the body, and the base64 form of their values
//! (2026-07-28, Streamable HTTP, Request Metadata).

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};

/// Revision of the request.
pub const PROTOCOL_VERSION: &str = "mcp-protocol-version";
/// Mirrors `method`.
pub const METHOD: &str = "mcp-method";
/// Mirrors `params.name`, `params.uri` or `params.taskId`.
pub const NAME: &str = "mcp-name";
/// Prefix of the headers that mirror arguments of a tool.
pub const PARAM_PREFIX: &str = "mcp-param-";
/// Session of the legacy revisions.
pub const SESSION_ID: &str = "mcp-session-id";

const BASE64_PREFIX: &str = "=?base64?";
const BASE64_SUFFIX: &str = "?=";

/// A header value that can't be what the sender meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the value is neither plain ASCII nor a valid base64 form")]
pub struct InvalidValue;

/// The header value for `text`: as it is where that is safe, in base64 form where it holds other
/// than printable ASCII (a tab may stand in a header, but not all peers agree), leading or trailing white space, or looks like the base64 form itself.
pub fn encode(text: &str) -> Cow<'_, str> {
    let plain = text.bytes().all(|byte| matches!(byte, 0x20..=0x7e))
        && text.trim_matches(' ').len() == text.len()
        && !is_base64_form(text);
    if plain {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!(
            "{BASE64_PREFIX}{}{BASE64_SUFFIX}",
            STANDARD.encode(text)
        ))
    }
}

/// The text that a header value stands for.
///
/// # Errors
/// [`InvalidValue`] for other than visible ASCII, space and tab (RFC 9110, section 5.5), and for
/// a base64 form that does not decode to UTF-8.
pub fn decode(value: &[u8]) -> Result<Cow<'_, str>, InvalidValue> {
    let text = std::str::from_utf8(value).map_err(|_| InvalidValue)?;
    if !text.bytes().all(|byte| matches!(byte, 0x20..=0x7e | b'\t')) {
        return Err(InvalidValue);
    }
    if !is_base64_form(text) {
        return Ok(Cow::Borrowed(text));
    }
    let inner = &text[BASE64_PREFIX.len()..text.len() - BASE64_SUFFIX.len()];
    let bytes = STANDARD.decode(inner).map_err(|_| InvalidValue)?;
    String::from_utf8(bytes)
        .map(Cow::Owned)
        .map_err(|_| InvalidValue)
}

fn is_base64_form(text: &str) -> bool {
    text.len() >= BASE64_PREFIX.len() + BASE64_SUFFIX.len()
        && text.starts_with(BASE64_PREFIX)
        && text.ends_with(BASE64_SUFFIX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_examples_of_the_specification() {
        for (text, value) in [
            ("us-west1", "us-west1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ] {
            assert_eq!(encode(text), value);
            assert_eq!(decode(value.as_bytes()).unwrap(), text);
        }
    }

    #[test]
    fn what_can_not_be_meant_is_refused() {
        for value in [
            &b"=?base64?###?="[..],
            b"=?base64?/w==?=",
            b"caf\xc3\xa9",
            b"a\x01b",
            b"\xff",
        ] {
            assert_eq!(decode(value), Err(InvalidValue));
        }
        assert_eq!(
            decode(b"=?base64?=").unwrap(),
            "=?base64?=",
            "too short to be the form"
        );
    }

    proptest! {
        #[test]
        fn every_text_survives(text in "\\PC{0,40}|[ \t\r\n=?a-z]{0,20}") {
            let value = encode(&text).into_owned();
            prop_assert!(value.bytes().all(|byte| matches!(byte, 0x20..=0x7e | b'\t')));
            prop_assert_eq!(decode(value.as_bytes()).unwrap(), text);
        }

        #[test]
        fn no_value_panics(value: Vec<u8>) {
            let _ = decode(&value);
        }
    }
}
