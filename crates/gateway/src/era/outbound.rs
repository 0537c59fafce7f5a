//! What leaves towards an upstream: `params` as its era has them.

use std::borrow::Cow;

use bytestring::ByteString;
use mcp_ultra_domain::catalog::ServerCapabilities;
use mcp_ultra_protocol::{
    Era, Method, Version, WireError,
    capabilities::EXTENSION_PREFIX,
    json::{self, Object, ObjectError},
    meta,
};

use super::open;
use crate::{
    call::{CallHeaders, Routed},
    upstream::{Hello, Holder, OnBehalf, Outgoing},
};

/// What a retry adds to `params` (2026-07-28, MRTR).
#[derive(Debug, Clone, Default)]
pub(super) struct Input {
    /// The text of `inputResponses`.
    pub responses: Option<String>,
    /// The text of `requestState`.
    pub state: Option<String>,
}

/// The keys that only a modern request has in `_meta`.
const MODERN_META: [&str; 4] = [
    meta::PROTOCOL_VERSION,
    meta::CLIENT_INFO,
    meta::CLIENT_CAPABILITIES,
    meta::LOG_LEVEL,
];

/// What a session for this call is opened with.
pub(crate) fn hello_of(routed: &Routed) -> Hello {
    let caller = &routed.call.caller;
    Hello {
        capabilities: allowed_capabilities(routed, &caller.capabilities)
            .into_owned()
            .into(),
        client_info: caller
            .client_info
            .clone()
            .unwrap_or_else(|| crate::identity().into()),
        version: open::version(routed, Era::Legacy),
        own: false,
    }
}

/// `params`, with the upstream's names in it already, for a request in the era `target`.
pub(super) fn params(
    routed: &Routed,
    target: Era,
    params: &ByteString,
    input: Option<&Input>,
) -> Result<ByteString, WireError> {
    let unreadable = |error: ObjectError| WireError::invalid_request(format!("params: {error}"));
    let caller = routed.call.caller.era();
    let as_it_is = match (caller, target) {
        (Era::Legacy, Era::Legacy) => true,
        (Era::Modern, Era::Modern) => {
            input.is_none() && !may_be_filtered(&routed.call.caller.capabilities)
        }
        _ => false,
    };
    if as_it_is {
        return Ok(params.clone());
    }
    let object = Object::parse(params).map_err(unreadable)?;
    let meta_text = object.get("_meta").unwrap_or("{}");
    let meta = Object::parse(meta_text).map_err(unreadable)?;
    let mut edit = object.edit();
    match (caller, target) {
        (Era::Modern, Era::Modern) => {
            let declared = meta.get(meta::CLIENT_CAPABILITIES).unwrap_or("{}");
            if let Cow::Owned(allowed) = allowed_capabilities(routed, declared) {
                edit = edit.set(
                    "_meta",
                    meta.edit().set(meta::CLIENT_CAPABILITIES, allowed).finish(),
                );
            } else if input.is_none() {
                return Ok(params.clone());
            }
        }
        (Era::Legacy, Era::Modern) => {
            edit = edit.set("_meta", modern_meta(routed, &meta));
        }
        _ => {
            let mut stripped = meta.edit();
            for key in MODERN_META {
                stripped = stripped.remove(key);
            }
            let stripped = stripped.finish();
            edit = if stripped == "{}" {
                edit.remove("_meta")
            } else {
                edit.set("_meta", stripped)
            };
            edit = edit.remove("inputResponses").remove("requestState");
        }
    }
    if let Some(input) = input {
        edit = match &input.responses {
            Some(responses) => edit.set("inputResponses", responses.as_str()),
            None => edit,
        };
        edit = match &input.state {
            Some(state) => edit.set("requestState", state.as_str()),
            None => edit.remove("requestState"),
        };
    }
    Ok(edit.finish().into())
}

/// `params` with the trace that the headers name in `_meta` (2026-07-28, Base Protocol, `_meta`,
/// Trace Context). What the client wrote there is another trace, or the same, and stays.
pub(super) fn with_trace(params: ByteString, headers: &CallHeaders) -> ByteString {
    let Some((parent, state)) = headers.trace_context() else {
        return params;
    };
    let changed = Object::parse(&params).ok().and_then(|object| {
        let meta = Object::parse(object.get("_meta").unwrap_or("{}")).ok()?;
        if meta.get("traceparent").is_some() || meta.get("tracestate").is_some() {
            return None;
        }
        let mut edit = meta.edit().set_str("traceparent", parent);
        if let Some(state) = &state {
            edit = edit.set_str("tracestate", state);
        }
        Some(object.edit().set("_meta", edit.finish()).finish())
    });
    changed.map_or(params, ByteString::from)
}

/// `_meta` of a legacy request with what a modern one says each time.
fn modern_meta(routed: &Routed, meta: &Object<'_>) -> String {
    let caller = &routed.call.caller;
    let info = caller
        .client_info
        .as_deref()
        .map_or_else(|| Cow::Owned(crate::identity()), Cow::Borrowed);
    let edit = meta
        .edit()
        .set(
            meta::PROTOCOL_VERSION,
            json::quote(Version::LATEST.as_str()),
        )
        .set(meta::CLIENT_INFO, info)
        .set(
            meta::CLIENT_CAPABILITIES,
            allowed_capabilities(routed, &caller.capabilities),
        );
    // A legacy client that never set a level gets what the server thinks fit (2025-11-25,
    // Logging); a modern server must be asked.
    let level = caller
        .session
        .as_ref()
        .and_then(|session| session.log_level());
    let wants_logs = level.is_some() || declares_logging(routed);
    let level = level.unwrap_or_else(|| "info".to_owned());
    if wants_logs {
        edit.set(meta::LOG_LEVEL, json::quote(&level)).finish()
    } else {
        edit.finish()
    }
}

fn declares_logging(routed: &Routed) -> bool {
    let open = routed.upstream.open_session(&Holder::Catalog);
    open.is_none_or(|session| ServerCapabilities::parse(&session.welcome().capabilities).logging)
}

/// Whether anything in the capabilities could be kept back by [`allowed_capabilities`].
fn may_be_filtered(declared: &str) -> bool {
    let has = |word: &str| memchr::memmem::find(declared.as_bytes(), word.as_bytes()).is_some();
    has("extensions") || has("tasks") || has("\\u")
}

/// The capabilities that the caller declared, without extensions that may not pass through.
fn allowed_capabilities<'c>(routed: &Routed, declared: &'c str) -> Cow<'c, str> {
    let allowed = &routed.upstream.settings().extensions;
    let Ok(object) = Object::parse(declared) else {
        return Cow::Borrowed("{}");
    };
    let mut edit = object.edit();
    let mut changed = false;
    // The experimental tasks of 2025-11-25 are not carried.
    if object.get("tasks").is_some() {
        edit = edit.remove("tasks");
        changed = true;
    }
    if let Ok(Some(extensions)) = object.get_object("extensions") {
        let mut kept = extensions.edit();
        for member in extensions.members() {
            let official = member.key.strip_prefix(EXTENSION_PREFIX);
            if official.is_some_and(|name| !allowed.contains(&name)) {
                kept = kept.remove(member.key.to_string());
                changed = true;
            }
        }
        if changed {
            edit = edit.set("extensions", kept.finish());
        }
    }
    if changed {
        Cow::Owned(edit.finish())
    } else {
        Cow::Borrowed(declared)
    }
}

/// Sets the log level of the upstream session to what this caller wants, where it changed.
pub(super) async fn set_log_level(routed: &Routed, behalf: &dyn OnBehalf) {
    let call = &routed.call;
    let wanted = match &call.caller.session {
        Some(session) => session.log_level(),
        None => call.log_level.clone(),
    };
    let Some(level) = wanted else { return };
    let Ok(session) = routed.upstream.session(Some(Era::Legacy), behalf).await else {
        return;
    };
    let logs = ServerCapabilities::parse(&session.welcome().capabilities).logging;
    if !logs {
        return;
    }
    let is_new = session.remember_log_level(&level);
    // Another call of the same principal may have set another one through another replica.
    let may_differ = call.caller.session.is_none() && session.is_shared();
    if !is_new && !may_differ {
        return;
    }
    let outgoing = Outgoing {
        method: Method::SetLevel.as_str(),
        params: Some(format!("{{\"level\":{}}}", json::quote(&level)).into()),
        ..Outgoing::default()
    };
    let set = async {
        let mut exchange = routed.upstream.call(Era::Legacy, behalf, outgoing).await?;
        exchange.answer_of_own().await
    };
    if let Err(error) = set.await {
        tracing::debug!(upstream = %routed.upstream.name(), %error, "the log level could not be set");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_of_the_headers_goes_on_in_meta_unless_the_client_wrote_one() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut map = http::HeaderMap::new();
        map.insert("traceparent", http::HeaderValue::from_static(parent));
        map.insert("tracestate", http::HeaderValue::from_static("a=\"1\""));
        let headers = CallHeaders::of(&map);
        let traced = |params: &'static str| {
            let params = with_trace(ByteString::from_static(params), &headers);
            params.replace(parent, "P")
        };
        let state = r#""tracestate":"a=\"1\"""#;
        assert_eq!(
            traced(r#"{"name":"x"}"#),
            format!(r#"{{"name":"x","_meta":{{"traceparent":"P",{state}}}}}"#)
        );
        assert_eq!(
            traced(r#"{"_meta":{"baggage":"b=1"},"n":1e2}"#),
            format!(r#"{{"_meta":{{"baggage":"b=1","traceparent":"P",{state}}},"n":1e2}}"#)
        );
        for own in [
            r#"{"_meta":{"traceparent":"mine"}}"#,
            r#"{"_meta":{"tracestate":"mine=1"}}"#,
        ] {
            assert_eq!(traced(own), own);
        }
        let none = CallHeaders::default();
        assert_eq!(with_trace(ByteString::from_static("{}"), &none), "{}");
    }
}
