//! Envelope, era, and headers against body.

use std::{borrow::Cow, sync::Arc};

use bytestring::ByteString;
use http::{HeaderMap, StatusCode};
use mcp_ultra_protocol::{
    Era, Method, Request, Version, WireError, headers,
    json::{self, Object},
    meta::{RequestMeta, log_rank},
};

use crate::{
    Gateway,
    call::{Call, CallHeaders, Caller},
    http::{Arrival, Identified},
    pipeline::Refusal,
    session,
};

/// Which era a request opens in (2026-07-28, Versioning, Backward Compatibility).
#[derive(Debug, PartialEq, Eq)]
enum Opening {
    Modern,
    /// `initialize`: opens a session.
    Initialize,
    /// Everything else of a legacy client: in a session.
    InSession,
}

/// Reads a request into a [`Call`].
pub(crate) async fn call(gateway: &Arc<Gateway>, arrival: Arrival) -> Result<Box<Call>, Refusal> {
    let Arrival {
        mut request,
        headers,
        identified,
        peer,
    } = arrival;
    let (text, params_text) = (request.text.clone(), request.params.clone());
    let outline = std::mem::take(&mut request.outline);
    let unreadable = |what: &str, error: &json::ObjectError| {
        bad(WireError::invalid_request(format!("{what}: {error}")))
    };
    let params = params_text
        .as_deref()
        .map(|params| outline.params(&text, params))
        .transpose()
        .map_err(|error| unreadable("params", &error))?;
    let meta = params
        .as_ref()
        .and_then(|params| params.get("_meta"))
        .map(|meta| outline.meta(&text, meta))
        .transpose()
        .map_err(|error| unreadable("params._meta", &error))?;
    let meta = meta.as_ref().map(RequestMeta::of).unwrap_or_default();
    let version = version_header(&headers)?;
    let mut call = match opening(&request.method, params.as_ref(), &meta, version.as_deref()) {
        Opening::Modern => modern(
            request,
            params.as_ref(),
            &meta,
            version.as_deref(),
            &headers,
            identified,
        )?,
        Opening::Initialize => initialize(request, params.as_ref(), identified)?,
        Opening::InSession => {
            verify_mirrors(&request, params.as_ref(), &headers, false)?;
            // Boxed: a modern call, which is the rule, need not carry the room for it.
            Box::pin(in_session(gateway, request, &meta, &headers, identified)).await?
        }
    };
    call.peer = peer;
    if let Some(params) = &params {
        note_params(&mut call, params);
    }
    call.request.outline = outline;
    Ok(call)
}

/// Notes what later stages need of `params`, so that they need not read it again.
fn note_params(call: &mut Call, params: &Object<'_>) {
    let part = |text: &str| call.request.text.slice_ref(text);
    let key = match call.method {
        Method::ResourcesSubscribe | Method::ResourcesUnsubscribe => Some("uri"),
        method => method.name_key(),
    };
    let name = key.and_then(|key| params.get_str(key));
    call.name = name.map(|name| match name {
        Cow::Borrowed(name) => part(name),
        Cow::Owned(name) => name.into(),
    });
    call.arguments = params.get("arguments").map(part);
    call.continues = params.get("requestState").is_some() || params.get("inputResponses").is_some();
}

fn bad(error: WireError) -> Refusal {
    Refusal::with_status(error, StatusCode::BAD_REQUEST.as_u16())
}

fn opening(
    method: &str,
    params: Option<&Object<'_>>,
    meta: &RequestMeta<'_>,
    version: Option<&str>,
) -> Opening {
    let names_legacy = version.is_some_and(|name| {
        Version::parse(name).is_some_and(|version| version.era() == Era::Legacy)
    });
    let modern = meta.is_modern || (version.is_some() && !names_legacy);
    if method == Method::Initialize.as_str() {
        let asks = params.is_some_and(|params| params.get_str("protocolVersion").is_some());
        return if asks || !modern {
            Opening::Initialize
        } else {
            Opening::Modern
        };
    }
    if modern {
        Opening::Modern
    } else {
        Opening::InSession
    }
}

/// `MCP-Protocol-Version`, where present.
fn version_header(headers: &HeaderMap) -> Result<Option<Cow<'_, str>>, Refusal> {
    let mut values = headers.get_all(headers::PROTOCOL_VERSION).iter();
    let (first, second) = (values.next(), values.next());
    match (first, second) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(text) => Ok(Some(Cow::Borrowed(text.trim()))),
            Err(_) => Err(bad(mismatch("MCP-Protocol-Version is not plain ASCII"))),
        },
        (Some(_), Some(_)) => Err(bad(mismatch("MCP-Protocol-Version stands more than once"))),
    }
}

fn mismatch(what: &str) -> WireError {
    WireError::header_mismatch(format!("Header mismatch: {what}"))
}

fn modern(
    request: Request,
    params: Option<&Object<'_>>,
    meta: &RequestMeta<'_>,
    header: Option<&str>,
    headers: &HeaderMap,
    Identified { principal, token }: Identified,
) -> Result<Box<Call>, Refusal> {
    let version = modern_version(meta, header)?;
    let capabilities = meta
        .client_capabilities
        .filter(|text| json::is_object(text))
        .ok_or_else(|| missing_meta("io.modelcontextprotocol/clientCapabilities"))?;
    verify_mirrors(&request, params, headers, true)?;
    if let Some(level) = &meta.log_level
        && log_rank(level).is_none()
    {
        return Err(bad(WireError::invalid_params(
            "_meta: io.modelcontextprotocol/logLevel is not a log level",
        )));
    }
    let method = Method::parse(&request.method)
        .filter(|method| !is_legacy_only(*method))
        .ok_or_else(|| unknown_method(&request.method, Era::Modern))?;
    let part = |text: &str| request.text.slice_ref(text);
    let caller = Caller {
        principal,
        token,
        version,
        capabilities: part(capabilities),
        client_info: meta.client_info.map(part),
        session: None,
    };
    Ok(Box::new(Call {
        progress_token: progress_token(meta, &request)?,
        log_level: meta.log_level.as_deref().map(str::to_owned),
        headers: CallHeaders::of(headers),
        ..Call::new(caller, request, method)
    }))
}

fn modern_version(meta: &RequestMeta<'_>, header: Option<&str>) -> Result<Version, Refusal> {
    let body = match (meta.protocol_version.as_deref(), header) {
        (Some(body), Some(header)) if body == header => body,
        (Some(body), Some(header)) => {
            let shown = |text: &str| text.chars().take(40).collect::<String>();
            return Err(bad(mismatch(&format!(
                "MCP-Protocol-Version is '{}', the body says '{}'",
                shown(header),
                shown(body)
            ))));
        }
        (Some(_), None) => {
            return Err(bad(mismatch(
                "MCP-Protocol-Version is missing; every request needs it",
            )));
        }
        (None, Some(header)) if Version::parse(header).is_none() => {
            return Err(bad(WireError::unsupported_version(header)));
        }
        (None, _) => return Err(missing_meta("io.modelcontextprotocol/protocolVersion")),
    };
    match Version::parse(body) {
        Some(version) if version.era() == Era::Modern => Ok(version),
        // The header would have selected the legacy era if the body had not said otherwise.
        Some(_) => Err(bad(WireError::invalid_params(format!(
            "revision {body} has no per-request _meta; open a session with initialize, or use {}",
            Version::LATEST
        )))),
        None => Err(bad(WireError::unsupported_version(body))),
    }
}

fn missing_meta(key: &str) -> Refusal {
    bad(WireError::invalid_params(format!(
        "Invalid params: _meta needs \"{key}\""
    )))
}

/// `Mcp-Method` and `Mcp-Name` against the body. A legacy request need not have them; one that has
/// must not be read differently by something on its way that trusts them.
fn verify_mirrors(
    request: &Request,
    params: Option<&Object<'_>>,
    headers: &HeaderMap,
    required: bool,
) -> Result<(), Refusal> {
    verify_mirror(headers, headers::METHOD, Some(&request.method), required)?;
    let key = Method::parse(&request.method).and_then(Method::name_key);
    let Some(key) = key else { return Ok(()) };
    let name = params.and_then(|params| params.get_str(key));
    verify_mirror(headers, headers::NAME, name.as_deref(), required)
}

fn verify_mirror(
    headers: &HeaderMap,
    header: &'static str,
    body: Option<&str>,
    required: bool,
) -> Result<(), Refusal> {
    let mut values = headers.get_all(header).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(bad(mismatch(&format!("{header} stands more than once"))));
    }
    match (first, body) {
        (None, Some(_)) if required => Err(bad(mismatch(&format!("{header} is missing")))),
        (None, _) => Ok(()),
        (Some(value), body) => match headers::decode(value.as_bytes()) {
            Ok(text) if Some(&*text) == body => Ok(()),
            Ok(_) => Err(bad(mismatch(&format!("{header} does not match the body")))),
            Err(error) => Err(bad(mismatch(&format!("{header}: {error}")))),
        },
    }
}

fn initialize(
    request: Request,
    params: Option<&Object<'_>>,
    Identified { principal, token }: Identified,
) -> Result<Box<Call>, Refusal> {
    let asked = params
        .and_then(|params| params.get_str("protocolVersion"))
        .ok_or_else(|| {
            bad(WireError::invalid_params(
                "initialize needs \"protocolVersion\"",
            ))
        })?;
    let object = |key: &str| {
        params
            .and_then(|params| params.get(key))
            .filter(|text| json::is_object(text))
    };
    let part = |text: &str| request.text.slice_ref(text);
    let caller = Caller {
        principal,
        token,
        version: Version::negotiate(&asked),
        capabilities: object("capabilities").map_or_else(|| ByteString::from_static("{}"), part),
        client_info: object("clientInfo").map(part),
        session: None,
    };
    Ok(Box::new(Call::new(caller, request, Method::Initialize)))
}

async fn in_session(
    gateway: &Arc<Gateway>,
    request: Request,
    meta: &RequestMeta<'_>,
    headers: &HeaderMap,
    identified: Identified,
) -> Result<Box<Call>, Refusal> {
    let session = session::of_headers(gateway, headers, &identified).await?;
    let method = Method::parse(&request.method)
        .filter(|method| !is_modern_only(*method))
        .ok_or_else(|| unknown_method(&request.method, Era::Legacy))?;
    let Identified { principal, token } = identified;
    let caller = Caller {
        principal,
        token,
        version: session.version,
        capabilities: session.capabilities.clone(),
        client_info: session.client_info.clone(),
        session: Some(session),
    };
    Ok(Box::new(Call {
        progress_token: progress_token(meta, &request)?,
        headers: CallHeaders::of(headers),
        ..Call::new(caller, request, method)
    }))
}

fn unknown_method(method: &str, era: Era) -> Refusal {
    let status = match era {
        Era::Modern => StatusCode::NOT_FOUND,
        Era::Legacy => StatusCode::OK,
    };
    Refusal::with_status(WireError::method_not_found(method), status.as_u16())
}

fn is_legacy_only(method: Method) -> bool {
    matches!(
        method,
        Method::Initialize
            | Method::Ping
            | Method::SetLevel
            | Method::ResourcesSubscribe
            | Method::ResourcesUnsubscribe
            | Method::TasksResult
            | Method::TasksList
    )
}

/// Tasks of 2025-11-25 were another, experimental feature under the same names: it is not offered.
fn is_modern_only(method: Method) -> bool {
    matches!(
        method,
        Method::Discover
            | Method::Listen
            | Method::TasksGet
            | Method::TasksUpdate
            | Method::TasksCancel
            | Method::TasksResult
            | Method::TasksList
    )
}

/// The text of the progress token, which must be a string or an integer.
fn progress_token(
    meta: &RequestMeta<'_>,
    request: &Request,
) -> Result<Option<ByteString>, Refusal> {
    let Some(token) = meta.progress_token else {
        return Ok(None);
    };
    let token = request.text.slice_ref(token);
    if mcp_ultra_protocol::Id::from_raw(token.clone()).is_none() {
        return Err(bad(WireError::invalid_params(
            "_meta.progressToken must be a string or an integer",
        )));
    }
    Ok(Some(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opens(method: &str, params: &str, header: Option<&str>) -> Opening {
        let params = Object::parse(params).unwrap();
        let meta = params
            .get("_meta")
            .map_or_else(RequestMeta::default, |m| RequestMeta::parse(m).unwrap());
        opening(method, Some(&params), &meta, header)
    }

    const MODERN: &str = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#;

    #[test]
    fn the_era_is_chosen_by_how_the_client_opens() {
        assert_eq!(opens("tools/list", MODERN, None), Opening::Modern);
        assert_eq!(
            opens("tools/list", MODERN, Some("2025-11-25")),
            Opening::Modern
        );
        assert_eq!(
            opens("tools/list", "{}", Some("2026-07-28")),
            Opening::Modern
        );
        assert_eq!(
            opens("tools/list", "{}", Some("1900-01-01")),
            Opening::Modern
        );
        assert_eq!(
            opens("tools/list", "{}", Some("2025-06-18")),
            Opening::InSession
        );
        assert_eq!(opens("tools/list", "{}", None), Opening::InSession);
        assert_eq!(
            opens("initialize", r#"{"protocolVersion":"2026-07-28"}"#, None),
            Opening::Initialize
        );
        assert_eq!(
            opens("initialize", MODERN, Some("2026-07-28")),
            Opening::Modern
        );
    }

    #[test]
    fn versions_in_header_and_body_must_agree() {
        let code = |body: Option<&str>, header: Option<&str>| {
            let meta = RequestMeta {
                protocol_version: body.map(Cow::Borrowed),
                ..RequestMeta::default()
            };
            modern_version(&meta, header).map_err(|refusal| refusal.error.code)
        };
        assert_eq!(
            code(Some("2026-07-28"), Some("2026-07-28")),
            Ok(Version::V2026_07_28)
        );
        assert_eq!(code(Some("v9"), Some("2026-07-28")), Err(-32020));
        assert_eq!(code(Some("2026-07-28"), None), Err(-32020));
        assert_eq!(code(Some("v9"), Some("v9")), Err(-32022));
        assert_eq!(code(None, Some("v9")), Err(-32022));
        assert_eq!(code(None, Some("2026-07-28")), Err(-32602));
        assert_eq!(code(Some("2025-11-25"), Some("2025-11-25")), Err(-32602));
    }
}
