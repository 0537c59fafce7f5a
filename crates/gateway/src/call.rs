//! A call on its way, and the proofs that it carries.

use std::sync::{Arc, OnceLock};

use bytestring::ByteString;
use http::{HeaderMap, HeaderName, HeaderValue};
use mcp_ultra_domain::{
    Principal,
    catalog::{Item, Kind},
    limits::Place,
    policy::Resource,
};
use mcp_ultra_edge::credentials::CallerToken;
use mcp_ultra_protocol::{
    Era, Method, Request, Version,
    capabilities::{self, ClientCapabilities, EXTENSION_PREFIX},
    headers,
    json::Object,
};

use crate::{limits::CallPlace, session::Live, upstream::Upstream};

/// Who calls, and how.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub principal: Principal,
    /// What the principal has shown, where it is an access token and an upstream's are had in
    /// exchange for it.
    pub token: Option<CallerToken>,
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

/// What a call takes up of limits on what is in flight.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Among the calls of the whole gateway (`limits.calls`).
    _gateway: Option<CallPlace>,
    /// Among those of the principal and of the tenant, where they are limited.
    _caller: [Option<Place>; 2],
}

impl Places {
    pub(crate) fn new(gateway: CallPlace, caller: [Option<Place>; 2]) -> Self {
        Self {
            _gateway: Some(gateway),
            _caller: caller,
        }
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
    /// Its places among what may be in flight, given back with the call. What the gateway asks on
    /// its own account has none.
    pub places: Places,
    /// See [`Call::trace_id`].
    pub trace: OnceLock<String>,
}

impl Call {
    /// A call of which nothing is known but who makes it, and what it asks for.
    pub(crate) fn new(caller: Caller, request: Request, method: Method) -> Self {
        Self {
            caller,
            request,
            method,
            progress_token: None,
            log_level: None,
            headers: CallHeaders::default(),
            name: None,
            arguments: None,
            continues: false,
            peer: None,
            places: Places::default(),
            trace: OnceLock::new(),
        }
    }
}

/// How log lines name a call.
#[derive(Debug)]
pub(crate) struct Ids {
    /// The client's id of the request.
    pub request: String,
    /// The trace that it belongs to.
    pub trace: String,
}

/// How much of a request id is logged: it comes from the client.
const SHOWN_ID: usize = 64;

impl Call {
    /// The id of the trace that the call belongs to: that of `traceparent` in the headers or in
    /// `_meta` (W3C Trace Context; 2026-07-28, Base Protocol, `_meta`), else one of its own. Found
    /// when it is first asked for: only log lines do.
    pub(crate) fn trace_id(&self) -> &str {
        self.trace.get_or_init(|| {
            let mut headers = self.headers.trace.iter();
            let header = headers
                .find(|(name, _)| name.as_str() == "traceparent")
                .and_then(|(_, value)| trace_id_of(value.to_str().ok()?));
            let in_meta = || {
                let params = self.request.params.as_deref()?;
                memchr::memmem::find(params.as_bytes(), b"traceparent")?;
                let params = Object::parse(params).ok()?;
                let meta = Object::parse(params.get("_meta")?).ok()?;
                trace_id_of(&meta.get_str("traceparent")?)
            };
            header
                .or_else(in_meta)
                .unwrap_or_else(crate::random::identifier)
        })
    }

    /// How log lines name the call.
    pub(crate) fn ids(&self) -> Ids {
        Ids {
            request: self.request.id.as_raw().chars().take(SHOWN_ID).collect(),
            trace: self.trace_id().to_owned(),
        }
    }
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

    /// The trace that the headers name: `traceparent`, and the text of `tracestate` where there is
    /// one. `None` without a valid `traceparent`, which the other means nothing without (W3C Trace
    /// Context, section 3.3).
    pub(crate) fn trace_context(&self) -> Option<(&str, Option<String>)> {
        let of = |wanted: &'static str| {
            let values = self.trace.iter().filter(move |(name, _)| name == wanted);
            values.filter_map(|(_, value)| value.to_str().ok())
        };
        let mut parents = of("traceparent");
        let parent = parents.next()?;
        if parents.next().is_some() || trace_id_of(parent).is_none() {
            return None;
        }
        // A list over several headers is one list (W3C Trace Context, section 3.3.1).
        let states: Vec<&str> = of("tracestate").filter(|state| !state.is_empty()).collect();
        Some((parent, (!states.is_empty()).then(|| states.join(","))))
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
    /// What policy is asked about.
    pub subject: Subject,
}

/// What a call is about, as policy sees it.
#[derive(Debug)]
pub(crate) enum Subject {
    /// An item of the catalog, by kind and position.
    Listed(Kind, usize),
    /// Something that is not in the catalog.
    Unlisted(Box<Resource>),
}

impl Routed {
    /// The text of `params`; `{}` where the request has none.
    pub(crate) fn params(&self) -> &str {
        self.call.request.params.as_deref().unwrap_or("{}")
    }
}

/// The trace id in a `traceparent` (`version-traceid-parentid-flags`).
fn trace_id_of(traceparent: &str) -> Option<String> {
    let id = traceparent.split('-').nth(1)?;
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let valid = id.len() == 32 && id.bytes().all(is_hex) && id.bytes().any(|byte| byte != b'0');
    valid.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_of_the_headers_is_one_or_none() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let of = |headers: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, HeaderValue::from_static(value));
            }
            let kept = CallHeaders::of(&map);
            let trace = kept.trace_context();
            trace.map(|(parent, state)| (parent.to_owned(), state))
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("traceparent", parent)]), Some((parent.into(), None)));
        assert_eq!(
            of(&[
                ("tracestate", "a=1"),
                ("traceparent", parent),
                ("tracestate", "b=2")
            ]),
            Some((parent.into(), Some("a=1,b=2".into())))
        );
        assert_eq!(of(&[("traceparent", "00-x"), ("tracestate", "a=1")]), None);
        assert_eq!(
            of(&[("traceparent", parent), ("traceparent", parent)]),
            None
        );
    }

    #[test]
    fn only_valid_trace_ids_are_taken() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let parent = format!("00-{id}-00f067aa0ba902b7-01");
        assert_eq!(trace_id_of(&parent).as_deref(), Some(id));
        for bad in [
            "",
            "00",
            "00-short-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473\n-00f067aa0ba902b7-01",
        ] {
            assert_eq!(trace_id_of(bad), None, "{bad:?}");
        }
    }
}
