//! Who is calling: told for each request by itself (2026-07-28, Versioning, Backward
//! Compatibility).

use std::sync::Arc;

use mcp_ultra_protocol::{
    Era, Method, Request, Version, WireError, capabilities::ClientCapabilities, error, json,
    json::Object, meta, meta::RequestMeta,
};

use super::session::Session;

/// What a modern request says about its sender.
#[derive(Debug, Clone, Copy)]
pub(super) struct ModernCaller {
    /// What the client can answer.
    pub(super) capabilities: ClientCapabilities,
    /// The least rank of log messages that it wants; `None`: it wants none.
    pub(super) log_rank: Option<usize>,
}

/// Who a request comes from.
#[derive(Debug, Clone)]
pub(super) enum Caller {
    /// A client that says everything with each request.
    Modern(ModernCaller),
    /// A client that has said it with `initialize`.
    Legacy(Arc<Session>),
}

/// How a request opens.
#[derive(Debug)]
pub(super) enum Opening {
    /// With modern `_meta`, which is complete.
    Modern(ModernCaller),
    /// With the legacy handshake.
    Initialize,
    /// With neither: it belongs to a legacy session, if there is one.
    Legacy,
}

impl Caller {
    /// The era of the caller.
    pub(super) fn era(&self) -> Era {
        match self {
            Self::Modern(_) => Era::Modern,
            Self::Legacy(_) => Era::Legacy,
        }
    }

    /// The revision that the caller speaks.
    pub(super) fn version(&self) -> Version {
        match self {
            Self::Modern(_) => Version::LATEST,
            Self::Legacy(session) => session.version,
        }
    }
}

/// Tells how `request` opens.
///
/// # Errors
/// What a modern client gets that forgot a required field, speaks an unknown revision, or wants
/// a log level that there is not.
pub(super) fn opening(request: &Request) -> Result<Opening, WireError> {
    let unreadable =
        |error: json::ObjectError| WireError::invalid_request(format!("params._meta: {error}"));
    let params = request.params.as_deref();
    let read = RequestMeta::of_params(params).map_err(unreadable)?;
    if &*request.method == Method::Initialize.as_str() {
        let has_version = match params {
            Some(params) => Object::parse(params)
                .map_err(unreadable)?
                .get("protocolVersion")
                .is_some(),
            None => false,
        };
        if has_version || !read.is_modern {
            return Ok(Opening::Initialize);
        }
    }
    if read.is_modern {
        modern(&read).map(Opening::Modern)
    } else {
        Ok(Opening::Legacy)
    }
}

fn modern(read: &RequestMeta<'_>) -> Result<ModernCaller, WireError> {
    let version = read
        .protocol_version
        .as_deref()
        .ok_or_else(|| missing(meta::PROTOCOL_VERSION))?;
    if version != Version::LATEST.as_str() {
        return Err(unsupported(version));
    }
    let capabilities = read
        .client_capabilities
        .filter(|text| json::is_object(text))
        .ok_or_else(|| missing(meta::CLIENT_CAPABILITIES))?;
    let log_rank = match read.log_level.as_deref() {
        None => None,
        Some(level) => Some(meta::log_rank(level).ok_or_else(|| {
            WireError::invalid_params(format!(
                "_meta[\"{}\"] must be one of {}",
                meta::LOG_LEVEL,
                meta::LOG_LEVELS.join(", ")
            ))
        })?),
    };
    Ok(ModernCaller {
        capabilities: ClientCapabilities::parse(capabilities),
        log_rank,
    })
}

/// What a request gets that belongs to no session and is not modern either.
pub(super) fn missing_meta() -> WireError {
    missing(meta::PROTOCOL_VERSION)
}

fn missing(key: &str) -> WireError {
    WireError::invalid_params(format!(
        "the request has no _meta[\"{key}\"], and no session that was opened by initialize"
    ))
}

/// The revision `requested` is not spoken without a handshake: the only one that is, is named.
pub(super) fn unsupported(requested: &str) -> WireError {
    let shown: String = requested.chars().take(100).collect();
    WireError::new(error::UNSUPPORTED_VERSION, "Unsupported protocol version").with_data(format!(
        "{{\"supported\":[{}],\"requested\":{}}}",
        json::quote(Version::LATEST.as_str()),
        json::quote(&shown)
    ))
}

#[cfg(test)]
mod tests {
    use mcp_ultra_protocol::Id;

    use super::*;

    fn open(method: &str, params: &str) -> Result<Opening, WireError> {
        opening(&Request::new(Id::from(1), method, Some(params)))
    }

    #[test]
    fn each_request_tells_its_era() {
        let modern = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",
            "io.modelcontextprotocol/clientCapabilities":{"elicitation":{}}}}"#;
        let Ok(Opening::Modern(caller)) = open("tools/list", modern) else {
            panic!("not modern");
        };
        assert!(caller.capabilities.elicitation_form);
        assert_eq!(caller.log_rank, None);
        assert!(matches!(open("tools/list", "{}"), Ok(Opening::Legacy)));
        assert!(matches!(
            open("initialize", r#"{"protocolVersion":"2026-07-28"}"#),
            Ok(Opening::Initialize)
        ));
        assert!(matches!(open("initialize", modern), Ok(Opening::Modern(_))));
    }

    #[test]
    fn an_incomplete_meta_is_refused_with_the_code_of_its_fault() {
        for (meta, code) in [
            (
                r#"{"io.modelcontextprotocol/clientCapabilities":{}}"#,
                error::INVALID_PARAMS,
            ),
            (
                r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#,
                error::INVALID_PARAMS,
            ),
            (
                r#"{"io.modelcontextprotocol/protocolVersion":"2031-01-01",
                    "io.modelcontextprotocol/clientCapabilities":{}}"#,
                error::UNSUPPORTED_VERSION,
            ),
            (
                r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28",
                    "io.modelcontextprotocol/clientCapabilities":{},
                    "io.modelcontextprotocol/logLevel":"loud"}"#,
                error::INVALID_PARAMS,
            ),
        ] {
            let error = open("tools/list", &format!("{{\"_meta\":{meta}}}")).unwrap_err();
            assert_eq!(error.code, code, "{meta}");
        }
    }
}
