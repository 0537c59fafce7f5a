//! A header that the gateway makes from an argument is one that it accepts for it.
//!
//! The input is an input schema, the arguments and a header value, separated by
//! [`crate::SEPARATOR`].

use mcp_ultra_protocol::param_headers::{Mismatch, of_schema};

/// The property.
pub fn holds(data: &[u8]) {
    let mut parts = data.split(|byte| *byte == crate::SEPARATOR);
    let mut text = || std::str::from_utf8(parts.next().unwrap_or_default()).unwrap_or_default();
    let (schema, arguments) = (text(), text());
    let sent = parts.next().unwrap_or_default();
    let Ok(params) = of_schema(schema) else {
        return;
    };
    for (at, param) in params.iter().enumerate() {
        assert!(!param.path.is_empty());
        let name = param.header.strip_prefix("mcp-param-").unwrap_or_default();
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()));
        assert_eq!(name, name.to_ascii_lowercase());
        assert!(
            params[..at]
                .iter()
                .all(|other| other.header != param.header)
        );

        if let Some(value) = param.value(arguments) {
            assert!(value.bytes().all(|byte| matches!(byte, 0x20..=0x7e)));
            assert_eq!(
                param.verify(Some(value.as_bytes()), Some(arguments)),
                Ok(())
            );
            assert_eq!(
                param.verify(None, Some(arguments)),
                Err(Mismatch::Missing(param.header.clone()))
            );
        } else {
            assert_eq!(param.verify(None, Some(arguments)), Ok(()));
            assert!(param.verify(Some(sent), Some(arguments)).is_err());
        }
        assert!(param.verify(Some(sent), None).is_err());
        let _ = param.verify(Some(sent), Some(arguments));
    }
}
