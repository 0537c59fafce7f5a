//! The headers of a request, compared with its body.

use std::{borrow::Cow, sync::LazyLock};

use http::{HeaderMap, header};
use mcp_ultra_protocol::{
    Method, Request, Version, WireError, headers as names,
    json::Object,
    param_headers::{self, ParamHeader},
};

use crate::demo::tools::{self, TOOLS};

/// The mirrored arguments of each tool that has any.
static MIRRORED: LazyLock<Vec<(&'static str, Vec<ParamHeader>)>> = LazyLock::new(|| {
    TOOLS
        .iter()
        .filter_map(|tool| {
            let schema = tools::definition(tool).get("inputSchema")?.to_string();
            let params = param_headers::of_schema(&schema).ok()?;
            (!params.is_empty()).then_some((tool.name, params))
        })
        .collect()
});

/// Whether the request says that it is modern.
pub(super) fn is_modern(headers: &HeaderMap) -> bool {
    headers
        .get(names::PROTOCOL_VERSION)
        .is_some_and(|value| value == Version::LATEST.as_str())
}

/// The revision that the header names.
///
/// # Errors
/// The name of one that is not spoken here.
pub(super) fn version(headers: &HeaderMap) -> Result<Option<Version>, String> {
    match headers.get(names::PROTOCOL_VERSION) {
        None => Ok(None),
        Some(value) => {
            let name = String::from_utf8_lossy(value.as_bytes());
            match Version::parse(&name) {
                Some(version) => Ok(Some(version)),
                None => Err(name.into_owned()),
            }
        }
    }
}

/// Whether the body is announced as JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// Whether the client takes `kind`, such as `text/event-stream`.
pub(super) fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    let group = kind.split('/').next().unwrap_or_default();
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|part| part.split(';').next())
        .map(|part| part.trim().to_ascii_lowercase())
        .any(|part| part == kind || part == "*/*" || part == format!("{group}/*"))
}

/// Compares the headers of a modern request with its body (2026-07-28, Streamable HTTP, Server
/// Validation).
///
/// # Errors
/// `-32020`, with the name of the header and without its value.
pub(super) fn verify(headers: &HeaderMap, request: &Request) -> Result<(), WireError> {
    let version = one(headers, names::PROTOCOL_VERSION)?;
    same("MCP-Protocol-Version", version, Version::LATEST.as_str())?;
    let method = one(headers, names::METHOD)?;
    same("Mcp-Method", method, &request.method)?;
    let Some(key) = Method::parse(&request.method).and_then(Method::name_key) else {
        return Ok(());
    };
    let params = request
        .params
        .as_deref()
        .and_then(|params| Object::parse(params).ok());
    let Some(name) = params.as_ref().and_then(|params| params.get_str(key)) else {
        // The method itself says what is wrong with the body.
        return Ok(());
    };
    same("Mcp-Name", one(headers, names::NAME)?, &name)?;
    let arguments = params.as_ref().and_then(|params| params.get("arguments"));
    let mirrored = MIRRORED
        .iter()
        .filter(|(tool, _)| &*request.method == "tools/call" && *tool == name);
    for param in mirrored.flat_map(|(_, params)| params) {
        let sent = one(headers, &param.header)?;
        param.verify(sent, arguments).map_err(|mismatch| {
            WireError::header_mismatch(format!("Header mismatch: {mismatch}"))
        })?;
    }
    Ok(())
}

/// The value of a header that may stand once.
fn one<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h [u8]>, WireError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(http::HeaderValue::as_bytes);
    if values.next().is_some() {
        return Err(WireError::header_mismatch(format!(
            "Header mismatch: {name} stands more than once"
        )));
    }
    Ok(first)
}

fn same(name: &str, sent: Option<&[u8]>, body: &str) -> Result<(), WireError> {
    let sent = sent
        .ok_or_else(|| WireError::header_mismatch(format!("Header mismatch: {name} is missing")))?;
    let decoded: Result<Cow<'_, str>, _> = if name == "Mcp-Name" {
        names::decode(sent)
    } else {
        std::str::from_utf8(sent)
            .map(Cow::Borrowed)
            .map_err(|_| names::InvalidValue)
    };
    match decoded {
        Ok(sent) if sent == body => Ok(()),
        Ok(_) => Err(WireError::header_mismatch(format!(
            "Header mismatch: {name} does not match the body"
        ))),
        Err(error) => Err(WireError::header_mismatch(format!(
            "Header mismatch: {name}: {error}"
        ))),
    }
}
