//! A call on its way, and the proofs that it carries.

use std::sync::Arc;

use bytestring::ByteString;
use http::{HeaderMap, HeaderName, HeaderValue};
use mcp_ultra_domain::{Principal, catalog::Item};
use mcp_ultra_protocol::{
    Era, Method, Request, Version,
    capabilities::{self, ClientCapabilities, EXTENSION_PREFIX},
    headers,
};
use tokio::sync::OwnedSemaphorePermit;

use crate::{session::Live, upstream::Upstream};

/// Who calls, and how.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub principal: Principal,
    pub version: Version,
    /// The text of the capabilities that the client declared.
    pub capabilities: ByteString,
    /// The text of the client's name and version, where it said.
    pub client_info: Option<ByteString>,
    /// The session, for legacy callers.
    pub session: Option<Arc<Live>>,
}

impl Caller {
    pub(crate) fn era(&self) -> Era {
        self.version.era()
    }

    pub(crate) fn can(&self) -> ClientCapabilities {
        ClientCapabilities::parse(&self.capabilities)
    }

    /// Whether the client declared the official extension of that short name.
    pub(crate) fn declares(&self, extension: &str) -> bool {
        capabilities::extensions(&self.capabilities)
            .iter()
            .any(|(id, _)| id.strip_prefix(EXTENSION_PREFIX) == Some(extension))
    }
}

/// One MCP request that has been read and checked against its headers.
#[derive(Debug)]
pub(crate) struct Call {
    pub caller: Caller,
    pub request: Request,
    pub method: Method,
    /// The text of the progress token, where the caller wants progress.
    pub progress_token: Option<ByteString>,
    /// The log level that the caller wants for this request (modern).
    pub log_level: Option<String>,
    pub headers: CallHeaders,
    /// What `Mcp-Name` mirrors: the public name, URI or task id.
    pub name: Option<ByteString>,
    /// The text of `params.arguments`.
    pub arguments: Option<ByteString>,
    /// Whether `params` carries a `requestState` or `inputResponses`.
    pub continues: bool,
    /// The address that the request came from.
    pub peer: Option<std::net::IpAddr>,
    /// Its place among the calls of the whole gateway (`limits.calls`), given back with the call.
    /// What the gateway asks on its own account has none.
    pub place: Option<OwnedSemaphorePermit>,
}

/// The headers of the request that the call needs again.
#[derive(Debug, Default)]
pub(crate) struct CallHeaders {
    /// `Mcp-Param-*` as they came.
    pub params: Vec<(HeaderName, HeaderValue)>,
    /// `traceparent` and `tracestate` (W3C Trace Context).
    pub trace: Vec<(HeaderName, HeaderValue)>,
}

impl CallHeaders {
    pub(crate) fn of(map: &HeaderMap) -> Self {
        let mut kept = Self::default();
        for (name, value) in map {
            if name.as_str().starts_with(headers::PARAM_PREFIX) {
                kept.params.push((name.clone(), value.clone()));
            } else if matches!(name.as_str(), "traceparent" | "tracestate") {
                kept.trace.push((name.clone(), value.clone()));
            }
        }
        kept
    }
}

/// A call whose upstream and name there are known.
#[derive(Debug)]
pub(crate) struct Routed {
    pub call: Box<Call>,
    pub upstream: Arc<Upstream>,
    /// The upstream's own name, URI or task id of what is called.
    pub original: ByteString,
    /// The definition, where it is in the catalog.
    pub item: Option<Arc<Item>>,
}

impl Routed {
    /// The text of `params`; `{}` where the request has none.
    pub(crate) fn params(&self) -> &str {
        self.call.request.params.as_deref().unwrap_or("{}")
    }
}
