//! `_meta` of a request: what a modern client says about itself each time
//! (2026-07-28, Base Protocol, `_meta`).

use std::borrow::Cow;

use crate::json::{Object, ObjectError};

/// The revision of the request.
pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// The client's name and version.
pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// What the client can do.
pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// The least level of log messages that the client wants for this request.
pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// The `subscriptions/listen` request that a notification belongs to.
pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
/// The server's name and version, on results.
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// Opts a request into progress notifications.
pub const PROGRESS_TOKEN: &str = "progressToken";
/// The task that a legacy message belongs to (2025-11-25, Tasks).
pub const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";

/// The log levels, least first (RFC 5424, section 6.2.1; 2026-07-28, Logging).
pub const LOG_LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];

/// The rank of a log level; `None` for what is none.
pub fn log_rank(level: &str) -> Option<usize> {
    LOG_LEVELS.iter().position(|known| *known == level)
}

/// The parts of `_meta` that the gateway reads.
#[derive(Debug, Clone, Default)]
pub struct RequestMeta<'a> {
    /// The revision, where it is a string.
    pub protocol_version: Option<Cow<'a, str>>,
    /// The text of the client's capabilities.
    pub client_capabilities: Option<&'a str>,
    /// The text of the client's name and version.
    pub client_info: Option<&'a str>,
    /// The wanted log level.
    pub log_level: Option<Cow<'a, str>>,
    /// The text of the progress token, a string or an integer.
    pub progress_token: Option<&'a str>,
    /// Whether any key that only a modern client sends is present.
    pub is_modern: bool,
}

impl<'a> RequestMeta<'a> {
    /// Reads `_meta` from the text of `params`. Absent is empty.
    ///
    /// # Errors
    /// [`ObjectError`] where `params` or `_meta` is not an object, or has a key twice.
    pub fn of_params(params: Option<&'a str>) -> Result<Self, ObjectError> {
        let Some(params) = params else {
            return Ok(Self::default());
        };
        match Object::parse(params)?.get("_meta") {
            Some(meta) => Self::parse(meta),
            None => Ok(Self::default()),
        }
    }

    /// Reads the text of `_meta`.
    ///
    /// # Errors
    /// As [`Object::parse`].
    pub fn parse(meta: &'a str) -> Result<Self, ObjectError> {
        Ok(Self::of(&Object::parse(meta)?))
    }

    /// What stands in `_meta`.
    pub fn of(meta: &Object<'a>) -> Self {
        let mut read = Self::default();
        for member in meta.members() {
            let text = || crate::json::as_str(member.value);
            match &*member.key {
                PROTOCOL_VERSION => {
                    read.protocol_version = text();
                    read.is_modern = true;
                }
                CLIENT_CAPABILITIES => {
                    read.client_capabilities = Some(member.value);
                    read.is_modern = true;
                }
                CLIENT_INFO => {
                    read.client_info = Some(member.value);
                    read.is_modern = true;
                }
                LOG_LEVEL => {
                    read.log_level = text();
                    read.is_modern = true;
                }
                PROGRESS_TOKEN => read.progress_token = Some(member.value),
                _ => {}
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_modern_client_is_known_by_its_meta() {
        let params = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",
            "io.modelcontextprotocol/clientCapabilities":{"roots":{}},"progressToken":7,"x":1}}"#;
        let meta = RequestMeta::of_params(Some(params)).unwrap();
        assert!(meta.is_modern);
        assert_eq!(meta.protocol_version.unwrap(), "2026-07-28");
        assert_eq!(meta.client_capabilities.unwrap(), r#"{"roots":{}}"#);
        assert_eq!(meta.progress_token, Some("7"));
    }

    #[test]
    fn legacy_meta_is_not_modern() {
        let meta = RequestMeta::of_params(Some(r#"{"_meta":{"progressToken":"a"}}"#)).unwrap();
        assert!(!meta.is_modern);
        assert!(!RequestMeta::of_params(None).unwrap().is_modern);
    }

    #[test]
    fn a_meta_that_is_no_object_is_refused() {
        assert!(RequestMeta::of_params(Some(r#"{"_meta":[]}"#)).is_err());
        assert!(
            RequestMeta::of_params(Some(r#"{"_meta":{"progressToken":1,"progressToken":2}}"#))
                .is_err()
        );
    }
}
