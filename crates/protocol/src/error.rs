//! The error codes of the specification, and the HTTP status that goes with each.

use std::borrow::Cow;

use crate::{Era, Version, json};

/// Not JSON (JSON-RPC 2.0).
pub const PARSE_ERROR: i64 = -32700;
/// Not a JSON-RPC message (JSON-RPC 2.0).
pub const INVALID_REQUEST: i64 = -32600;
/// No such method (JSON-RPC 2.0).
pub const METHOD_NOT_FOUND: i64 = -32601;
/// Bad parameters, an unknown tool, prompt, resource or cursor (JSON-RPC 2.0; 2026-07-28).
pub const INVALID_PARAMS: i64 = -32602;
/// The request failed for a reason that is not the caller's (JSON-RPC 2.0).
pub const INTERNAL_ERROR: i64 = -32603;
/// Resource not found, up to 2025-11-25; [`INVALID_PARAMS`] since.
pub const RESOURCE_NOT_FOUND: i64 = -32002;
/// URL elicitation required, 2025-11-25 only.
pub const URL_ELICITATION_REQUIRED: i64 = -32042;
/// A limit of the caller is reached. No revision has a code for it; this is one of those that
/// JSON-RPC 2.0 leaves to implementations, with the meaning that EIP-1474 gives it.
pub const LIMIT_EXCEEDED: i64 = -32005;
/// Headers and body disagree, or a required header is missing (2026-07-28).
pub const HEADER_MISMATCH: i64 = -32020;
/// The client did not declare a capability that the request needs (2026-07-28).
pub const MISSING_CLIENT_CAPABILITY: i64 = -32021;
/// The server does not speak the requested revision (2026-07-28).
pub const UNSUPPORTED_VERSION: i64 = -32022;

/// A JSON-RPC error object in the making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireError {
    /// The code.
    pub code: i64,
    /// What happened and what to do, for the one who reads it.
    pub message: Cow<'static, str>,
    /// The JSON text of `data`.
    pub data: Option<String>,
}

impl WireError {
    /// An error without data.
    pub fn new(code: i64, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            data: None,
        }
    }

    /// [`PARSE_ERROR`].
    pub fn parse(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(PARSE_ERROR, message)
    }

    /// [`INVALID_REQUEST`].
    pub fn invalid_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(INVALID_REQUEST, message)
    }

    /// [`METHOD_NOT_FOUND`].
    pub fn method_not_found(method: &str) -> Self {
        // The name comes from the caller: only its beginning is repeated.
        let shown: String = method.chars().take(100).collect();
        Self::new(METHOD_NOT_FOUND, format!("Method not found: {shown}"))
    }

    /// [`INVALID_PARAMS`].
    pub fn invalid_params(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(INVALID_PARAMS, message)
    }

    /// [`INTERNAL_ERROR`].
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(INTERNAL_ERROR, message)
    }

    /// [`HEADER_MISMATCH`].
    pub fn header_mismatch(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(HEADER_MISMATCH, message)
    }

    /// [`UNSUPPORTED_VERSION`], with the revisions that are spoken here.
    pub fn unsupported_version(requested: &str) -> Self {
        let supported: Vec<String> = Version::ALL
            .iter()
            .map(|version| json::quote(version.as_str()))
            .collect();
        let shown: String = requested.chars().take(100).collect();
        Self {
            code: UNSUPPORTED_VERSION,
            message: "Unsupported protocol version".into(),
            data: Some(format!(
                "{{\"supported\":[{}],\"requested\":{}}}",
                supported.join(","),
                json::quote(&shown)
            )),
        }
    }

    /// [`MISSING_CLIENT_CAPABILITY`]; `required` is the JSON text of a `ClientCapabilities`
    /// object that names what is missing, such as `{"elicitation":{"form":{}}}`.
    pub fn missing_capability(required: &str) -> Self {
        Self {
            code: MISSING_CLIENT_CAPABILITY,
            message: format!(
                "The request needs a client capability that was not declared: {required}"
            )
            .into(),
            data: Some(format!("{{\"requiredCapabilities\":{required}}}")),
        }
    }

    /// Resource not found, under the code of the caller's era.
    pub fn resource_not_found(uri: &str, era: Era) -> Self {
        let code = match era {
            Era::Modern => INVALID_PARAMS,
            Era::Legacy => RESOURCE_NOT_FOUND,
        };
        let shown: String = uri.chars().take(200).collect();
        Self {
            code,
            message: "Resource not found".into(),
            data: Some(format!("{{\"uri\":{}}}", json::quote(&shown))),
        }
    }

    /// The same error with the JSON text `data`.
    pub fn with_data(self, data: impl Into<String>) -> Self {
        Self {
            data: Some(data.into()),
            ..self
        }
    }

    /// The JSON text of the error object.
    pub fn to_json(&self) -> String {
        let data = self
            .data
            .as_ref()
            .map(|data| format!(",\"data\":{data}"))
            .unwrap_or_default();
        format!(
            "{{\"code\":{},\"message\":{}{data}}}",
            self.code,
            json::quote(&self.message)
        )
    }
}

/// The HTTP status of a response that carries the error `code`, once the request itself has been
/// accepted as a message of `era`.
///
/// Modern (2026-07-28, Base Protocol, Streamable HTTP): 404 for an unknown method, 400 for the
/// codes -32020 to -32022 and for what is not a message; every other error is an ordinary answer.
/// Legacy revisions answer an accepted request with 200 whatever comes out.
pub fn http_status(code: i64, era: Era) -> u16 {
    match (era, code) {
        (_, PARSE_ERROR | INVALID_REQUEST)
        | (Era::Modern, HEADER_MISMATCH | MISSING_CLIENT_CAPABILITY | UNSUPPORTED_VERSION) => 400,
        (Era::Modern, METHOD_NOT_FOUND) => 404,
        _ => 200,
    }
}

/// Whether `code` is one that only a modern peer sends: it tells an era by an error
/// (2026-07-28, Streamable HTTP, Backward Compatibility).
pub fn is_modern(code: i64) -> bool {
    matches!(
        code,
        HEADER_MISMATCH | MISSING_CLIENT_CAPABILITY | UNSUPPORTED_VERSION
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unsupported_version_error_names_what_is_spoken() {
        let error = WireError::unsupported_version("1900-01-01");
        let value: serde_json::Value = serde_json::from_str(&error.to_json()).unwrap();
        assert_eq!(value["code"], UNSUPPORTED_VERSION);
        assert_eq!(value["data"]["supported"][0], "2026-07-28");
        assert_eq!(value["data"]["requested"], "1900-01-01");
    }

    #[test]
    fn statuses_follow_the_era() {
        assert_eq!(http_status(METHOD_NOT_FOUND, Era::Modern), 404);
        assert_eq!(http_status(METHOD_NOT_FOUND, Era::Legacy), 200);
        assert_eq!(http_status(HEADER_MISMATCH, Era::Modern), 400);
        assert_eq!(http_status(INTERNAL_ERROR, Era::Modern), 200);
        assert_eq!(http_status(PARSE_ERROR, Era::Legacy), 400);
    }
}
