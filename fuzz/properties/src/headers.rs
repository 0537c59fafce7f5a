//! Every text survives being a header value, and no header value is read as two texts.

use mcp_ultra_protocol::headers::{decode, encode};

/// The property.
pub fn holds(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        survives(text);
    }
    if let Ok(text) = decode(data) {
        survives(&text);
    }
}

fn survives(text: &str) {
    let value = encode(text);
    assert!(value.bytes().all(|byte| matches!(byte, 0x20..=0x7e)));
    assert_eq!(value.trim(), value, "a recipient trims white space");
    assert_eq!(decode(value.as_bytes()).as_deref(), Ok(text));
}
